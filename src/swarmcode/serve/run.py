"""Sockets and the HTTP server (uvicorn's): listening, slow clients, and an end in good order."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from swarmcode.errors import SurroundingsError, UsageError
from swarmcode.serve.asgi import App
from swarmcode.serve.guard import is_local

HEAD_SECONDS = 15.0
"""For the head of a request to arrive."""
IDLE_SECONDS = 60
"""For which a connection is kept without a request: clients that ask now and then need not connect anew."""
MOST_CONNECTIONS = 800
"""At once: fewer than files may be open as a rule (1024)."""
BACKLOG = 1024
"""Connections that may wait to be taken in."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, on which nobody listens yet. Raises `UsageError`, `SurroundingsError`."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{host} is no address of this machine", "give one with --host, 127.0.0.1 say") from error
    bound = socket.socket(family, kind, proto)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise SurroundingsError(
            f"{host}, port {port}, cannot be listened on: {error.strerror}",
            "choose another with --port, or 0 for any that is free",
        ) from error
    return bound


def is_public(bound: socket.socket) -> bool:
    """Whether others than this machine can reach it."""
    return not is_local(bound.getsockname()[0])


def url(bound: socket.socket) -> str:
    """Where clients find it."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


class Listener:
    """An HTTP server on a bound socket, which it closes."""

    def __init__(self, app: App, bound: socket.socket, report: Callable[[BaseException], None]) -> None:
        self._bound = bound
        self._bound.listen(BACKLOG)  # from now on clients may come: they wait until `run` takes them in
        self._report = report
        self._config = uvicorn.Config(
            app,
            http=_Impatient,
            ws="none",
            loop="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            timeout_keep_alive=IDLE_SECONDS,
            limit_concurrency=MOST_CONNECTIONS,
            backlog=BACKLOG,
        )
        self._server = _Server(self._config)

    async def run(self) -> None:
        """Serves until it is told to end, and then until all that was begun has been answered."""
        with _reported(self._report), self._bound:
            await self._server.serve([self._bound])

    def end(self) -> None:
        """Takes no more requests, and goes when those that are under way are answered."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """Signals are not its business: the command line has them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Impatient(H11Protocol):
    """Leaves clients that take too long to say what they want."""

    _hurry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        if self.cycle is not None and self.cycle.response_complete:
            self._expect()
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._relax()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def _expect(self) -> None:
        if self._hurry is None:
            self._hurry = self.loop.call_later(HEAD_SECONDS, self._late)

    def _relax(self) -> None:
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None

    def _late(self) -> None:
        self._hurry = None
        self.transport.close()


@contextmanager
def _reported(report: Callable[[BaseException], None]) -> Iterator[None]:
    """What uvicorn would log: faults of ours go to `report`, what clients did wrong is theirs."""
    logger = logging.getLogger("uvicorn.error")
    handler = _Faults(report)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(handler)


class _Faults(logging.Handler):
    def __init__(self, report: Callable[[BaseException], None]) -> None:
        super().__init__(logging.ERROR)
        self._tell = report

    def emit(self, record: logging.LogRecord) -> None:
        error: Any = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception):
            self._tell(error)
