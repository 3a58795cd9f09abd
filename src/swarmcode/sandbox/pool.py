"""A bounded number of boxes, reused from candidate to candidate."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from swarmcode.errors import SandboxLost
from swarmcode.sandbox.protocol import Base, Box, Limits, Sandbox, Toolchain
from swarmcode.sandbox.shield import finish

LOSSES = 3
"""How many boxes in a row may be lost before their loss is the caller's."""


class Pool:
    """Boxes of one base. They are opened when first needed, and handed out as good as new."""

    def __init__(
        self, sandbox: Sandbox, base: Base, toolchain: Toolchain, limits: Limits, *, size: int | None = None
    ) -> None:
        self._sandbox = sandbox
        self._opening = (base, toolchain, limits)
        self.size = size or cpus()
        self._seats = asyncio.Semaphore(self.size)
        self._idle: list[Box] = []
        self._closed = False

    @asynccontextmanager
    async def box(self) -> AsyncIterator[Box]:
        """A box with the base tree in it, for one task. Raises `SandboxLost`, `SandboxUnavailable`."""
        async with self._seats:
            box = await self._fresh()
            lost = True
            try:
                yield box
                lost = False
            except SandboxLost:
                raise
            except BaseException:
                lost = False
                raise
            finally:
                if lost or self._closed:
                    await finish(box.close())
                else:
                    self._idle.append(box)

    async def close(self) -> None:
        """Closes the idle boxes now and the others when they come back. Idempotent."""
        self._closed = True
        idle, self._idle = self._idle, []
        await finish(asyncio.gather(*(box.close() for box in idle)))

    async def _fresh(self) -> Box:
        for losses in range(1, LOSSES + 1):
            try:
                return await self._take()
            except SandboxLost:
                if losses == LOSSES:
                    raise
        raise AssertionError

    async def _take(self) -> Box:
        if self._closed:
            raise SandboxLost("the pool of boxes has been closed")
        if not self._idle:
            return await self._sandbox.open(*self._opening)
        box = self._idle.pop()
        try:
            await box.reset()
        except BaseException:
            await finish(box.close())
            raise
        return box


def cpus() -> int:
    """Processors that this process may use: by affinity, and by the quota of its control group."""
    return max(1, min(len(os.sched_getaffinity(0)), _quota() or 1 << 16))


def _quota() -> int | None:
    """Whole processors that the control group grants; None where it grants all."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text().strip()
            period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return max(1, int(quota) // int(period))
