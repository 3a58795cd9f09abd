"""Boxes that are Docker containers.

By default a container shows the host's own programs: its image, made on the spot, holds nothing but links and two
tables, /usr and the toolchain are bound read-only to where they lie on the host. `image` uses a given image instead.

Covered: no network, read-only root, no capability, no new privileges, a user that is not root, private IPC, processes
and users of its own; memory (without swap, memory file systems included), CPU and processes are limited by the kernel
for the whole box, files and disk by tmpfs sizes and resource limits. A container ends when its owner's connection ends,
in whatever way, and the engine then removes it; `sweep` is for engines that died too.
Not covered: faults of the kernel or of the engine, and reading what the mounts show (see `host`).
"""

import asyncio
import time
from functools import partial

from swarmcode.sandbox import host
from swarmcode.sandbox.attach import Attached
from swarmcode.sandbox.box import OpenBoxes, Restraint, SupervisedBox
from swarmcode.sandbox.daemon import Daemon, Running, call
from swarmcode.sandbox.line import Cause, Line
from swarmcode.sandbox.owner import Owner, sweep_folders
from swarmcode.sandbox.plan import Plan, plan
from swarmcode.sandbox.protocol import Base, Box, Limits, Toolchain
from swarmcode.sandbox.shield import acquire, finish
from swarmcode.sandbox.stage import Stage

RESTRAINT = Restraint(rlimits={"MSGQUEUE": 0}, filtered=True)


class DockerSandbox:
    """A `Sandbox`. Made by `connect`."""

    name = "docker"
    isolated = True

    def __init__(self, daemon: Daemon, owner: Owner) -> None:
        self._daemon = daemon
        self._stage = Stage(owner)
        self._boxes = OpenBoxes()
        self._preparing = asyncio.Lock()

    @classmethod
    async def connect(cls, *, run: str, image: str = "") -> "DockerSandbox":
        """Finds the engine. Raises `SandboxUnavailable` where none answers."""
        owner = Owner.current(run)
        daemon = await asyncio.to_thread(Daemon, owner, image)
        return cls(daemon, owner)

    async def open(self, base: Base, toolchain: Toolchain, limits: Limits) -> Box:
        host.check_home(base.home)
        async with self._preparing:
            await call(self._daemon.fetch)
            source = base.root if self._daemon.same_user else await self._stage.source(base.root)
            made = await asyncio.to_thread(
                plan, source, base.home, toolchain, limits, system=not self._daemon.image, nested=False
            )
            name = await call(partial(self._daemon.prepare, made.links))
        launch = partial(self._launch, name, made, limits)
        return await self._boxes.open(SupervisedBox(launch, made.layout, limits, made.env, RESTRAINT))

    async def sweep(self) -> int:
        await asyncio.to_thread(sweep_folders)
        return await call(self._daemon.sweep)

    async def close(self) -> None:
        await finish(self._close())

    async def _close(self) -> None:
        await self._boxes.close()
        await self._stage.close()
        await asyncio.to_thread(self._daemon.close)

    async def _launch(self, name: str, plan: Plan, limits: Limits) -> Line:
        started = time.time()
        # A thread cannot be cancelled: whatever it makes is waited for, and removed if nobody wants it any more.
        made = call(partial(self._daemon.start, name, plan, limits))
        running = await acquire(made, self._discard)
        return _DockerLine(self._daemon, running, await Attached.over(running.connection), started)

    async def _discard(self, made: Running) -> None:
        made.connection.close()
        await asyncio.to_thread(self._daemon.remove, made.container)


class _DockerLine:
    """A `Line` to the supervisor of a container."""

    def __init__(self, daemon: Daemon, running: Running, stream: Attached, started: float) -> None:
        self._daemon = daemon
        self._container = running.container
        self._stream = stream
        self._started = started
        self.write = stream.write
        self.read = stream.read

    async def cause(self) -> Cause:
        return await call(partial(self._daemon.cause, self._container, self._started))

    async def complaint(self) -> str:
        return self._stream.complaint

    async def end(self) -> None:
        await asyncio.to_thread(self._daemon.remove, self._container)
        await self._stream.close()
