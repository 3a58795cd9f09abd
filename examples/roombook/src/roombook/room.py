"""A room: how many people it holds, when it is open, when it is taken."""

from __future__ import annotations

from collections import defaultdict
from datetime import date

from .interval import Interval, IntervalSet


class Room:
    """Bookings are kept by day; a room is closed on the weekdays in ``closed`` (Monday is 0)."""

    def __init__(
        self,
        name: str,
        seats: int,
        opens: str = "08:00",
        closes: str = "18:00",
        closed: tuple[int, ...] = (5, 6),
        features: tuple[str, ...] = (),
    ) -> None:
        if seats < 1:
            raise ValueError(f"room {name} needs at least one seat")
        self.name = name
        self.seats = seats
        self.features = frozenset(features)
        self._hours = Interval.parse(opens, closes)
        self._closed = frozenset(closed)
        self._taken: dict[date, IntervalSet] = defaultdict(IntervalSet)

    def __repr__(self) -> str:
        return f"Room({self.name!r}, {self.seats})"

    def hours(self, day: date) -> Interval | None:
        """Opening hours; None on days on which the room is closed."""
        return None if day.weekday() in self._closed else self._hours

    def is_free(self, day: date, wanted: Interval) -> bool:
        hours = self.hours(day)
        if hours is None or not hours.contains(wanted):
            return False
        return not any(taken.overlaps(wanted) for taken in self._taken[day])

    def take(self, day: date, wanted: Interval) -> None:
        self._taken[day].add(wanted)

    def release(self, day: date, wanted: Interval) -> None:
        self._taken[day].remove(wanted)

    def free(self, day: date) -> IntervalSet:
        """Everything that can still be booked on a day."""
        hours = self.hours(day)
        return self._taken[day].gaps(hours) if hours is not None else IntervalSet()

    def usage(self, day: date) -> float:
        """Share of the opening hours that is taken, 0 to 1."""
        hours = self.hours(day)
        if hours is None:
            return 0.0
        return 1 - self.free(day).total / hours.length

    def suits(self, people: int, features: frozenset[str]) -> bool:
        return people <= self.seats and features <= self.features
