"""Chooses rooms and times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from . import grid
from .interval import Interval
from .room import Room


class NothingFree(LookupError):
    """No room and time fits the request."""


class Conflict(ValueError):
    """The room is not free at that time."""


@dataclass(frozen=True)
class Suggestion:
    """A room and a time that fit."""

    room: str
    time: Interval

    def __str__(self) -> str:
        return f"{self.room} {self.time}"


class Planner:
    """All rooms of a building."""

    def __init__(self, rooms: Iterable[Room], step: int = grid.QUARTER) -> None:
        self._rooms = {room.name: room for room in rooms}
        self._step = step

    def __getitem__(self, name: str) -> Room:
        try:
            return self._rooms[name]
        except KeyError:
            raise KeyError(f"no room {name!r}; there are {', '.join(sorted(self._rooms))}") from None

    def book(self, name: str, day: date, start: str, end: str) -> Suggestion:
        """Books a time by hand. Raises Conflict where the room is taken or closed."""
        room, wanted = self[name], Interval.parse(start, end)
        if not room.is_free(day, wanted):
            raise Conflict(f"{name} is not free on {day} {wanted}")
        room.take(day, wanted)
        return Suggestion(name, wanted)

    def cancel(self, name: str, day: date, start: str, end: str) -> None:
        self[name].release(day, Interval.parse(start, end))

    def suggestions(
        self,
        day: date,
        minutes: int,
        people: int = 1,
        features: Iterable[str] = (),
        between: Interval | None = None,
    ) -> Iterator[Suggestion]:
        """Every fitting room and time: earliest first, the smallest sufficient room first."""
        wanted = frozenset(features)
        found = []
        for room in self._rooms.values():
            if not room.suits(people, wanted):
                continue
            windows = list(room.free(day))
            if between is not None:
                windows = [part for window in windows if (part := window.intersect(between)) is not None]
            for slot in grid.slots(windows, minutes, self._step):
                found.append((slot.start, room.seats, room.name, slot))
        for _, _, name, slot in sorted(found):
            yield Suggestion(name, slot)

    def suggest(self, day: date, minutes: int, people: int = 1, features: Iterable[str] = ()) -> Suggestion:
        """The first fitting room and time. Raises NothingFree."""
        for suggestion in self.suggestions(day, minutes, people, features):
            return suggestion
        raise NothingFree(f"no room for {people} people and {minutes} minutes on {day}")

    def series(self, name: str, days: Iterable[date], start: str, end: str) -> list[date]:
        """Books the same time on several days, all or nothing. Raises Conflict naming the days that fail."""
        room, wanted = self[name], Interval.parse(start, end)
        days = list(days)
        taken = [day for day in days if not room.is_free(day, wanted)]
        if taken:
            raise Conflict(f"{name} is not free at {wanted} on {', '.join(map(str, taken))}")
        for day in days:
            room.take(day, wanted)
        return days
