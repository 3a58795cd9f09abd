"""Boxes whose clean state is the base tree with some changes already laid over it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from swarmcode.flow import Changes
from swarmcode.sandbox.protocol import Box, Command, CommandResult


class Boxes(Protocol):
    """Where boxes come from: each is clean when it is handed out, and goes back by itself."""

    def box(self) -> AbstractAsyncContextManager[Box]:
        """A clean box. Raises `SandboxUnavailable`, `SandboxLost`."""
        ...


class StackedBoxes:
    """Hands out boxes of another source with `changes` applied, also after a reset."""

    def __init__(self, boxes: Boxes, changes: Changes) -> None:
        self._boxes = boxes
        self._changes = changes

    @asynccontextmanager
    async def box(self) -> AsyncIterator[Box]:
        """A box that already carries the changes."""
        async with self._boxes.box() as box:
            await box.apply(self._changes)
            yield _StackedBox(box, self._changes)


class _StackedBox:
    def __init__(self, box: Box, changes: Changes) -> None:
        self._box = box
        self._changes = changes

    async def apply(self, changes: Changes) -> None:
        await self._box.apply(changes)

    async def warm(self, command: Command) -> bool:
        return await self._box.warm(command)

    async def run(self, command: Command) -> CommandResult:
        return await self._box.run(command)

    async def reset(self) -> None:
        await self._box.reset()
        await self._box.apply(self._changes)

    async def close(self) -> None:
        await self._box.close()
