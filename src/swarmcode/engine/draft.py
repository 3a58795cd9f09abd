"""Guesses what a sequence goes on with from what it has said before: prompt lookup that follows edits.

Code that is edited is mostly copied. Where the last tokens of a sequence stand earlier in it, in its prompt or its
answer, what followed there is a guess at what follows now. Guessed tokens are computed in one step with the last one,
and those that are drawn anyway save a step each; a wrong guess costs its share of the step and changes nothing.
The idea is Saxena's Prompt Lookup Decoding (https://github.com/apoorvumang/prompt-lookup-decoding), an n-gram form of
speculative decoding (https://arxiv.org/abs/2211.17192).

Where a copy departs from its original, it comes back to it soon: a token was replaced, or some were added or left out.
So there are several places at which the original may go on (`Way`), all of them are watched, and the way that was right
most often is guessed by.

Pure.
"""

from array import array
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Protocol

DEPTHS = (31, 23, 15, 11, 7, 4, 2, 1)
"""Tokens that are guessed at once: few different numbers, so that sequences with equally many can be computed
together."""
LONG = (8, 4)
"""Tokens at the end of the sequence that are looked for in all of it, the longest first: where they stand, nothing else
is considered."""
SHORT = 2
"""Tokens that may stand there by chance."""
REACH = 16_384
"""Tokens, from the end of the sequence, in which they are looked for."""
NEAR = 16
"""Tokens behind the place where a copy departed from its original, in which it may come back to it."""
_WIDTH = array("I").itemsize
_INERTIA = 0.9
"""Of the trust that a copy goes on: how much of it a single hit or miss leaves as it is."""
_FIRST_INERTIA = 0.7
"""Of the trust in a way, which is put to the test less often."""
_GOES_ON = 0.8
"""That trust before the first token."""
_SUREST = 0.99
"""The most that it is taken for: nothing is copied for ever."""


class Way(Enum):
    """How a place was found; the value is the trust in it before the first guess."""

    LONG = 0.7
    """Many tokens stand there."""
    AHEAD = 0.6
    """Few tokens stand there, a little further in the original: some were left out."""
    REPLACED = 0.5
    """Behind the token that was expected: another stands for it."""
    ADDED = 0.3
    """At the token that was expected: another was put before it."""
    ELSEWHERE = 0.4
    """Few tokens stand there, anywhere."""


class Drafting(Protocol):
    """The guesses for one sequence."""

    @property
    def length(self) -> int:
        """Tokens of the sequence, as far as it is known."""
        ...

    def extend(self, tokens: Sequence[int]) -> None:
        """The sequence has gone on with `tokens`."""
        ...

    def propose(self, costs: "array[float]") -> list[int]:
        """Tokens that may follow, as many as pay; none where nothing suggests any. `costs`: as `depth` wants them."""
        ...


class Drafter:
    """Implements `Drafting`, by itself. It also watches those that nobody asks for, so that its trust in them is always
    that of the last tokens."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._data = bytearray(array("I", prompt).tobytes())
        self._trust = {way: way.value for way in Way}
        """Share of the places, found in this way, at which the next token stood."""
        self.goes_on = _GOES_ON
        """Share of the tokens that stood where the one before them was guessed right."""
        self._proven = False
        """Whether the last token was guessed right."""
        self._places = list(self._found(-1))
        """Where the next token may stand, in bytes, and how that was found, the likeliest first."""
        self._sort()

    @property
    def length(self) -> int:
        """As in `Drafting`."""
        return len(self._data) // _WIDTH

    @property
    def trust(self) -> float:
        """How likely the next guessed token is right; 0 where there is none."""
        if not self._places:
            return 0.0
        return self.goes_on if self._proven else self._trust[self._places[0][1]]

    def extend(self, tokens: Sequence[int]) -> None:
        """As in `Drafting`."""
        for token in tokens:
            self._take(array("I", (token,)).tobytes())

    def propose(self, costs: "array[float]") -> list[int]:
        """As in `Drafting`."""
        return self.guess(depth(self.trust, self.goes_on, costs)) if self._places else []

    def guess(self, count: int) -> list[int]:
        """At most `count` tokens that may follow; none where nothing suggests any."""
        if not self._places or count < 1:
            return []
        at, _ = self._places[0]
        return array("I", bytes(self._data[at : at + count * _WIDTH])).tolist()

    def _take(self, word: bytes) -> None:
        right = [place for place in self._places if self._data.startswith(word, place[0])]
        if self._places and self._proven:
            self.goes_on += (1 - _INERTIA) * ((self._places[0] in right) - self.goes_on)
        else:
            for place in self._places:
                self._trust[place[1]] += (1 - _FIRST_INERTIA) * ((place in right) - self._trust[place[1]])
        self._data += word
        self._proven = bool(right)
        if right:
            self._places = [(at + _WIDTH, way) for at, way in right]
        else:
            self._places = list(self._found(self._places[0][0] if self._places else -1))
            self._sort()

    def _sort(self) -> None:
        self._places.sort(key=lambda place: -self._trust[place[1]])

    def _found(self, left: int) -> Iterator[tuple[int, Way]]:
        """Where the sequence may go on, no place twice. `left`: where the token that was expected stands; -1: none
        was."""
        for length in LONG:
            if (at := self._behind_last(length)) >= 0:
                yield at, Way.LONG
                return
        found: dict[int, Way] = {}
        if left >= 0:
            found[self._behind_next(SHORT, left)] = Way.AHEAD
            found.setdefault(left + _WIDTH, Way.REPLACED)
            found.setdefault(left, Way.ADDED)
        found.setdefault(self._behind_last(SHORT), Way.ELSEWHERE)
        yield from ((at, way) for at, way in found.items() if 0 <= at < len(self._data))

    def _behind_last(self, length: int) -> int:
        """Where the last tokens of the sequence stood before, the last time; -1: nowhere."""
        data, size = self._data, length * _WIDTH
        if len(data) <= size:
            return -1
        end, first = bytes(data[-size:]), max(0, len(data) - REACH * _WIDTH)
        place = data.rfind(end, first, len(data) - _WIDTH)
        while place >= 0 and place % _WIDTH:  # found between two tokens
            place = data.rfind(end, first, place + size - 1)
        return place + size if place >= 0 else -1

    def _behind_next(self, length: int, left: int) -> int:
        """Where they stand at or behind a place, the first time; -1: not near it."""
        data, size = self._data, length * _WIDTH
        end, last = bytes(data[-size:]), min(len(data) - _WIDTH, left + NEAR * _WIDTH)
        place = data.find(end, max(0, left - size + _WIDTH), last)
        while place >= 0 and place % _WIDTH:
            place = data.find(end, place + 1, last)
        return place + size if place >= 0 else -1


def depth(first: float, further: float, costs: Sequence[float]) -> int:
    """How many tokens to guess so that most come out of a step for its time. The first is right with the probability
    `first`, each that follows a right one with `further`; `costs` has what a step costs without any, and with each
    number of `DEPTHS`."""
    best, most = 0, 1 / costs[0]
    further = min(further, _SUREST)
    for place, count in enumerate(DEPTHS if first > 0 else (), 1):
        rate = (1 + first * (1 - further**count) / (1 - further)) / costs[place]
        if rate > most:
            best, most = count, rate
    return best
