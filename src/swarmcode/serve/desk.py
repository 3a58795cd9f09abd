"""Where orders are taken: as many at once as there is room for, each followed to its end or until its client leaves."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from swarmcode.engine.protocol import Completion, News, Request, StreamingEngine
from swarmcode.errors import SwarmcodeError
from swarmcode.serve.asgi import Receive, Send, begin_events, listening, respond, send_events
from swarmcode.serve.faults import Refused, full, told, wrong
from swarmcode.serve.metrics import Metrics, Outcome
from swarmcode.serve.order import Order
from swarmcode.serve.reply import DONE, Voice, error

QUEUE = 4
"""Answers that may be under way or waiting for each one that the engine makes at once; who comes later is turned away
instead of waiting for longer than clients do."""


class Desk:
    """Takes orders for an engine that makes `agents` answers at once."""

    def __init__(self, engine: StreamingEngine, metrics: Metrics, *, agents: int) -> None:
        self._engine = engine
        self._metrics = metrics
        self._most = QUEUE * agents
        self._here = 0

    async def answer(self, order: Order, voice: Voice, receive: Receive, send: Send) -> Outcome:
        """Answers a request whose body has been read. Raises `Refused` where that cannot be begun, `ClientGone`."""
        clock = _Clock(self._metrics)
        with self._seats(order.answers):
            async with listening(receive):
                if order.stream:
                    outcome = await self._stream(order.requests[0], voice, send, clock)
                else:
                    await respond(send, 200, voice.whole(await self._whole(order.requests, clock)))
                    outcome = "answered"
        clock.ended()
        return outcome

    @contextmanager
    def _seats(self, count: int) -> Iterator[None]:
        if count > self._most:
            raise wrong("n", f"{count} answers at once are more than this server gives: {self._most}")
        if self._here + count > self._most:
            raise full(f"{self._here} answers are under way or waiting: try again later")
        self._here += count
        try:
            yield
        finally:
            self._here -= count

    async def _whole(self, requests: Sequence[Request], clock: "_Clock") -> list[Completion]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._completions(request, clock)) for request in requests]
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        return [completion for task in tasks for completion in task.result()]

    async def _completions(self, request: Request, clock: "_Clock") -> list[Completion]:
        heard = _Heard(clock)
        try:
            with closing(self._engine.stream(request)) as stream:
                async for several in stream:
                    heard.take(several)
        except SwarmcodeError as failure:
            raise Refused(told(failure, schema=bool(request.schema))) from failure
        return heard.completions

    async def _stream(self, request: Request, voice: Voice, send: Send, clock: "_Clock") -> Outcome:
        heard = _Heard(clock)
        outcome: Outcome = "answered"
        try:
            stream = self._engine.stream(request)
        except SwarmcodeError as failure:
            raise Refused(told(failure, schema=bool(request.schema))) from failure
        with closing(stream):
            await begin_events(send)
            await send_events(send, *voice.opening())
            try:
                async for several in stream:
                    heard.take(several)
                    await send_events(send, *(event for news in several for event in voice.pieces(news)))
                last = voice.closing(heard.completions)
            except SwarmcodeError as failure:
                last, outcome = [error(told(failure))], "failed"
        await send_events(send, *last, DONE, last=True)
        return outcome


class _Heard:
    """The answers of one request, as far as they have ended."""

    def __init__(self, clock: "_Clock") -> None:
        self._clock = clock
        self._ended: dict[int, Completion] = {}

    def take(self, several: Sequence[News]) -> None:
        self._clock.spoke()
        self._ended.update({news.index: news.completion for news in several if news.completion})

    @property
    def completions(self) -> list[Completion]:
        """In the order of their seeds, once all have ended."""
        return [self._ended[index] for index in range(len(self._ended))]


class _Clock:
    """How long a request waited for its first token, and for its last."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._began = time.monotonic()
        self._silent = True

    def spoke(self) -> None:
        if self._silent:
            self._silent = False
            self._metrics.spoke(time.monotonic() - self._began)

    def ended(self) -> None:
        self._metrics.answered(time.monotonic() - self._began)
