"""The tree of a box: made from the base, changed by candidates, brought back to the base.

Whatever a command left in it is untrusted: no path is followed through a symbolic link, every step is taken from an
open folder, and foreign trees are taken apart without recursion. Called only while no command runs, so nothing moves
underneath.

Going back trusts no time stamp: a file counts as untouched only if inode, mode, links, size and times are those that it
was left with *and* its content still has the digest (a shared writable mapping changes content on a tmpfs and leaves
the times alone). All else is made anew.
"""

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wire import write

CHUNK = 1 << 20
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """The change does not fit the tree."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the base has at a place."""

    kind: str
    """`file`, `folder` or `link`."""
    mode: int = 0
    mtime: int = 0
    target: str = ""


@dataclass(slots=True)
class Folder:
    """What the base has in a folder."""

    mode: int
    mtime: int
    entries: dict[str, Entry] = field(default_factory=dict)


Mark = tuple[int, ...]
"""What a file was left as: the part of its stat that nearly every change touches."""


class Tree:
    """`home` holds a copy of `base`. `mounts` are paths in it that belong to others; `links` are put over the base."""

    def __init__(self, base: str, home: str, mounts: list[str], links: dict[str, str]) -> None:
        self.base = base
        self.home = home
        self.mounts = frozenset(mounts)
        self.links = links
        self.folders: dict[str, Folder] = {}
        self.marks: dict[str, Mark] = {}
        self._scan("")
        for above in sorted({parent for path in [*mounts, *links] for parent in parents(path)} - self.folders.keys()):
            # A folder that the base lacks and that only holds a mount or a link.
            self._place(above, Entry("folder"))
            self.folders[above] = Folder(0o755, 0)
        for path, target in links.items():
            self._place(path, Entry("link", target=target))

    def reset(self) -> None:
        """Makes the tree what the base is."""
        fd = os.open(self.home, FOLDER)
        try:
            self._restore(fd, "")
        finally:
            os.close(fd)

    def apply(self, changes: Mapping[str, bytes | None]) -> None:
        """Writes or deletes whole files. Raises `Refused` before anything is changed."""
        for path in changes:
            self._check(path)
        for path, content in changes.items():
            self._change(path, content)

    def _place(self, path: str, entry: Entry) -> None:
        self.folders[os.path.dirname(path)].entries[os.path.basename(path)] = entry

    def _scan(self, path: str) -> None:
        place = os.path.join(self.base, path)
        info = os.lstat(place)
        folder = self.folders[path] = Folder(stat.S_IMODE(info.st_mode), info.st_mtime_ns)
        below = []
        with os.scandir(place) as found:
            for item in found:
                inner = join(path, item.name)
                if inner in self.mounts or inner in self.links:
                    continue
                if (entry := _entry(item)) is not None:
                    folder.entries[item.name] = entry
                    if entry.kind == "folder":
                        below.append(inner)
        for inner in below:
            self._scan(inner)

    def _restore(self, fd: int, path: str) -> None:
        folder = self.folders[path]
        _own(fd)
        for name in os.listdir(fd):
            inner = join(path, name)
            if name not in folder.entries and inner not in self.mounts:
                remove(fd, name)
        for name, entry in folder.entries.items():
            self._restore_entry(fd, name, join(path, name), entry)
        _finish(fd, folder.mode, folder.mtime)

    def _restore_entry(self, fd: int, name: str, path: str, entry: Entry) -> None:
        info = _lstat(fd, name)
        if entry.kind == "folder":
            if info is not None and not stat.S_ISDIR(info.st_mode):
                remove(fd, name)
                info = None
            if info is None:
                os.mkdir(name, 0o700, dir_fd=fd)
            inner = open_folder(fd, name)
            try:
                self._restore(inner, path)
            finally:
                os.close(inner)
        elif entry.kind == "link":
            if info is not None:
                remove(fd, name)
            os.symlink(entry.target, name, dir_fd=fd)
        elif info is None or not self._untouched(fd, name, path, info):
            if info is not None:
                remove(fd, name)
            self.marks[path] = self._copy(fd, name, path, entry)

    def _untouched(self, fd: int, name: str, path: str, info: os.stat_result) -> bool:
        if self.marks.get(path) != _signature(info):
            return False
        found = os.open(name, READ, dir_fd=fd)
        try:
            source = os.open(os.path.join(self.base, path), READ)
            try:
                return _same(found, source)
            finally:
                os.close(source)
        finally:
            os.close(found)

    def _copy(self, fd: int, name: str, path: str, entry: Entry) -> Mark:
        source = os.open(os.path.join(self.base, path), READ)
        target = os.open(name, NEW, 0o600, dir_fd=fd)
        try:
            while data := os.read(source, CHUNK):
                write(target, data)
            _finish(target, entry.mode, entry.mtime)
            return _signature(os.fstat(target))
        finally:
            os.close(source)
            os.close(target)

    def _check(self, path: str) -> None:
        *folders, name = path.split("/")
        if any(path == mount or path.startswith(mount + "/") for mount in (*self.mounts, *self.links)):
            raise Refused(f"{path} lies in the toolchain, which is read-only")
        fd = os.open(self.home, FOLDER)
        try:
            for part in folders:
                inner = _enter(fd, part, path)
                os.close(fd)
                fd = inner
            info = _lstat(fd, name)
        except FileNotFoundError:
            info = None
        finally:
            os.close(fd)
        if info is not None and not stat.S_ISREG(info.st_mode):
            what = "a symbolic link" if stat.S_ISLNK(info.st_mode) else "no regular file"
            raise Refused(f"{path} is {what}")

    def _change(self, path: str, content: bytes | None) -> None:
        *folders, name = path.split("/")
        fd = os.open(self.home, FOLDER)
        try:
            for part in folders:
                if _lstat(fd, part) is None:
                    if content is None:
                        return
                    os.mkdir(part, 0o755, dir_fd=fd)
                inner = open_folder(fd, part)
                os.close(fd)
                fd = inner
            _own(fd)
            info = _lstat(fd, name)
            if info is not None:
                os.unlink(name, dir_fd=fd)
            if content is not None:
                self._write(fd, name, self._mode(path, info), content)
        finally:
            os.close(fd)

    def _mode(self, path: str, info: os.stat_result | None) -> int:
        folder = self.folders.get(os.path.dirname(path))
        entry = folder.entries.get(os.path.basename(path)) if folder else None
        if entry is not None and entry.kind == "file":
            return entry.mode
        return 0o644 if info is None else stat.S_IMODE(info.st_mode)

    def _write(self, fd: int, name: str, mode: int, content: bytes) -> None:
        target = os.open(name, NEW, 0o600, dir_fd=fd)
        try:
            write(target, content)
            os.fchmod(target, mode)
        finally:
            os.close(target)


