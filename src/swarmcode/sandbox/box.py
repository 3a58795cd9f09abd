"""A box whose supervisor is at the other end of a line: all that the isolated sandboxes and `process` have in common.

A command may bring its own box down (eat all memory of it, say). That is the command's end, not a fault of the
machinery: its result says that it was killed, and the box is made anew behind the scenes, with the changes that had
been applied. `SandboxLost` means that it cannot be made anew.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from swarmcode.errors import DiffError, SandboxLost, SandboxUnavailable
from swarmcode.flow import Changes
from swarmcode.sandbox import paths
from swarmcode.sandbox.line import Broken, Line, Reply, answer, ask
from swarmcode.sandbox.protocol import Command, CommandResult, Limits
from swarmcode.sandbox.shield import finish

GRACE = 15.0
FILL_SECONDS = 300.0
MB = 1 << 20

Launch = Callable[[], Awaitable[Line]]
"""Starts a supervisor. Raises `SandboxUnavailable` or `SandboxLost`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things are, as the supervisor sees them."""

    base: str
    """Folder that the tree is copied from."""
    home: str
    """Folder that the tree is copied to."""
    scratch: str
    folders: tuple[str, ...]
    """Emptied by a reset: scratch and temporary folders."""
    mounts: tuple[str, ...] = ()
    """Paths in the tree at which something else is mounted."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Paths in the tree -> targets: links that lie over the base."""
    outer_mounts: tuple[str, ...] = ()
    """Absolute paths of all mounts, which a reset must not touch."""
    uid: int | None = None
    """The supervisor starts as root and becomes this user, to whom the folders then belong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """What the supervisor itself enforces, where nothing better does."""

    rlimits: Mapping[str, int] = field(default_factory=dict)
    filtered: bool = False
    """Whether it refuses system calls that no test needs."""
    memory: bool = False
    """Whether it watches the memory of the box."""


class SupervisedBox:
    """A `Box`. `env` is what every command gets; `{scratch}` in a value stands for the scratch folder.

    Memory, processors, processes and disk are limited as the box was opened with; of a command's own limits time, file
    size and output count.
    """

    def __init__(
        self, launch: Launch, layout: Layout, limits: Limits, env: Mapping[str, str], restraint: Restraint
    ) -> None:
        self._launch = launch
        self._layout = layout
        self._limits = limits
        self._env = env
        self._restraint = restraint
        self._line: Line | None = None
        self._applied: dict[str, bytes | None] = {}
        self._clean = False
        self._closed = False
        self._cold: list[dict[str, Any]] = []
        """Orders that no runner waits for."""
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Starts the supervisor and fills the tree. Raises `SandboxUnavailable` where the tree does not fit."""
        async with self._turn:
            await self._ready()

    async def apply(self, changes: Changes) -> None:
        paths.check(changes)
        async with self._turn:
            line = await self._ready()
            self._clean = False
            await self._apply(line, changes)
            self._applied.update(changes)

    async def warm(self, command: Command) -> bool:
        async with self._turn:
            order = self._order(command)
            if order in self._cold:
                return False
            line = await self._ready()
            try:
                reply = await self._exchange(line, {"do": "warm", "order": order}, (), seconds=order["seconds"] + GRACE)
            except Broken as fault:
                await self._bury(line, fault)
                reply = None
            if reply and reply.header.get("warm"):
                return True
            self._cold.append(order)
            return False

    async def run(self, command: Command) -> CommandResult:
        async with self._turn:
            request, blobs = self._request(command)
            line = await self._ready()
            self._clean = False
            limits = command.limits
            most = (len(command.collect) * limits.file_mb + 1) * MB + limits.output_kb * 1024
            try:
                reply = await self._exchange(line, request, blobs, seconds=limits.seconds + GRACE, most=most)
            except Broken as fault:
                return await self._bury(line, fault)
            if "broken" in reply.header:
                return await self._bury(line, Broken(reply.header["broken"]))
            return _result(reply)

    async def reset(self) -> None:
        async with self._turn:
            self._applied.clear()
            line = await self._ready()
            if self._clean:
                return
            try:
                await self._demand(line, {"do": "reset"})
                self._clean = True
            except Broken:
                # A command has left the box in a state that cannot be cleared: a new one is as good as a reset.
                await self._drop(line)
                await self._ready()

    async def close(self) -> None:
        self._closed = True
        line, self._line = self._line, None
        if line is not None:
            await finish(line.end())

    async def _ready(self) -> Line:
        if self._closed:
            raise SandboxLost("the box has been closed")
        if self._line is not None:
            return self._line
        line = await self._launch()
        try:
            await self._fill(line)
        except Broken as fault:
            reason = await line.complaint() or str(fault)
            await finish(line.end())
            raise SandboxLost(f"a box could not be started: {reason}") from fault
        except BaseException:
            await finish(line.end())
            raise
        self._line = line
        return line

    async def _fill(self, line: Line) -> None:
        await self._demand(line, {"do": "start", **asdict(self._layout)})
        self._clean = not self._applied
        if self._applied:
            await self._apply(line, self._applied)
        if self._closed:
            raise SandboxLost("the box was closed while it was made")

    async def _apply(self, line: Line, changes: Changes) -> None:
        request = {"do": "apply", "changes": [[path, content is not None] for path, content in changes.items()]}
        blobs = [content for content in changes.values() if content is not None]
        try:
            reply = await self._exchange(line, request, blobs, seconds=FILL_SECONDS)
        except Broken as fault:
            await self._drop(line)
            raise SandboxLost(f"the box died while changes were written: {fault}") from fault
        if "refused" in reply.header:
            raise DiffError(reply.header["refused"])
        if "broken" in reply.header:
            await self._drop(line)
            raise DiffError(f"the changes cannot be written: {reply.header['broken']}")

    async def _demand(self, line: Line, request: dict[str, Any]) -> None:
        reply = await self._exchange(line, request, (), seconds=FILL_SECONDS)
        if "broken" not in reply.header:
            return
        if request["do"] != "start":
            raise Broken(reply.header["broken"])
        if reply.header.get("errno") == errno.ENOSPC:
            raise SandboxUnavailable(
                f"{self._layout.home} does not fit into a box of {self._limits.disk_mb} MB",
                "Give boxes more (SWARMCODE_LIMITS_DISK_MB, and as much of SWARMCODE_LIMITS_MEMORY_MB), "
                "or keep large files out of the tree.",
            )
        raise SandboxUnavailable(f"a box cannot be filled from {self._layout.home}: {reply.header['broken']}")

    async def _exchange(
        self, line: Line, request: dict[str, Any], blobs: Any, *, seconds: float, most: int = MB
    ) -> Reply:
        """Asks and waits. Cancelled, it has the command killed and the answer read, so that the line stays in step."""
        reply = asyncio.ensure_future(self._converse(line, request, blobs, most))
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(reply)
        except TimeoutError:
            reply.cancel()
            raise Broken(f"no answer within {seconds:.0f} s") from None
        except asyncio.CancelledError:
            await finish(self._stop(line, reply))
            raise

    async def _converse(self, line: Line, request: dict[str, Any], blobs: Any, most: int) -> Reply:
        await ask(line, request, blobs)
        return await answer(line, most)

    async def _stop(self, line: Line, reply: "asyncio.Future[Reply]") -> None:
        try:
            async with asyncio.timeout(GRACE):
                await ask(line, {"do": "kill"})
                await reply
        except (Broken, TimeoutError):
            reply.cancel()
            await self._drop(line)

    async def _drop(self, line: Line) -> None:
        if self._line is line:
            self._line = None
        await finish(line.end())

    async def _bury(self, line: Line, fault: Broken) -> CommandResult:
        """The command has brought its box down."""
        if self._closed:
            raise SandboxLost("the box was closed under a command")
        try:
            cause = await line.cause()
        finally:
            await self._drop(line)
        note = f"the command brought its box down: {cause or fault}"
        return CommandResult(exit_code=None, killed=cause, output=note, files={}, seconds=0.0)

    def _request(self, command: Command) -> tuple[dict[str, Any], list[bytes]]:
        for name in (*command.inputs, *command.collect):
            if "/" in name or name in ("", ".", "..") or "\0" in name:
                raise ValueError(f"{name!r} is no plain file name")
        request = {
            "do": "run",
            "order": self._order(command),
            "inputs": list(command.inputs),
            "collect": list(command.collect),
            "file_bytes": command.limits.file_mb * MB,
        }
        return request, list(command.inputs.values())

    def _order(self, command: Command) -> dict[str, Any]:
        if command.cwd:
            paths.check([command.cwd])
        scratch = self._layout.scratch
        env = {name: value.replace("{scratch}", scratch) for name, value in {**self._env, **command.env}.items()}
        limits = command.limits
        return {
            "argv": list(command.argv),
            "env": env,
            "folder": f"{self._layout.home}/{command.cwd}".rstrip("/"),
            "seconds": limits.seconds,
            "output_bytes": limits.output_kb * 1024,
            "rlimits": {"CORE": 0, "FSIZE": limits.file_mb * MB, **self._restraint.rlimits},
            "memory_bytes": self._limits.memory_mb * MB if self._restraint.memory else 0,
            "filtered": self._restraint.filtered,
            "folders": [self._layout.home, *self._layout.folders],
            "warm": command.warm,
        }


class OpenBoxes:
    """The boxes of one sandbox, so that none outlives it."""

    def __init__(self) -> None:
        self._boxes: set[SupervisedBox] = set()

    async def open(self, box: SupervisedBox) -> SupervisedBox:
        """Opens a box; one that does not open is closed."""
        self._boxes.add(box)
        try:
            await box.open()
        except BaseException:
            self._boxes.discard(box)
            await box.close()
            raise
        return box

    async def close(self) -> None:
        """Closes all of them. Idempotent."""
        boxes, self._boxes = self._boxes, set()
        await asyncio.gather(*(box.close() for box in boxes))


def _result(reply: Reply) -> CommandResult:
    header = reply.header
    output, *files = reply.blobs
    return CommandResult(
        exit_code=header["exit_code"],
        killed=header["killed"],
        output=output.decode(errors="replace"),
        files=dict(zip(header["files"], files, strict=True)),
        seconds=header["seconds"],
    )
