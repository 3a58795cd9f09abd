"""The work tree on disk: which of its files a snapshot takes, how they are copied, how a fix is written back.

Knows nothing of git but the sets of tracked and untracked files that it is given. Reading changes nothing: no file is
opened for writing, no symbolic link is followed, and what is neither file, link nor folder is left out. Not covered:
somebody who swaps folders for links while the copy is being made.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from swarmcode.errors import DiffError, StateError, UsageError
from swarmcode.flow import Changes
from swarmcode.roles import is_plain

LARGEST_FILE: Final = 64 << 20
"""Bytes of an untracked file; longer ones are data."""
LARGEST_BUILD: Final = 32 << 20
"""Bytes of an ignored folder of build output."""
MOST_UNTRACKED: Final = 512 << 20
"""Bytes of all files together that are not tracked; the largest are left out first."""

_NEVER: Final = frozenset(
    {
        *(".git", ".hg", ".svn", ".bzr", "node_modules", "bower_components", "__pycache__", "__pypackages__"),
        *(".tox", ".nox", ".eggs", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".cache"),
        *(".gradle", ".stack-work", ".terraform", ".direnv", ".next", ".nuxt", ".parcel-cache", ".turbo", "htmlcov"),
        *(".ipynb_checkpoints", ".pytype", ".pyre", ".DS_Store", ".coverage"),
    }
)
"""Caches and installed packages: made anew by whoever needs them."""
_BUILD: Final = frozenset(
    {"build", "dist", "target", "out", "_build", "bin", "obj", "output", "Debug", "Release", "coverage", "site"}
)
_TEXT_SAMPLE: Final = 8_000
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What version control knows of a folder's files. Paths are relative, in POSIX form."""

    tracked: frozenset[str]
    untracked: frozenset[str]
    """Neither tracked nor ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What was copied."""

    files: tuple[str, ...]
    """Regular text files that are tracked or untracked, in order: what one may edit."""
    skipped: tuple[str, ...]
    """What was left out and why, a line each, for a person."""


def copy(folder: Path, into: Path, listing: Listing, *, leave: Collection[Path] = ()) -> Copy:
    """Copies what a run needs of `folder` into the new folder `into`, modes and times included.

    Tracked files are taken whatever they are; untracked and ignored ones (a built `_version.py`, a compiled module)
    unless they are caches, virtual environments, large, or lie under `leave`. Raises `OSError` where `into` cannot be
    written.
    """
    skipped: list[str] = []
    found = _Walk(folder, frozenset(str(path) for path in leave), skipped)
    sizes = {path: size for path, size in found.files() if path not in listing.tracked}
    known = listing.tracked | listing.untracked
    for leave_out in (_large_files, _bulky_builds, _beyond_the_most):
        for path in leave_out(sizes, known, skipped):
            del sizes[path]
    taken = sizes.keys() | listing.tracked
    into.mkdir(parents=True)
    for name in found.folders:
        (into / name).mkdir(parents=True, exist_ok=True)
    texts = [path for path in sorted(taken) if _copy_one(folder, into, path, skipped) and path in known]
    return Copy(files=tuple(path for path in texts if _is_plain(path)), skipped=tuple(skipped))


