"""Half-open intervals of minutes, and sets of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import clock


@dataclass(frozen=True, order=True)
class Interval:
    """From ``start`` up to, not including, ``end``."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"an interval must end after it starts: {self.start}..{self.end}")

    @classmethod
    def parse(cls, start: str, end: str) -> Interval:
        return cls(clock.minutes(start), clock.minutes(end))

    @property
    def length(self) -> int:
        return self.end - self.start

    def overlaps(self, other: Interval) -> bool:
        return self.start < other.end and other.start < self.end

    def contains(self, other: Interval) -> bool:
        return self.start <= other.start and other.end <= self.end

    def intersect(self, other: Interval) -> Interval | None:
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Interval(start, end) if start < end else None

    def __str__(self) -> str:
        return f"{clock.text(self.start)}-{clock.text(self.end)}"


class IntervalSet:
    """Disjoint intervals in order. Intervals that overlap or touch are joined when they are added."""

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        self._items: list[Interval] = []
        for interval in intervals:
            self.add(interval)

    def __iter__(self) -> Iterator[Interval]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return bool(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntervalSet):
            return NotImplemented
        return self._items == other._items

    def __repr__(self) -> str:
        return f"IntervalSet([{', '.join(map(str, self._items))}])"

    @property
    def total(self) -> int:
        return sum(interval.length for interval in self._items)

    def add(self, interval: Interval) -> None:
        start, end = interval.start, interval.end
        keep = []
        for item in self._items:
            if item.end < start or end < item.start:
                keep.append(item)
            else:
                start, end = min(start, item.start), max(end, item.end)
        joined = Interval(start, end)
        keep.insert(bisect_left(keep, joined), joined)
        self._items = keep

    def remove(self, interval: Interval) -> None:
        """Takes an interval away, wherever it overlaps."""
        rest = []
        for item in self._items:
            if not item.overlaps(interval):
                rest.append(item)
                continue
            if item.start < interval.start:
                rest.append(Interval(item.start, interval.start))
            if interval.end < item.end:
                rest.append(Interval(interval.end, item.end))
        self._items = rest

    def covers(self, interval: Interval) -> bool:
        return any(item.contains(interval) for item in self._items)

    def gaps(self, within: Interval) -> IntervalSet:
        """What is not covered inside of ``within``."""
        free = IntervalSet([within])
        for item in self._items:
            free.remove(item)
        return free
