"""A sandbox without processes, for tests: commands are answered by a function of the tree and the command.

It keeps to the protocol where callers can tell the difference: what is applied, what a reset brings back, which paths
are refused, what a closed or lost box does, and that one box serves one task at a time. It is deterministic, counts
what was opened and closed, and loses boxes where it is told to.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from swarmcode.errors import DiffError, SandboxLost
from swarmcode.flow import Changes
from swarmcode.sandbox import paths
from swarmcode.sandbox.protocol import Base, Box, Command, CommandResult, Limits, Toolchain

Answer = Callable[[dict[str, bytes], Command], CommandResult]
"""What a command does: it gets the tree, path -> content, which it may change as a command would."""
Lose = Callable[[int], bool]
"""Whether the box breaks under the step with this number, counted from 1 over all boxes: open, apply, run, reset."""


def never(step: int) -> bool:
    """No box breaks."""
    return False


def at(*steps: int) -> Lose:
    """Boxes break at these steps."""
    return frozenset(steps).__contains__


def seeded(seed: int, chance: float) -> Lose:
    """Boxes break by chance; the same seed breaks the same steps."""
    return lambda step: random.Random(f"{seed}:{step}").random() < chance  # noqa: S311


class MemorySandbox:
    """A `Sandbox` in memory."""

    name = "memory"
    isolated = True

    def __init__(self, answer: Answer, *, lose: Lose = never) -> None:
        self._answer = answer
        self._lose = lose
        self._boxes: set[MemoryBox] = set()
        self.steps = 0
        """Steps taken so far, over all boxes."""
        self.opened = 0
        self.closed = 0
        self.commands: list[Command] = []
        """Every command that was run, in order."""

    async def open(self, base: Base, toolchain: Toolchain, limits: Limits) -> Box:
        await self.step()
        self.opened += 1
        box = MemoryBox(self, _read(base.root))
        self._boxes.add(box)
        return box

    async def sweep(self) -> int:
        return 0

    async def close(self) -> None:
        for box in tuple(self._boxes):
            await box.close()

    async def step(self) -> None:
        """Counts one step, lets other tasks run, and breaks if it is to."""
        self.steps += 1
        number = self.steps
        await asyncio.sleep(0)
        if self._lose(number):
            raise SandboxLost(f"the box was told to break at step {number}")

    def answer(self, tree: dict[str, bytes], command: Command) -> CommandResult:
        self.commands.append(command)
        return self._answer(tree, command)

    def forget(self, box: "MemoryBox") -> None:
        if box in self._boxes:
            self._boxes.remove(box)
            self.closed += 1


class MemoryBox:
    """A `Box` in memory."""

    def __init__(self, sandbox: MemorySandbox, base: dict[str, bytes]) -> None:
        self._sandbox = sandbox
        self._base = base
        self._usable = True
        self._busy = False
        self.tree = dict(base)
        """Path -> content."""

    async def apply(self, changes: Changes) -> None:
        paths.check(changes)
        async with self._turn():
            for path in changes:
                if blocked := next((place for place in self.tree if path.startswith(place + "/")), None):
                    raise DiffError(f"{path!r} passes through {blocked!r}, which is no folder of the tree")
            for path, content in changes.items():
                if content is None:
                    self.tree.pop(path, None)
                else:
                    self.tree[path] = content

    async def warm(self, command: Command) -> bool:
        """There is nothing to start."""
        return False

    async def run(self, command: Command) -> CommandResult:
        async with self._turn():
            return self._sandbox.answer(self.tree, command)

    async def reset(self) -> None:
        async with self._turn():
            self.tree = dict(self._base)

    async def close(self) -> None:
        self._usable = False
        self._sandbox.forget(self)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if not self._usable:
            raise SandboxLost("the box has been closed, or broke before")
        assert not self._busy, "two tasks use one box at once"
        self._busy = True
        try:
            await self._sandbox.step()
            yield
        except SandboxLost:
            self._usable = False
            raise
        finally:
            self._busy = False


def _read(root: Path) -> dict[str, bytes]:
    tree = {}
    for place, _, names in os.walk(root):
        for name in names:
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                tree[path.relative_to(root).as_posix()] = path.read_bytes()
    return tree
