"""A client that costs little: HTTP over loopback, answers as server-sent events.

Every token of a hundred answers comes as an event while the server needs both cores, so events are cut out of the
stream and not looked into; whoever asked decides which of them to parse.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from engines.processes import Lost


async def events(port: int, path: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    """The data of each event that the server answers with, as it comes. Raises `Lost`."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        try:
            writer.write(_request("POST", path, json.dumps(body).encode()))
            status, headers = await _head(reader)
            if status != 200:
                raise Lost(f"{path} answered {status}: {(await reader.read(300))!r}", "see the server's log")
            rest = b""
            async for piece in _body(reader, chunked=b"chunked" in headers.get(b"transfer-encoding", b"")):
                *whole, rest = (rest + piece.replace(b"\r\n", b"\n")).split(b"\n\n")
                for event in whole:
                    if event.startswith(b"data: "):
                        yield event[6:]
        finally:
            writer.close()
    except (OSError, asyncio.IncompleteReadError) as error:
        raise Lost(f"the server on port {port} went away: {error}", "see its log") from error


async def ready(port: int, path: str) -> bool:
    """Whether the server answers 200 there."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(_request("GET", path, b""))
            return (await _head(reader))[0] == 200
        finally:
            writer.close()
    except (OSError, asyncio.IncompleteReadError):
        return False


def _request(method: str, path: str, body: bytes) -> bytes:
    lines = (
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines[1:] if b": " in line)
    return int(lines[0].split()[1]), headers


async def _body(reader: asyncio.StreamReader, *, chunked: bool) -> AsyncIterator[bytes]:
    if not chunked:
        while piece := await reader.read(2**16):
            yield piece
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
