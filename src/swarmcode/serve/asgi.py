"""The little that is needed of ASGI: its types, a body in, an answer out, and whether the client is still there.

Five routes need no framework. What is hard about HTTP (parsing, keep-alive, flow control) is uvicorn's. Guarded here:
bodies are bounded in size and time, and a client that stops reading is left after a while.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from swarmcode.serve.faults import ClientGone, refused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

LARGEST_BODY = 16 << 20
"""Bytes of a request."""
DRAINED = 4 * LARGEST_BODY
"""Bytes of a body that is too large that are read all the same, so that its sender gets to hear why."""
BODY_SECONDS = 30.0
"""For a whole body to arrive."""
WRITE_SECONDS = 60.0
"""For a client to take what is sent to it."""
CLOSE = (b"connection", b"close")


def header(scope: Scope, name: bytes) -> str:
    """The value of a header, its name in lower case; empty where there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def body(scope: Scope, receive: Receive) -> bytes:
    """All of a JSON body. Raises `Refused`, `ClientGone`."""
    if header(scope, b"content-type").partition(";")[0].strip().lower() != "application/json":
        # Also keeps web pages out: a browser sends this type to another origin only after asking, and is told no.
        raise refused(415, "send JSON, with the header Content-Type: application/json")
    found = bytearray()
    length = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more and length <= DRAINED:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                length += len(message["body"])
                if length <= LARGEST_BODY:
                    found += message["body"]
                more = message["more_body"]
    except TimeoutError:
        raise refused(408, f"the body did not arrive within {BODY_SECONDS:g} seconds") from None
    if length > LARGEST_BODY:
        raise refused(413, f"the body is larger than {LARGEST_BODY >> 20} MiB")
    return bytes(found)


async def respond(send: Send, status: int, content: bytes, kind: str = "application/json", more: Headers = ()) -> None:
    """A whole answer. Raises `ClientGone`."""
    head = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode()), *more]
    await write(send, {"type": "http.response.start", "status": status, "headers": head})
    await write(send, {"type": "http.response.body", "body": content})


async def begin_events(send: Send) -> None:
    """The head of a stream of server-sent events. Raises `ClientGone`."""
    head = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
    await write(send, {"type": "http.response.start", "status": 200, "headers": head})


async def send_events(send: Send, *data: bytes, last: bool = False) -> None:
    """Some of them, in one piece. Raises `ClientGone`."""
    content = b"".join(b"data: " + each + b"\n\n" for each in data)
    if content or last:
        await write(send, {"type": "http.response.body", "body": content, "more_body": not last})


async def write(send: Send, message: MutableMapping[str, Any]) -> None:
    """Raises `ClientGone` where the client takes nothing for long."""
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            await send(message)
    except (TimeoutError, OSError):
        raise ClientGone from None


@asynccontextmanager
async def listening(receive: Receive) -> AsyncIterator[None]:
    """While the client is there, once its body has been read: what is done within is cancelled when it leaves, and
    `ClientGone` raised."""
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_until_gone(receive))
            yield
            watch.cancel()
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    raise ClientGone
