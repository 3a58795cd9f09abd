"""Bases that the box's user can read, where that is not the user who owns them."""

import asyncio
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from swarmcode.sandbox.owner import Owner, remove_folder

FILE, FOLDER = 0o444, 0o555


class Stage:
    """Readable bases, each made once, and the temporary folder that copies lie in."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._folder: Path | None = None
        self._sources: dict[Path, Path] = {}
        self._turn = asyncio.Lock()

    async def source(self, root: Path) -> Path:
        """`root`, or a copy of it that everybody may read."""
        async with self._turn:
            if root not in self._sources:
                self._folder = self._folder or self._owner.new_folder()
                self._sources[root] = await asyncio.to_thread(readable, root, self._folder)
            return self._sources[root]

    async def close(self) -> None:
        """Removes the copies. Idempotent."""
        folder, self._folder = self._folder, None
        self._sources.clear()
        if folder is not None:
            await asyncio.to_thread(remove_folder, folder)


def readable(root: Path, folder: Path) -> Path:
    """`root` itself if everybody may read all of it, else a copy below `folder` that everybody may read."""
    if all(_open_to_all(info) for _, info in _walk(root)):
        return root
    copy = Path(tempfile.mkdtemp(prefix="base-", dir=folder)) / "tree"
    shutil.copytree(root, copy, symlinks=True, ignore=_special)
    for path, info in _walk(copy):
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(path, stat.S_IMODE(info.st_mode) | (FOLDER if stat.S_ISDIR(info.st_mode) else FILE))
    return copy


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    yield str(root), os.lstat(root)
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            yield path, os.lstat(path)


def _open_to_all(info: os.stat_result) -> bool:
    if stat.S_ISLNK(info.st_mode):
        return True
    needed = FOLDER & 0o007 if stat.S_ISDIR(info.st_mode) else FILE & 0o007
    return info.st_mode & needed == needed


def _special(place: str, names: list[str]) -> list[str]:
    """Pipes, sockets and devices: no part of a work tree, and copying one may never end."""
    kinds = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    return [name for name in names if not any(kind(os.lstat(os.path.join(place, name)).st_mode) for kind in kinds)]
