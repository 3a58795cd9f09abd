"""How long a step takes by how many tokens are in it, learned from the steps that are computed anyway.

Not along a line: the first tokens of a step are dear, because each reads other experts' weights, and later ones share
them. So widths of similar size are remembered together, one point for each, with lines between the points. What a guess
is worth is the time that it saves, so this decides how much is guessed (`draft.depth`).

Pure: it is told the times.
"""

from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter

_MEMORY = 0.9
"""How much of a point an observation of it leaves as it is."""
_FORGOTTEN = 256
"""Steps after which a point that was not observed again is given up: a machine may have become faster since, and what
is too dear is never tried."""
_LOOKING = 16
"""Steps between two looks for those."""
_PRIOR = 8.0
"""Where one width alone is known: a step costs as much as so many tokens, whatever is in it."""
_LEAST = 0.1
"""Of the mean cost of a token, that one more costs in any case."""
_OUTLIER = 2.0
"""Times the expected time: what took longer was kept from computing, and is not learned from in full."""


@dataclass(slots=True)
class _Point:
    tokens: float
    seconds: float
    step: int
    """When it was observed last."""


_TOKENS = attrgetter("tokens")


class Pace:
    """Times of steps that only decode."""

    def __init__(self) -> None:
        self._points: dict[int, _Point] = {}
        self._curve: list[_Point] = []
        """The same by tokens."""
        self._steps = 0

    @property
    def known(self) -> bool:
        """Whether any step was observed."""
        return bool(self._points)

    def observe(self, tokens: int, seconds: float) -> None:
        """A step with so many tokens took so long."""
        if self._points:
            seconds = min(seconds, _OUTLIER * self.seconds(tokens))
        self._steps += 1
        size = tokens.bit_length()
        point = self._points.get(size)
        if point is None:
            point = self._points[size] = _Point(tokens, seconds, self._steps)
            self._draw()
        point.tokens += (1 - _MEMORY) * (tokens - point.tokens)
        point.seconds += (1 - _MEMORY) * (seconds - point.seconds)
        point.step = self._steps
        if not self._steps % _LOOKING:
            self._points = {key: each for key, each in self._points.items() if each.step > self._steps - _FORGOTTEN}
            self._draw()

    def _draw(self) -> None:
        self._curve = [self._points[size] for size in sorted(self._points)]

    def seconds(self, tokens: int) -> float:
        """That a step with so many tokens takes, more the more there are. At least one step was observed."""
        points = self._curve
        above = bisect_left(points, tokens, key=_TOKENS)
        low, high = points[max(0, min(above - 1, len(points) - 2))], points[min(max(above, 1), len(points) - 1)]
        mean = low.seconds / (_PRIOR + low.tokens)
        each = (high.seconds - low.seconds) / (high.tokens - low.tokens) if high is not low else mean
        return max(low.seconds + max(each, _LEAST * mean) * (tokens - low.tokens), _LEAST * low.seconds)
