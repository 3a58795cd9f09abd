"""Boxes that are plain child processes on a temporary copy of the tree: no isolation, only order.

Covered: the tree on disk is never touched, host variables are not passed on, time, file sizes and data per process are
limited, and at the end every descendant is hunted down. Not covered: everything else. A command can read and write
whatever the person who runs swarmcode can, use the network, and, if it means to, outlive its hunters. The copy cannot
lie at `Base.home`: settings with absolute paths, and editable installs, still lead to the real tree.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

from swarmcode import assets
from swarmcode.errors import SandboxLost, SandboxUnavailable
from swarmcode.sandbox import host
from swarmcode.sandbox.box import MB, Layout, OpenBoxes, Restraint, SupervisedBox
from swarmcode.sandbox.line import Line, PipeLine, child
from swarmcode.sandbox.owner import Owner, remove_folder, sweep_folders
from swarmcode.sandbox.protocol import Base, Box, Limits, Toolchain
from swarmcode.sandbox.shield import acquire, finish

TREE, SCRATCH, TMP = "tree", "scratch", "tmp"


class ProcessSandbox:
    """A `Sandbox` that isolates nothing."""

    name = "process"
    isolated = False

    def __init__(self, *, run: str) -> None:
        self._owner = Owner.current(run)
        self._boxes = OpenBoxes()

    async def open(self, base: Base, toolchain: Toolchain, limits: Limits) -> Box:
        try:
            folder = self._owner.new_folder()
        except OSError as error:
            raise SandboxUnavailable(
                f"no temporary folder can be made: {error}", "Set TMPDIR to a place with room."
            ) from error
        return await self._boxes.open(_ProcessBox(folder, base, toolchain, limits))

    async def sweep(self) -> int:
        return await asyncio.to_thread(sweep_folders)

    async def close(self) -> None:
        await finish(self._boxes.close())


class _ProcessBox(SupervisedBox):
    """A box whose folder on the host goes with it."""

    def __init__(self, folder: Path, base: Base, toolchain: Toolchain, limits: Limits) -> None:
        for name in (TREE, SCRATCH, TMP):
            (folder / name).mkdir()
        layout = Layout(
            base=str(base.root),
            home=str(folder / TREE),
            scratch=str(folder / SCRATCH),
            folders=(str(folder / SCRATCH), str(folder / TMP)),
        )
        env = {"PATH": ":".join(toolchain.path), "HOME": "{scratch}", "TMPDIR": str(folder / TMP), **toolchain.env}
        restraint = Restraint(rlimits={"DATA": limits.memory_mb * MB})
        super().__init__(partial(_launch, folder), layout, limits, env, restraint)
        self._folder = folder

    async def close(self) -> None:
        await finish(self._close())

    async def _close(self) -> None:
        await super().close()
        await asyncio.to_thread(remove_folder, self._folder)


async def _launch(folder: Path) -> Line:
    supervisor = assets.folder("sandboxes") / "supervisor"
    try:
        return await acquire(child([sys.executable, *host.FLAGS, str(supervisor)], cwd=str(folder)), _end)
    except OSError as error:
        raise SandboxLost(f"{sys.executable} cannot be started: {error}") from error


async def _end(line: PipeLine) -> None:
    await line.end()
