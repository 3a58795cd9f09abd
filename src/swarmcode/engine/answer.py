"""One answer while it is being generated: its tokens, its text, its own randomness, and whether it has ended."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.protocol import Completion, Constraint, Finish, Likeliest, Request
from swarmcode.engine.sampling import Drawn, key
from swarmcode.flow import Usage


@dataclass(eq=False, slots=True)
class Answer:
    """The answer to `request` for one of its seeds."""

    request: Request
    seed: int
    ends: frozenset[int]
    """Tokens that end it: the model's own and the request's."""
    constraints: tuple[Constraint, ...] = ()
    """All hold."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[Likeliest] = field(default_factory=list)
    """One for each of `logprobs`, where the request asks for them."""
    finish: Finish | None = None
    """None while it goes on."""
    _text: bytearray = field(default_factory=bytearray)
    _stops: tuple[bytes, ...] = field(init=False)
    _names: dict[int, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._stops = tuple(stop.encode() for stop in self.request.stop if stop)
        self._names = {token: name.encode() for token, name in self.request.names.items()}

    def mask(self) -> NDArray[np.bool_] | None:
        """Which tokens may come next; None: all."""
        found: NDArray[np.bool_] | None = None
        for constraint in self.constraints:
            allowed = constraint.allowed(self.tokens)
            if allowed is not None:
                found = allowed if found is None else found & allowed
        return found

    @property
    def key(self) -> int:
        """Random bits for the next draw, which depend on the seed and on how many tokens there are."""
        return key(self.seed, len(self.logprobs))

    def take(self, drawn: Drawn, piece: Callable[[int], bytes]) -> None:
        """Goes on by one token; afterwards `finish` says whether it has ended. `piece` gives a token's bytes.

        A stop string may begin inside a token, so the tokens that spell it stay in `tokens`, while the text ends
        before it.
        """
        self.logprobs.append(drawn.logprob)
        if self.request.top:
            self.tops.append(drawn.top)
        if drawn.token in self.ends:
            self.finish = "stop"
            return
        self.tokens.append(drawn.token)
        new = self._names.get(drawn.token) or piece(drawn.token)
        self._text += new
        cut = self._stopped(len(new))
        if cut >= 0:
            del self._text[cut:]
            self.finish = "stop"
        elif len(self.tokens) >= self.request.sampling.max_tokens:
            self.finish = "length"

    def completion(self, usage: Usage) -> Completion:
        """The ended answer. Bytes that are no UTF-8, as a character that was cut leaves them, are replaced."""
        assert self.finish
        return Completion(
            text=self._text.decode("utf-8", errors="replace"),
            tokens=tuple(self.tokens),
            logprobs=tuple(self.logprobs),
            finish=self.finish,
            tops=tuple(self.tops),
            usage=usage,
        )

    def certain(self, start: int) -> bytes:
        """The text from byte `start` on. While the answer goes on, without an end that may begin a stop string."""
        return bytes(self._text[start : len(self._text) - (0 if self.finish else self._doubtful())])

    def _doubtful(self) -> int:
        """How many bytes at the end of the text begin a stop string, at most."""
        lengths = (
            length
            for stop in self._stops
            for length in range(min(len(stop) - 1, len(self._text)), 0, -1)
            if self._text.endswith(stop[:length])
        )
        return max(lengths, default=0)

    def _stopped(self, new: int) -> int:
        """Where the first stop string begins that the last `new` bytes completed; -1: there is none."""
        found = [self._text.find(stop, max(0, len(self._text) - new - len(stop) + 1)) for stop in self._stops]
        return min((at for at in found if at >= 0), default=-1)
