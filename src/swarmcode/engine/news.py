"""What is told of answers while they are generated: after each step, by the owner thread, to the callers that listen.

The thread gathers what each answer has gained, and wakes each event loop once a step, however many feeds listen there.
A caller that is slower than the model finds the news of several steps at once.
"""

import asyncio
import codecs
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from swarmcode.engine.answer import Answer
from swarmcode.engine.protocol import Completion, News
from swarmcode.errors import SwarmcodeError


class Listener(Protocol):
    """Somebody in an event loop."""

    loop: asyncio.AbstractEventLoop

    def wake(self) -> None:
        """In the event loop."""
        ...


class Post:
    """Wakes those that something has arrived for. Used by the owner thread alone."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.AbstractEventLoop, list[Listener]] = {}

    def add(self, listener: Listener) -> None:
        """Has the listener woken with the next delivery."""
        self._listeners.setdefault(listener.loop, []).append(listener)

    def deliver(self) -> None:
        """Wakes them. A loop that has ended has nobody waiting."""
        while self._listeners:
            loop, listeners = self._listeners.popitem()
            try:
                loop.call_soon_threadsafe(_wake, listeners)
            except RuntimeError:
                continue


class Letter:
    """The outcome of one request, for the task that waits for all of it."""

    def __init__(self, post: Post) -> None:
        self.loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[tuple[Completion, ...]] = self.loop.create_future()
        self._post = post
        self._content: tuple[Completion, ...] | SwarmcodeError = ()

    def end(self, outcome: tuple[Completion, ...] | SwarmcodeError) -> None:
        """In the owner's thread."""
        self._content = outcome
        self._post.add(self)

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
        self.loop = asyncio.get_running_loop()
        self._post = post
        self._arrived = asyncio.Event()
        self._news: deque[News] = deque()
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
        """Gathers what the answers have gained. In the owner's thread."""
        for told in self._told:
            news = told.news(self._completions.get(told.index))
            if news:
                self._news.append(news)
        self._post.add(self)

    def end(self, outcome: tuple[Completion, ...] | SwarmcodeError) -> None:
        """Nothing more will come. In the owner's thread."""
        self._outcome = outcome
        self._post.add(self)

    def wake(self) -> None:
        """In the event loop."""
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
            if self._news:
                return tuple(self._news.popleft() for _ in range(len(self._news)))
            if isinstance(outcome, SwarmcodeError):
                raise outcome
            if outcome is not None:
                raise StopAsyncIteration
            await self._arrived.wait()


class _Told:
    """How far one answer has been told."""

    def __init__(self, index: int, answer: Answer) -> None:
        self.index = index
        self._answer = answer
        self._tokens = 0
        self._bytes = 0
        self._ended = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def news(self, completion: Completion | None) -> News | None:
        """What it has gained since the last time; None: nothing. `completion` once it has ended."""
        first, self._tokens = self._tokens, len(self._answer.tokens)
        if self._ended or (first == self._tokens and not completion):
            return None
        data = self._answer.certain(self._bytes)
        self._bytes += len(data)
        self._ended = completion is not None
        return News(
            index=self.index,
            text=self._decoder.decode(data, final=self._ended),
            tokens=tuple(self._answer.tokens[first:]),
            logprobs=tuple(self._answer.logprobs[first : self._tokens]),
            tops=tuple(self._answer.tops[first : self._tokens]),
            completion=completion,
        )


def _wake(listeners: Sequence[Listener]) -> None:
    for listener in listeners:
        listener.wake()
