"""What is told of answers while they are generated: by the owner thread, to the callers that listen.

After a step the thread says no more than whose answers have gained something. What they have gained is put together in
the event loop of whoever wants to know, while the model computes on; that loop is woken at once by the first news after
a silence and by an outcome, and looks for further news by itself, a hundred times a second at most. So news cost the
thread next to nothing, and a caller that is slower than the model finds those of several steps at once.
"""

import asyncio
import codecs
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from swarmcode.engine.answer import Answer
from swarmcode.engine.protocol import Completion, News
from swarmcode.errors import SwarmcodeError

PAUSE = 0.01
"""Seconds between two looks for further news."""
SILENCE = 20
"""Looks without any, after which the owner's thread has to call. Calling an event loop wakes it at once, and what it
does then keeps that thread from computing."""


class Listener(Protocol):
    """Somebody in an event loop."""

    def wake(self) -> None:
        """In the event loop."""
        ...


class Audience:
    """Those that listen in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._told: list[Listener] = []
        self._urgent = False
        self._lock = threading.Lock()
        self._waiting: list[Listener] = []
        self._looks = 0
        """How often the loop will look again, if there is nothing."""

    def add(self, listener: Listener, *, urgent: bool = False) -> None:
        """Has the listener woken: soon, or with the next delivery. In the owner's thread."""
        self._told.append(listener)
        self._urgent |= urgent

    def deliver(self) -> None:
        """Tells the event loop of those that were added; one that has ended has nobody waiting. In the owner's
        thread."""
        if not self._told:
            return
        told, urgent = self._told, self._urgent
        self._told, self._urgent = [], False
        with self._lock:
            self._waiting += told
            called = urgent or not self._looks
            self._looks = self._looks or (0 if urgent else SILENCE)
        if called:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake if urgent else self._look)

    def _look(self) -> None:
        """As long as there is something, again and again."""
        with self._lock:
            self._looks = SILENCE if self._waiting else self._looks - 1
            again = self._looks > 0
        self._wake()
        if again:
            self._loop.call_later(PAUSE, self._look)

    def _wake(self) -> None:
        with self._lock:
            found, self._waiting = self._waiting, []
        for listener in found:
            listener.wake()


class Post:
    """The audiences of all event loops."""

    def __init__(self) -> None:
        self._audiences: dict[asyncio.AbstractEventLoop, Audience] = {}
        self._lock = threading.Lock()

    def audience(self) -> Audience:
        """That of the event loop which runs."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._audiences:
                self._audiences = {each: known for each, known in self._audiences.items() if not each.is_closed()}
                self._audiences[loop] = Audience(loop)
            return self._audiences[loop]

    def deliver(self) -> None:
        """As `Audience.deliver`, for all."""
        for each in tuple(self._audiences.values()):
            each.deliver()


class Letter:
    """The outcome of one request, for the task that waits for all of it."""

    def __init__(self, post: Post) -> None:
        self.outcome: asyncio.Future[tuple[Completion, ...]] = asyncio.get_running_loop().create_future()
        self._audience = post.audience()
        self._content: tuple[Completion, ...] | SwarmcodeError = ()

    def end(self, outcome: tuple[Completion, ...] | SwarmcodeError) -> None:
        """In the owner's thread."""
        self._content = outcome
        self._audience.add(self, urgent=True)

    def wake(self) -> None:
        """In the event loop."""
        if self.outcome.done():
            return
        if isinstance(self._content, SwarmcodeError):
            self.outcome.set_exception(self._content)
        else:
            self.outcome.set_result(self._content)


class Feed:
    """The news of one request, for the task that made it. Implements `protocol.Stream`."""

    def __init__(self, post: Post) -> None:
        self._audience = post.audience()
        self._arrived = asyncio.Event()
        self._due = False
        """Whether it is going to be woken."""
        self._outcome: tuple[Completion, ...] | SwarmcodeError | None = None
        self._told: tuple[_Told, ...] = ()
        self._completions: Mapping[int, Completion] = {}
        self._withdraw: Callable[[], None] | None = None

    def follow(
        self, answers: Sequence[Answer], completions: Mapping[int, Completion], withdraw: Callable[[], None]
    ) -> None:
        """Says what is listened to, before the first step. `completions` fills, by index, as answers end; `withdraw`
        ends the request."""
        self._told = tuple(_Told(index, answer) for index, answer in enumerate(answers))
        self._completions = completions
        self._withdraw = withdraw

    def tell(self) -> None:
        """The answers have gained something. In the owner's thread."""
        if not self._due:
            self._due = True
            self._audience.add(self)

    def end(self, outcome: tuple[Completion, ...] | SwarmcodeError) -> None:
        """Nothing more will come. In the owner's thread."""
        self._outcome = outcome
        self._audience.add(self, urgent=True)

    def wake(self) -> None:
        """In the event loop."""
        self._due = False
        self._arrived.set()

    def close(self) -> None:
        """As in `protocol.Stream`."""
        if self._outcome is None and self._withdraw:
            self._withdraw()
        self._withdraw = None

    def __aiter__(self) -> "Feed":
        return self

    async def __anext__(self) -> tuple[News, ...]:
        """As in `protocol.Stream`."""
        while True:
            self._arrived.clear()
            outcome = self._outcome  # before the news: the last of them come before it
            if news := self._news():
                return news
            if isinstance(outcome, SwarmcodeError):
                raise outcome
            if outcome is not None:
                raise StopAsyncIteration
            await self._arrived.wait()

    def _news(self) -> tuple[News, ...]:
        found = [told.news(self._completions.get(told.index)) for told in self._told]
        return tuple([news for news in found if news])


class _Told:
    """How far one answer has been told. In the event loop, while the answer goes on in another thread."""

    def __init__(self, index: int, answer: Answer) -> None:
        self.index = index
        self._answer = answer
        self._tokens = 0
        self._bytes = 0
        self._ended = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def news(self, completion: Completion | None) -> News | None:
        """What it has gained since the last time; None: nothing. `completion` once it has ended."""
        if self._ended:
            return None
        self._ended = completion is not None
        first = self._tokens
        count, data = self._answer.since(first, self._bytes, ended=self._ended)
        if first == count and not completion:
            return None
        self._tokens = count
        self._bytes += len(data)
        return News(
            index=self.index,
            text=self._decoder.decode(data, final=self._ended),
            tokens=tuple(self._answer.tokens[first:count]),
            logprobs=tuple(self._answer.logprobs[first:count]),
            tops=tuple(self._answer.tops[first:count]),
            completion=completion,
        )
