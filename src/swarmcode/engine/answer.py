"""One answer while it is being generated: its tokens, its text, its own randomness, and whether it has ended.

One thread makes it go on; another may read along, by `since`. Text is spelt when it is asked for, unless a stop string
is looked for in it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.circles import in_circles
from swarmcode.engine.penalties import Penalties
from swarmcode.engine.protocol import Completion, Constraint, Finish, Likeliest, Request, Sampling
from swarmcode.engine.sampling import WORD, Pick, start
from swarmcode.flow import Usage

LOOK = 32
"""Tokens after which it is seen again whether an answer goes in circles."""


@dataclass(eq=False, slots=True)
class Answer:
    """The answer to `request` for one of its seeds."""

    request: Request
    seed: int
    ends: frozenset[int]
    """Tokens that end it: the model's own and the request's."""
    piece: Callable[[int], bytes]
    """The bytes that a token stands for."""
    constraints: tuple[Constraint, ...] = ()
    """All hold."""
    prompt: tuple[int, ...] = ()
    """That it answers, as far as penalties are for what stands there."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[Likeliest] = field(default_factory=list)
    """One for each of `logprobs`, where the request asks for them."""
    finish: Finish | None = None
    """None while it goes on."""
    _text: bytearray = field(default_factory=bytearray)
    """As far as it is spelt."""
    _said: tuple[int, int] = (0, 0)
    """How many tokens are spelt, and in how many bytes: set when both are there."""
    plain: bool = field(init=False)
    """Whether a token of it is drawn by temperature, top-p and min-p alone, and nothing else is told of it."""
    free: bool = field(init=False)
    """Whether how a token is drawn does not depend on those before it."""
    _watched: bool = field(init=False)
    """Whether it is to end where it goes in circles."""
    _penalties: Penalties | None = field(init=False)
    _sampling: Sampling = field(init=False)
    _top: int = field(init=False)
    _start: int = field(init=False)
    """Of its keys."""
    _stops: tuple[bytes, ...] = field(init=False)
    _names: dict[int, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._sampling, self._top = self.request.sampling, self.request.top
        self._watched = not self.request.circling
        self._penalties = Penalties(self._sampling, self.prompt) if self._sampling.penalised else None
        self.free = not (self.constraints or self._penalties)
        self.plain = self.free and not (self._top or self._sampling.top_k)
        self._start = start(self.seed) if self.request.sampling.temperature else 0
        self._stops = tuple(stop.encode() for stop in self.request.stop if stop)
        self._names = {token: name.encode() for token, name in self.request.names.items()}

    @property
    def left(self) -> int:
        """Tokens that it may still have."""
        return self._sampling.max_tokens - len(self.tokens)

    def mask(self) -> NDArray[np.bool_] | None:
        """Which tokens may come next; None: all."""
        found: NDArray[np.bool_] | None = None
        for constraint in self.constraints:
            allowed = constraint.allowed(self.tokens)
            if allowed is not None:
                found = allowed if found is None else found & allowed
        return found

    def pick(self, row: int, ahead: int = 0, mask: NDArray[np.bool_] | None = None) -> Pick:
        """How the next token, or the one so far ahead of it, is drawn from this row: by a key that depends on the seed
        and on how many tokens there are."""
        key = (self._start + len(self.logprobs) + ahead) & WORD
        return Pick(row, self._sampling, key, mask, self._top, self._penalties)

    def take(self, token: int, logprob: float, top: Likeliest = ()) -> None:
        """Goes on by one token; afterwards `finish` says whether it has ended.

        A stop string may begin inside a token, so the tokens that spell it stay in `tokens`, while the text ends
        before it.
        """
        self.logprobs.append(logprob)
        if self._top:
            self.tops.append(top)
        if token in self.ends:
            self.complete()
            return
        self.tokens.append(token)
        if self._penalties:
            self._penalties.take(token)
        if self._stops and self._stopped():
            self.finish = "stop"
        elif len(self.tokens) >= self._sampling.max_tokens:
            self.finish = "length"
        elif self._watched and len(self.tokens) % LOOK == 0 and in_circles(self.tokens):
            self.finish = "circles"

    def take_all(self, tokens: list[int], logprobs: list[float]) -> int:
        """Goes on by tokens of which the last alone can end it, unless a stop string or a circle does. How many it has
        taken."""
        if not (self._stops or self._watched):
            self.logprobs += logprobs[:-1]
            self.tokens += tokens[:-1]
            self.take(tokens[-1], logprobs[-1])
            return len(tokens)
        for count, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True), 1):
            self.take(token, logprob)
            if self.finish:
                return count
        return len(tokens)

    def complete(self) -> None:
        """Ends it: nothing follows."""
        self.finish = "stop"

    def completion(self, usage: Usage) -> Completion:
        """The ended answer. Bytes that are no UTF-8, as a character that was cut leaves them, are replaced."""
        assert self.finish
        text = self._text if self._stops else self._spelt(self.tokens)
        return Completion(
            text=text.decode("utf-8", errors="replace"),
            tokens=tuple(self.tokens),
            logprobs=tuple(self.logprobs),
            finish=self.finish,
            tops=tuple(self.tops),
            usage=usage,
        )

    def since(self, tokens: int, size: int, *, ended: bool) -> tuple[int, bytes]:
        """How many tokens there are, and what they say: behind the first `tokens` of them and the first `size` bytes,
        which are known already, without an end that may begin a stop string. `ended`: it was seen to have ended."""
        if not self._stops:
            count = len(self.tokens)
            return count, self._spelt(self.tokens[tokens:count])
        if ended:
            return len(self.tokens), bytes(self._text[size:])
        count, end = self._said
        text = bytes(self._text[size:end])
        return count, text[: len(text) - self._doubtful(text)]

    def _spelt(self, tokens: Iterable[int]) -> bytes:
        if self._names:
            return b"".join(self._names.get(token) or self.piece(token) for token in tokens)
        return b"".join(map(self.piece, tokens))

    def _stopped(self) -> bool:
        """Spells the last token; whether that completes a stop string. The text then ends before the first of them."""
        new = self._spelt(self.tokens[-1:])
        self._text += new
        found = [self._text.find(stop, max(0, len(self._text) - len(new) - len(stop) + 1)) for stop in self._stops]
        cut = min((at for at in found if at >= 0), default=-1)
        if cut >= 0:
            del self._text[cut:]
        self._said = len(self.tokens), len(self._text)
        return cut >= 0

    def _doubtful(self, text: bytes) -> int:
        """How many bytes at the end of a text begin a stop string, at most."""
        lengths = (
            length
            for stop in self._stops
            for length in range(min(len(stop) - 1, len(text)), 0, -1)
            if text.endswith(stop[:length])
        )
        return max(lengths, default=0)