class _Walk:
    """One pass over a folder, caches and environments left out."""

    def __init__(self, folder: Path, leave: frozenset[str], skipped: list[str]) -> None:
        self._folder = folder
        self._leave = leave
        self._skipped = skipped
        self.folders: list[str] = []
        """Every folder that was entered, relative."""

    def files(self, inside: str = "") -> Iterator[tuple[str, int]]:
        """Relative paths and sizes of files and links."""
        waiting = [inside]
        while waiting:
            current = waiting.pop()
            for entry in self._entries(current):
                path = f"{current}/{entry.name}" if current else entry.name
                # A `.git` file belongs to a submodule or a linked work tree.
                if entry.name in _NEVER or entry.name.lower() == ".git":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if entry.path not in self._leave and not _is_environment(entry.path):
                        self.folders.append(path)
                        waiting.append(path)
                elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                    try:
                        yield path, entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue  # gone since the folder was read
                else:
                    self._skipped.append(f"{path}: a socket, pipe or device")

    def _entries(self, path: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._folder / path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._skipped.append(f"{path}/: {_reason(error)}")
            return []


def _is_environment(folder: str) -> bool:
    return os.path.lexists(os.path.join(folder, "pyvenv.cfg")) or os.path.lexists(os.path.join(folder, "conda-meta"))


def _large_files(sizes: Mapping[str, int], known: Collection[str], skipped: list[str]) -> list[str]:
    large = sorted(path for path, size in sizes.items() if size > LARGEST_FILE)
    skipped += [f"{path}: {sizes[path] >> 20} MB and not tracked" for path in large]
    return large


def _bulky_builds(sizes: Mapping[str, int], known: Collection[str], skipped: list[str]) -> list[str]:
    """Ignored files in folders of build output that are large as a whole."""
    homes: dict[str, str] = {}
    totals: dict[str, int] = {}
    for path, size in sizes.items():
        folders = path.split("/")[:-1]
        depth = next((n for n, name in enumerate(folders, 1) if name in _BUILD or name.startswith("cmake-build")), 0)
        if depth and path not in known:
            homes[path] = "/".join(folders[:depth])
            totals[homes[path]] = totals.get(homes[path], 0) + size
    bulky = sorted(name for name, size in totals.items() if size > LARGEST_BUILD)
    skipped += [f"{name}/: ignored build output of {totals[name] >> 20} MB" for name in bulky]
    return [path for path, name in homes.items() if totals[name] > LARGEST_BUILD]


def _beyond_the_most(sizes: Mapping[str, int], known: Collection[str], skipped: list[str]) -> list[str]:
    """The largest files of too many, the ignored ones before those that somebody may be about to add."""
    total, beyond = 0, []
    for path, size in sorted(sizes.items(), key=lambda item: (item[0] not in known, item[1], item[0])):
        total += size
        if total > MOST_UNTRACKED:
            total -= size
            beyond.append(path)
    reason = f"not tracked, and all such files together are larger than {MOST_UNTRACKED >> 20} MB"
    skipped += [f"{path}: {reason}" for path in beyond]
    return beyond


def _copy_one(folder: Path, into: Path, path: str, skipped: list[str]) -> bool:
    """Copies a file or link; whether it is a regular file with text in it."""
    source, target = folder / path, into / path
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            _copy_link(source, target)
        elif error.errno not in (errno.ENOENT, errno.ENOTDIR):
            skipped.append(f"{path}: {_reason(error)}")
        return False
    with open(handle, "rb") as content:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            # A tracked path that is a folder is a submodule: its files are in the listing by themselves.
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        first = content.read(_CHUNK)
        with target.open("xb") as copied:
            copied.write(first)
            if len(first) == _CHUNK:
                shutil.copyfileobj(content, copied, _CHUNK)
            os.fchmod(copied.fileno(), stat.S_IMODE(facts.st_mode) & 0o777 | stat.S_IRUSR)
        os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    return b"\0" not in first[:_TEXT_SAMPLE]


def _copy_link(source: Path, target: Path) -> None:
    try:
        destination = os.readlink(source)
    except OSError:
        return  # it is no link any more
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(destination)


def _is_plain(path: str) -> bool:
    """Whether a name can be written into a diff and into JSON: UTF-8, without control characters."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return path.isprintable() or not any(char < " " or char == "\x7f" for char in path)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def write(folder: Path, base: Path, changes: Changes) -> None:
    """Writes whole files into the work tree: all of them, or none.

    `base` is the snapshot that the changes were made on. Raises `UsageError` where a file is no longer as it was then,
    `StateError` where something cannot be written, `DiffError` on a path outside; then everything is as before. New
    contents are complete on disk before the first file is replaced, each by a rename; modes and owners are kept.
    """
    facts: dict[str, os.stat_result] = {}
    staged: dict[str, Path] = {}
    replaced: list[str] = []
    complete = False
    try:
        for path in sorted(changes):
            _check_unchanged(folder, base, path)
        facts = {path: (folder / path).stat() for path in changes if (folder / path).exists()}
        for path, content in changes.items():
            if content is not None:
                staged[path] = _stage(folder / path, content, facts.get(path))
        for path in changes:
            replaced.append(path)
            if path in staged:
                staged[path].replace(folder / path)
            else:
                (folder / path).unlink()
        complete = True
    except OSError as error:
        raise StateError(
            f"the fix cannot be written: {error.filename or folder}: {_reason(error)}",
            "nothing was changed; make the folder writable, or take the patch from standard output",
        ) from error
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
        if not complete:
            _restore(folder, base, changes, replaced, facts)


def _check_unchanged(folder: Path, base: Path, path: str) -> None:
    if not is_plain(path):
        raise DiffError(f"{path!r} is no plain path inside the repository, or lies in git's own folder")
    place, before = folder / path, base / path
    for parent in PurePosixPath(path).parents:
        if parent.parts and (folder / parent).is_symlink():
            raise UsageError(f"{parent} is a symbolic link now: the fix is not written through it")
    if not (_is_same(place, before) if before.exists() else not os.path.lexists(place)):
        raise UsageError(
            f"{path} has changed since the run began, so the fix was not written",
            "take the patch from standard output and apply it by hand, or run again",
        )


def _is_same(place: Path, before: Path) -> bool:
    return place.is_file() and not place.is_symlink() and place.read_bytes() == before.read_bytes()


def _stage(place: Path, content: bytes, facts: os.stat_result | None) -> Path:
    """The new content, complete and with the old mode and owner, under another name beside its place."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{secrets.token_hex(8)}.swarmcode")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
            if facts is not None:
                _make_like(handle, facts)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _make_like(handle: int, facts: os.stat_result) -> None:
    if (facts.st_uid, facts.st_gid) != (os.geteuid(), os.getegid()):
        try:
            os.fchown(handle, facts.st_uid, facts.st_gid)
        except PermissionError:
            pass  # only root may give files away; the content matters more
    os.fchmod(handle, stat.S_IMODE(facts.st_mode))


def _restore(
    folder: Path, base: Path, changes: Changes, replaced: Collection[str], facts: Mapping[str, os.stat_result]
) -> None:
    for path in changes:
        # The last one may not have been replaced after all.
        if path in replaced and path in facts and not _is_same(folder / path, base / path):
            _stage(folder / path, (base / path).read_bytes(), facts[path]).replace(folder / path)
        elif path in replaced and path not in facts:
            (folder / path).unlink(missing_ok=True)
        for parent in PurePosixPath(path).parents:
            if not (base / parent).exists() and (folder / parent).is_dir() and not any((folder / parent).iterdir()):
                (folder / parent).rmdir()
