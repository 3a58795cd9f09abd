"""The line between a box's owner and the supervisor inside: frames over two byte streams.

The other end is to be trusted as little as what runs beside it: lengths are checked before anything is read.
Frames are described in `sandboxes/supervisor/wire.py`.
"""

import asyncio
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal, Protocol

HEADER_BYTES = 1 << 20
COMPLAINT_BYTES = 4096
COMPLAINT_SECONDS = 1.0

Cause = Literal["", "memory"]


class Broken(Exception):
    """The line is cut, or what comes over it makes no sense."""


class Line(Protocol):
    """A running supervisor."""

    async def write(self, data: bytes) -> None:
        """Raises `OSError` where the other end is gone."""
        ...

    async def read(self, size: int) -> bytes:
        """Exactly `size` bytes. Raises `EOFError` or `OSError` where the other end is gone."""
        ...

    async def cause(self) -> Cause:
        """Why the other end is gone. Raises `SandboxLost` where that is the fault of the machinery."""
        ...

    async def complaint(self) -> str:
        """The last line that the other end printed as an error, now that it is gone."""
        ...

    async def end(self) -> None:
        """Kills the supervisor with all that runs beside it, and removes what it held. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the supervisor."""

    header: dict[str, Any]
    blobs: tuple[bytes, ...]


async def ask(line: Line, request: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Sends a request."""
    header = json.dumps({**request, "blobs": [len(blob) for blob in blobs]}).encode()
    try:
        await line.write(b"".join([len(header).to_bytes(4, "big"), header, *blobs]))
    except OSError as error:
        raise Broken(str(error)) from error


async def answer(line: Line, most: int) -> Reply:
    """Reads one answer with at most `most` bytes of blobs. Raises `Broken`."""
    try:
        size = int.from_bytes(await line.read(4), "big")
        if size > HEADER_BYTES:
            raise Broken(f"a header of {size} bytes")
        header = json.loads(await line.read(size))
        sizes = header["blobs"]
        if any(type(size) is not int or size < 0 for size in sizes) or sum(sizes) > most:
            raise Broken(f"an answer of {sizes} bytes where {most} were asked for")
        return Reply(header, tuple([await line.read(size) for size in sizes]))
    except (EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise Broken(str(error) or type(error).__name__) from error


class PipeLine:
    """A supervisor that is a child process.

    Not asyncio's own subprocess: what it leaves unread would keep its `wait` from returning, and its `kill` can reap
    the child under its own watcher.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        writer: asyncio.StreamWriter,
        output: tuple[asyncio.StreamReader, asyncio.BaseTransport],
        errors: tuple[asyncio.StreamReader, asyncio.BaseTransport],
    ) -> None:
        self._process = process
        self._writer = writer
        self._output, self._errors = output[0], errors[0]
        self._transports = (output[1], errors[1])

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def read(self, size: int) -> bytes:
        return await self._output.readexactly(size)

    async def rest(self) -> bytes:
        """All that it prints until it ends."""
        return await self._output.read()

    async def cause(self) -> Cause:
        return ""

    async def complaint(self) -> str:
        try:
            async with asyncio.timeout(COMPLAINT_SECONDS):
                text = (await self._errors.read(COMPLAINT_BYTES)).decode(errors="replace")
        except TimeoutError:
            return ""
        return last_line(text)

    def hang_up(self) -> None:
        """Tells the supervisor to end."""
        self._writer.close()

    async def wait(self) -> int:
        """Waits until it has ended; its exit code."""
        return await asyncio.to_thread(self._process.wait)

    async def end(self) -> None:
        self._writer.close()
        self._process.kill()
        await self.wait()
        for transport in self._transports:
            transport.close()


async def child(argv: Sequence[str], fds: Iterable[int] = (), cwd: str = "/") -> PipeLine:
    """Starts a child in a session of its own, with nothing of the environment. Raises `OSError`."""
    process = _start(argv, tuple(fds), cwd)
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, process.stdin)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    return PipeLine(process, writer, await _reader(process.stdout), await _reader(process.stderr))


def last_line(text: str) -> str:
    """Where the reason stands in what a dying program prints."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def _start(argv: Sequence[str], fds: tuple[int, ...], cwd: str) -> subprocess.Popen[bytes]:
    # In the loop's own thread: a child that is to die with its parent dies with the thread that started it.
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=fds,
        cwd=cwd,
        env={"LANG": "C.UTF-8"},
        start_new_session=True,
    )


async def _reader(pipe: IO[bytes] | None) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    return reader, transport
