"""Which process a box or a folder belongs to, and whether that process still lives.

A process id alone is reused; with the time at which the process started and the boot that it belongs to it is not.
Ids from another process namespace cannot be judged from here, and what bears one is left alone.
"""

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "swarmcode."
FOLDER = re.compile(r"swarmcode-box-(?P<boot>[0-9a-f]{32})-(?P<space>\d+)-(?P<pid>\d+)-(?P<start>\d+)-\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process that opens boxes, on behalf of a run."""

    run: str
    """Id of the run; empty where only a folder's name is known."""
    pid: int
    start: int
    """When the process started, in clock ticks after boot."""
    boot: str
    """Id of the boot, 32 hexadecimal digits."""
    space: int
    """Inode of the process namespace that `pid` counts in."""

    @classmethod
    def current(cls, run: str) -> "Owner":
        """This process."""
        pid = os.getpid()
        start = started(pid)
        assert start is not None
        return cls(run=run, pid=pid, start=start, boot=_boot(), space=_space())

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> "Owner | None":
        """None where they are not ours, or not whole."""
        try:
            return cls(
                run=labels[PREFIX + "run"],
                pid=int(labels[PREFIX + "pid"]),
                start=int(labels[PREFIX + "start"]),
                boot=labels[PREFIX + "boot"],
                space=int(labels[PREFIX + "space"]),
            )
        except (KeyError, ValueError):
            return None

    @property
    def labels(self) -> dict[str, str]:
        names = ("run", "pid", "start", "boot", "space")
        return {PREFIX + name: str(getattr(self, name)) for name in names}

    @property
    def gone(self) -> bool:
        """True only where the process has certainly ended."""
        if self.boot != _boot():
            return True
        return self.space == _space() and started(self.pid) != self.start

    def new_folder(self) -> Path:
        """A private folder for temporary files whose name tells the owner."""
        prefix = f"swarmcode-box-{self.boot}-{self.space}-{self.pid}-{self.start}-"
        return Path(tempfile.mkdtemp(prefix=prefix))


def started(pid: int) -> int | None:
    """When the process started, in clock ticks after boot; None if there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return None


def sweep_folders() -> int:
    """Removes the temporary folders of processes that have ended; how many."""
    folders = list(_abandoned())
    for folder in folders:
        remove_folder(folder)
    return len(folders)


def remove_folder(folder: Path) -> None:
    """Removes a folder with all that is in it, whatever modes a command left behind."""

    for path, names, _ in os.walk(folder):
        for name in names:
            inner = os.path.join(path, name)
            if not os.path.islink(inner):
                os.chmod(inner, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _abandoned() -> Iterator[Path]:
    with os.scandir(tempfile.gettempdir()) as found:
        for item in found:
            match = FOLDER.fullmatch(item.name)
            if match is None:
                continue
            info = item.stat(follow_symlinks=False)
            # The name is predictable for others: only a real folder of this very user counts.
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
                continue
            numbers = {name: int(match[name]) for name in ("pid", "start", "space")}
            if Owner(run="", boot=match["boot"], **numbers).gone:
                yield Path(item.path)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


def _space() -> int:
    return os.stat("/proc/self/ns/pid").st_ino
