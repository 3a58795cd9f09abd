"""An engine that runs all requests as one batch on one backend: asyncio callers on this side, an owner thread on that.

The thread alone computes. Callers hand it jobs and withdrawals through a short locked list, and get outcomes through
their own event loop. If the thread itself fails, every caller gets `EngineLost`; none is left waiting.
"""

import asyncio
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from swarmcode.engine.answer import Answer
from swarmcode.engine.backend import Backend
from swarmcode.engine.job import Job, Outcome
from swarmcode.engine.news import Feed, Letter, Post
from swarmcode.engine.prefix import packed
from swarmcode.engine.protocol import Completion, Load, Profile, Request, Segment
from swarmcode.engine.worker import Worker
from swarmcode.errors import EngineLost, UsageError

_KNOWN_TEXTS = 256
"""Texts whose tokens are remembered: shared heads come again and again."""


class BatchedEngine:
    """Runs requests on `backend`, which it owns, until it is closed. `drafting`: guess tokens where that saves time;
    the answers are the same."""

    def __init__(self, backend: Backend, profile: Profile, *, drafting: bool = True) -> None:
        self._backend = backend
        self._profile = replace(profile, context=backend.capacity.context, vocabulary=backend.vocabulary)
        self._tokens = lru_cache(maxsize=_KNOWN_TEXTS)(backend.tokenize)
        self._worker = Worker(backend, drafting=drafting)
        self._post = Post()
        self._changed = threading.Condition()
        self._arrived: list[Job] = []
        self._withdrawn: list[Job] = []
        self._closing = False
        self._ended = False
        self._cause: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="swarmcode-engine", daemon=True)
        self._thread.start()

    @property
    def profile(self) -> Profile:
        return self._profile

    @property
    def load(self) -> Load:
        load = self._worker.load
        return replace(load, running=0, waiting=0) if self._ended else load

    @property
    def alive(self) -> bool:
        """As in `StreamingEngine`."""
        return not (self._ended or self._closing)

    @property
    def steps(self) -> int:
        """Calls of the model since the engine was opened."""
        return self._worker.steps

    def tokenize(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        """As in `Engine`."""
        return self._tokens(text, special)

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        """As in `Engine`."""
        return b"".join(map(self._backend.piece, tokens))

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """As in `Engine`. A begin token that the model wants is put before a prompt that starts with text and lacks
        it, never before one that starts with tokens given as such."""
        if not request.seeds:
            return ()
        letter = Letter(self._post)
        job = self._job(request, letter.end)
        self._hand_over(job)
        try:
            return await letter.outcome
        except asyncio.CancelledError:
            self._withdraw(job)
            raise

    def stream(self, request: Request) -> Feed:
        """As in `StreamingEngine`."""
        feed = Feed(self._post)
        if not request.seeds:
            feed.end(())
            return feed
        job = self._job(request, feed.end)
        job.tell = feed.tell
        feed.follow(job.answers, job.completions, partial(self._withdraw, job))
        self._hand_over(job)
        return feed

    async def close(self) -> None:
        """As in `Engine`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._backend.interrupt()
        await asyncio.to_thread(self._thread.join)

    def prompt(self, segments: Sequence[Segment]) -> tuple[int, ...]:
        """As in `StreamingEngine`."""
        tokens: list[int] = []
        for segment in segments:
            tokens.extend(self._tokens(segment.text, segment.special) if segment.text else segment.tokens)
        begin = self._backend.begin
        lacking = bool(segments and segments[0].text) and tuple(tokens[: len(begin)]) != begin
        return (*begin, *tokens) if lacking else tuple(tokens)

    def _job(self, request: Request, deliver: Callable[[Outcome], None]) -> Job:
        prompt = self.prompt(request.prompt)
        self._check(prompt, request)
        ends = self._backend.ends | frozenset(request.stop_tokens)
        grammars = tuple(self._backend.grammar(request.schema) for _ in request.seeds) if request.schema else ()
        asked = (request.constraint,) if request.constraint else ()
        answers = tuple(
            Answer(request, seed, ends, self._backend.piece, (*asked, *grammars[index : index + 1]), prompt)
            for index, seed in enumerate(request.seeds)
        )
        return Job(request, prompt, answers, deliver)

    def _check(self, prompt: tuple[int, ...], request: Request) -> None:
        wanted, context = request.sampling.max_tokens, self._profile.context
        if not prompt:
            raise UsageError("the prompt is empty", "give at least one token")
        if not self._known(prompt):
            raise UsageError(
                f"the prompt has tokens that {self._profile.name} does not know",
                f"its tokens are 0 to {self._profile.vocabulary - 1}",
            )
        if wanted < 1:
            raise UsageError(f"an answer of {wanted} tokens was asked for", "ask for at least one")
        if request.sampling.repetition <= 0:
            raise UsageError(
                f"a repetition penalty of {request.sampling.repetition} was asked for", "ask for one above 0"
            )
        if any(not 0 <= token < self._profile.vocabulary for token, _ in request.sampling.bias):
            raise UsageError(
                f"there are biases for tokens that {self._profile.name} does not know",
                f"its tokens are 0 to {self._profile.vocabulary - 1}",
            )
        if request.top < 0:
            raise UsageError(f"the {request.top} likeliest tokens were asked for", "ask for 0 or more")
        if len(prompt) + wanted > context:
            raise UsageError(
                f"a prompt of {len(prompt)} tokens and an answer of {wanted} do not fit the context of {context}",
                "shorten the prompt, ask for fewer tokens, or choose a model with a longer context",
            )

    def _known(self, prompt: tuple[int, ...]) -> bool:
        try:
            tokens = np.frombuffer(packed(prompt), np.int32)
        except struct.error:
            return False
        return bool(tokens.min() >= 0 and tokens.max() < self._profile.vocabulary)

    def _hand_over(self, job: Job) -> None:
        """Wakes the thread only after the event loop has run every caller that is ready: requests that are made
        together start together."""
        with self._changed:
            if self._ended or self._closing:
                raise self._gone()
            self._arrived.append(job)
            self._backend.call(True)
        asyncio.get_running_loop().call_soon(self._notify)

    def _withdraw(self, job: Job) -> None:
        with self._changed:
            self._withdrawn.append(job)
            self._backend.call(True)
            self._changed.notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify()

    def _serve(self) -> None:
        try:
            while self._exchange():
                self._worker.step()
                self._post.deliver()
        finally:
            self._end(sys.exception())

    def _exchange(self) -> bool:
        """Takes in what callers handed over, waiting while there is nothing to do; False when the end has come."""
        with self._changed:
            while not (self._arrived or self._withdrawn or self._closing) and self._worker.idle:
                self._changed.wait()
            if self._closing:
                return False
            arrived, self._arrived = self._arrived, []
            withdrawn, self._withdrawn = self._withdrawn, []
            self._backend.call(False)
        for job in arrived:
            self._worker.accept(job)
        for job in withdrawn:
            self._worker.drop(job)
        return True

    def _end(self, error: BaseException | None) -> None:
        """Tells everybody who waits, and frees the backend."""
        with self._changed:
            self._ended = True
            self._cause = error
            arrived, self._arrived = self._arrived, []
        self._worker.give_up(self._gone)
        for job in arrived:
            job.deliver(self._gone())
        self._post.deliver()
        self._backend.close()

    def _gone(self) -> EngineLost:
        if self._cause is None:
            return EngineLost("the engine was closed under a request", "run it again")
        lost = EngineLost(f"the engine died: {self._cause!r}", "this is a fault in swarmcode: please report it")
        lost.__cause__ = self._cause
        return lost
