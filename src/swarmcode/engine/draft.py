"""Guesses what a sequence goes on with from what it has said before: prompt lookup.

Code that is edited is mostly copied. Where the last tokens of a sequence stand earlier in it, in its prompt or its
answer, what followed there is a guess at what follows now. Guessed tokens are computed in one step with the last one,
and those that are drawn anyway save a step each; a wrong guess costs its share of the step and changes nothing.
The idea is Saxena's Prompt Lookup Decoding (https://github.com/apoorvumang/prompt-lookup-decoding), an n-gram form of
speculative decoding (https://arxiv.org/abs/2211.17192).

Pure.
"""

import math
from array import array
from collections.abc import Sequence

LENGTHS = (8, 4, 2)
"""Tokens at the end of the sequence that are looked for, the longest first."""
REACH = 16_384
"""Tokens, from the end of the sequence, in which they are looked for."""
DEPTHS = (15, 7, 3, 1)
"""Tokens that are guessed at once: few different numbers, so that sequences with equally many can be computed
together."""
_WIDTH = array("I").itemsize
_TRUST = 0.5
"""In the first guess."""
_INERTIA = 0.85
"""Of the trust: how much of it a single hit or miss leaves as it is."""


class Drafter:
    """The guesses for one sequence. It also watches those that nobody asks for, so that its trust in them is always
    that of the last tokens."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._data = bytearray(array("I", prompt).tobytes())
        self._at = -1
        """Where the guessed token stands, in bytes; -1: there is no guess."""
        self.trust = _TRUST
        """Share of the last guesses that were right, one token at a time."""
        self._look()

    @property
    def length(self) -> int:
        """Tokens of the sequence, as far as it is known."""
        return len(self._data) // _WIDTH

    def extend(self, tokens: Sequence[int]) -> None:
        """The sequence has gone on with `tokens`."""
        for token in tokens:
            word = array("I", (token,)).tobytes()
            hit = self._data[self._at : self._at + _WIDTH] == word if self._at >= 0 else None
            if hit is not None:
                self.trust = _INERTIA * self.trust + (1 - _INERTIA) * hit
            self._data += word
            if hit:
                self._at += _WIDTH
            else:
                self._look()

    def guess(self, count: int) -> list[int]:
        """At most `count` tokens that may follow; none where nothing suggests any."""
        if self._at < 0 or count < 1:
            return []
        return array("I", bytes(self._data[self._at : self._at + count * _WIDTH])).tolist()

    def _look(self) -> None:
        """Finds the last place where the end of the sequence stood before."""
        for length in LENGTHS:
            self._at = self._after(length * _WIDTH)
            if self._at >= 0:
                return

    def _after(self, size: int) -> int:
        data = self._data
        if len(data) <= size:
            return -1
        end, first = bytes(data[-size:]), max(0, len(data) - REACH * _WIDTH)
        place = data.rfind(end, first, len(data) - _WIDTH)
        while place >= 0 and place % _WIDTH:  # found between two tokens
            place = data.rfind(end, first, place + size - 1)
        return place + size if place >= 0 else -1


def depth(trust: float, price: float) -> int:
    """How many tokens to guess where each is right with the probability `trust`, and computing one costs `price` of
    what it saves if it is right: as long as the next one is expected to pay."""
    if trust <= price:
        return 0
    worthwhile = math.log(max(price, 1e-9)) / math.log(min(trust, 0.999))
    return next((count for count in DEPTHS if count <= worthwhile), 0)
