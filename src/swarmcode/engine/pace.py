"""How long a step takes by how many tokens are in it, learned from the steps that are computed anyway.

A line, seconds = fixed + each * tokens, fitted by least squares to recent steps, older ones counting less. What it is
for: a token that is added to a step costs `each`, and saves its sequence a step of its own, if it is the right one.

Pure: it is told the times.
"""

_MEMORY = 0.97
"""How much a step still counts one step later."""
_PRIOR = 8.0
"""Before anything is known: a step costs as much as so many tokens, whatever is in it."""
_DOUBT = 0.25
"""How much that still counts later: as much as steps of widths that spread by half a token."""
_LEAST = 0.01
"""Of the time of a step, that one of its tokens costs in any case."""
_OUTLIER = 2.0
"""Times the expected time: what took longer was kept from computing, and is not learned from in full."""


class Pace:
    """Times of steps that only decode."""

    def __init__(self) -> None:
        self._weight = self._tokens = self._seconds = self._squares = self._products = 0.0

    def observe(self, tokens: int, seconds: float) -> None:
        """A step with so many tokens took so long."""
        if not self._weight:
            each = seconds / (_PRIOR + tokens)
            for count in (1, 2 * int(_PRIOR)):
                self._add(count, (_PRIOR + count) * each, 1.0)
        fixed, each = self._line()
        self._add(tokens, min(seconds, _OUTLIER * (fixed + each * tokens)), _MEMORY)

    def price(self, sequences: int) -> float:
        """What a token more in a step costs, as a part of what a token costs where so many sequences decode: 1 where
        nothing is to be gained."""
        if not self._weight:
            return 1.0
        fixed, each = self._line()
        return each / (fixed / max(1, sequences) + each)

    def _add(self, tokens: int, seconds: float, memory: float) -> None:
        self._weight = self._weight * memory + 1
        self._tokens = self._tokens * memory + tokens
        self._seconds = self._seconds * memory + seconds
        self._squares = self._squares * memory + tokens * tokens
        self._products = self._products * memory + tokens * seconds

    def _line(self) -> tuple[float, float]:
        """Seconds of a step without tokens, and of each token."""
        tokens, seconds = self._tokens / self._weight, self._seconds / self._weight
        spread = max(0.0, self._squares / self._weight - tokens * tokens)
        slope = self._products / self._weight - tokens * seconds
        likely = seconds / (_PRIOR + tokens)
        each = (slope + _DOUBT * likely) / (spread + _DOUBT)
        each = min(max(each, _LEAST * seconds / tokens), seconds / tokens)
        return seconds - each * tokens, each
