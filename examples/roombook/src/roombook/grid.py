"""The raster that meetings start on: quarter hours unless the building says otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from . import clock
from .interval import Interval

QUARTER = 15


def aligned(window: Interval, step: int = QUARTER) -> Interval | None:
    """The part of a window that begins on the raster; None if nothing is left of it."""
    start = clock.round_up(window.start, step)
    return Interval(start, window.end) if start < window.end else None


def starts(window: Interval, length: int, step: int = QUARTER) -> list[int]:
    """Every start on the raster at which a meeting of ``length`` minutes fits into the window."""
    if length <= 0:
        raise ValueError("a meeting takes at least a minute")
    part = aligned(window, step)
    if part is None or part.length < length:
        return []
    count = (part.length - length) // step
    return [part.start + step * i for i in range(count)]


def slots(windows: Iterable[Interval], length: int, step: int = QUARTER) -> Iterator[Interval]:
    """All slots of a length in several windows, in order of their start."""
    for window in sorted(windows):
        for start in starts(window, length, step):
            yield Interval(start, start + length)


def spread(found: list[Interval], limit: int) -> list[Interval]:
    """At most ``limit`` of the slots, spread evenly, the first one always among them."""
    if limit <= 0:
        return []
    if len(found) <= limit:
        return list(found)
    stride = len(found) / limit
    return [found[int(i * stride)] for i in range(limit)]
