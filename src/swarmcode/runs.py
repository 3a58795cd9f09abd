"""The folders that runs leave in the state directory: `<state>/runs/<run id>/`.

The folder of a living run is locked (flock, so that the lock goes with the process, however it ends); what is locked is
never removed. Folders are the user's alone: they hold the issue, and pieces of the code.
"""

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmcode.errors import StateError, UsageError

LATEST = "last"
"""Stands for the latest run wherever a run is named."""
SNAPSHOT = "snapshot"
"""In a run's folder: a copy of the tree, which goes when the run ends; where it was killed, when the next begins."""
_LOCK = "lock"


@contextmanager
def opened(home: Path, keep: int = 50) -> Iterator[Path]:
    """The folder of a new run, locked until the end of the block; of the older ones the latest stay, `keep` in all.

    Its name is the run's id: `20261123-145612-1a2b`, the time (UTC) and something random, so ids sort by time. Raises
    `StateError` where the folder cannot be made.
    """
    folder = _made(home / "runs")
    try:
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        prune(home, keep)
        _sweep(home)
        yield folder
    finally:
        os.close(lock)


def _made(parent: Path) -> Path:
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            folder = parent / (time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2))
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise unwritable(parent, error) from error


def unwritable(path: Path, error: OSError) -> StateError:
    """What a person is told where the state directory cannot be written."""
    return StateError(
        f"{path} cannot be written: {error.strerror}",
        "set SWARMCODE_HOME to a folder that can be written and has space",
    )


def prune(home: Path, keep: int) -> int:
    """Removes all but the `keep` latest runs, and none that lives; how many went."""
    gone = 0
    for folder in folders(home)[: -keep or None]:
        with _seized(folder) as free:
            if free:
                remove(folder)
                gone += 1
    return gone


def _sweep(home: Path) -> None:
    """Removes the copies of trees that killed runs left; the rest of such a run is small, and good to go on from."""
    for folder in folders(home):
        if (folder / SNAPSHOT).exists():
            with _seized(folder) as free:
                if free:
                    remove(folder / SNAPSHOT)


def remove(folder: Path) -> None:
    """Removes a folder, read-only ones inside it too; what cannot go stays."""
    for inside, _, _ in os.walk(folder):
        try:
            os.chmod(inside, 0o700)
        except OSError:
            pass  # then it may still be empty
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _seized(folder: Path) -> Iterator[bool]:
    """Whether the lock of a run could be had; if so, it is held until the end of the block."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        yield isinstance(error, FileNotFoundError)
        return
    try:
        yield _locked(lock)
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def folders(home: Path) -> list[Path]:
    """The folders of all runs, oldest first; none where there is no state directory."""
    try:
        return sorted(each for each in (home / "runs").iterdir() if each.is_dir() and not each.is_symlink())
    except OSError:
        return []


def alive(folder: Path) -> bool:
    """Whether a process still holds the run."""
    with _seized(folder) as free:
        return not free


def find(home: Path, name: str) -> Path:
    """The folder of the run that `name` means: an id, its beginning or its end, or `last`. Raises `UsageError`."""
    if not name:
        raise UsageError("no run is named", "name one, or `last`; see: swarmcode runs")
    known = folders(home)
    if name == LATEST and known:
        return known[-1]
    fitting = [each for each in known if each.name.startswith(name) or each.name.endswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        latest = ", ".join(each.name for each in fitting[-5:])
        raise UsageError(f"{name} may mean any of {len(fitting)} runs", f"write more of it: {latest}")
    raise UsageError(f"there is no run {name} in {home / 'runs'}", "see: swarmcode runs")