def clear(folder: str, mode: int, mounts: list[str]) -> None:
    """Empties a folder; what leads to a mount below it stays."""
    fd = os.open(folder, FOLDER)
    try:
        _own(fd)
        for name in os.listdir(fd):
            inner = os.path.join(folder, name)
            if not any(mount == inner or mount.startswith(inner + "/") for mount in mounts):
                remove(fd, name)
        _finish(fd, mode, None)
    finally:
        os.close(fd)


def remove(fd: int, name: str) -> None:
    """Removes whatever is there. A folder is taken apart level by level, its folders moved up, so depth never grows."""
    info = os.stat(name, dir_fd=fd, follow_symlinks=False)
    if not stat.S_ISDIR(info.st_mode):
        os.unlink(name, dir_fd=fd)
        return
    numbers = iter(range(1 << 62))
    top = open_folder(fd, name)
    try:
        _own(top)
        waiting = list(_flatten(top, top, numbers))
        while waiting:
            below = waiting.pop()
            inner = open_folder(top, below)
            try:
                waiting += _flatten(inner, top, numbers)
            finally:
                os.close(inner)
            os.rmdir(below, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=fd)


def _flatten(fd: int, top: int, numbers: Iterator[int]) -> Iterator[str]:
    """Unlinks the files of `fd` and moves its folders to `top`; their new names."""
    for name in os.listdir(fd):
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISDIR(info.st_mode):
            os.unlink(name, dir_fd=fd)
            continue
        # Moving a folder rewrites its `..`, which needs write permission in it.
        os.chmod(name, 0o700, dir_fd=fd)
        moved = _free_name(top, numbers)
        os.rename(name, moved, src_dir_fd=fd, dst_dir_fd=top)
        yield moved


def _free_name(fd: int, numbers: Iterator[int]) -> str:
    while _lstat(fd, name := f"removed-{next(numbers)}") is not None:
        pass
    return name


def open_folder(fd: int, name: str) -> int:
    """Opens a folder, whatever mode it was left with."""
    try:
        return os.open(name, FOLDER, dir_fd=fd)
    except PermissionError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            raise
        os.chmod(name, 0o700, dir_fd=fd)
        return os.open(name, FOLDER, dir_fd=fd)


def join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def parents(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _entry(item: os.DirEntry[str]) -> Entry | None:
    info = item.stat(follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        return Entry("folder")
    if stat.S_ISLNK(info.st_mode):
        return Entry("link", target=os.readlink(item.path))
    if stat.S_ISREG(info.st_mode):
        return Entry("file", stat.S_IMODE(info.st_mode), info.st_mtime_ns)
    return None  # sockets, pipes and devices are no part of a work tree


def _enter(fd: int, part: str, path: str) -> int:
    try:
        return os.open(part, FOLDER, dir_fd=fd)
    except PermissionError:
        return open_folder(fd, part)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Refused(f"{path} passes through {part}, which is no folder of the tree") from None
        raise


def _same(one: int, other: int) -> bool:
    while data := os.read(one, CHUNK):
        if data != os.read(other, CHUNK):
            return False
    return not os.read(other, 1)


def _signature(info: os.stat_result) -> Mark:
    return info.st_ino, info.st_mode, info.st_nlink, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _lstat(fd: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _own(fd: int) -> None:
    """Makes the open folder writable; one that belongs to the box's maker is writable already."""
    try:
        os.fchmod(fd, 0o700)
    except PermissionError:
        pass


def _finish(fd: int, mode: int, mtime: int | None) -> None:
    """Puts mode and time in order and strips extended attributes, access lists among them."""
    try:
        for name in os.listxattr(fd):
            if name.startswith(("user.", "system.posix_acl")):
                os.removexattr(fd, name)
        os.fchmod(fd, mode)
        if mtime is not None:
            os.utime(fd, ns=(mtime, mtime))
    except PermissionError:
        pass  # it belongs to the box's maker, and a command cannot have changed it either
