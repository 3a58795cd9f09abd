"""Where each seat's cells lie when every sequence has a stream of its own in the KV cache.

llama.cpp computes sequences of separate streams together only where the streams are neighbours. Seats end at
different times and leave holes, so what a step computes would fall into many small pieces; moving a few whole streams
first keeps it in one. This says which moves; whoever owns the context makes them.

Pure, and independent of which tokens the streams hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Move:
    """Everything in stream `source` goes to stream `target`, which is empty; `source` is empty afterwards."""

    source: int
    target: int


class Streams:
    """A one-to-one mapping of `count` seats to `count` streams, and which of them hold anything."""

    def __init__(self, count: int) -> None:
        self._stream = list(range(count))
        self._seat = list(range(count))
        self._filled: set[int] = set()

    def of(self, seat: int) -> int:
        """The stream of the seat."""
        return self._stream[seat]

    def fill(self, seat: int, places: range = range(0)) -> int:
        """The seat holds cells from now on; its stream: one of `places`, where it held nothing and one of them is
        empty."""
        stream = self._stream[seat]
        if stream not in places and stream not in self._filled:
            self._swap(stream, next((place for place in places if place not in self._filled), stream))
        self._filled.add(self._stream[seat])
        return self._stream[seat]

    def empty(self, seat: int) -> None:
        """The seat holds nothing any more."""
        self._filled.discard(self._stream[seat])

    def gather(self, groups: Sequence[Sequence[int]]) -> list[Move]:
        """Moves after which the streams of the first group's seats are 0, 1, 2, ... in some order, those of the second
        group's seats the next, and so on. No seat is in two groups.

        Needs one stream that holds nothing; where there is none, what lies in the way may stay there.
        """
        moves: list[Move] = []
        behind = sum(map(len, groups))
        for group, places in zip(groups, spans(groups), strict=True):
            while misplaced := self._misplaced(group, places):
                hole, source = misplaced
                if hole in self._filled and source in self._filled:
                    refuge = self._refuge(places.start, behind)
                    if refuge < 0:
                        break
                    moves += [self._move(hole, refuge), self._move(source, hole)]
                elif hole in self._filled:
                    moves.append(self._move(hole, source))
                elif source in self._filled:
                    moves.append(self._move(source, hole))
                else:
                    self._swap(source, hole)
        return moves

    def _misplaced(self, group: Sequence[int], places: range) -> tuple[int, int] | None:
        """A stream among the group's places that none of its seats has, and one elsewhere that one has; those first
        that can change places with the fewest moves."""
        wanted = {self._stream[seat] for seat in group}
        holes = [stream for stream in places if stream not in wanted]
        if not holes:
            return None
        hole = min(holes, key=self._filled.__contains__)
        elsewhere = [stream for stream in wanted if stream not in places]
        return hole, (min if hole in self._filled else max)(elsewhere, key=self._filled.__contains__)

    def _refuge(self, first: int, behind: int) -> int:
        """A stream that holds nothing, from `first` on, and from `behind` on if possible; -1: there is none."""
        streams = (*range(len(self._seat) - 1, behind - 1, -1), *range(first, behind))
        return next((stream for stream in streams if stream not in self._filled), -1)

    def _move(self, source: int, target: int) -> Move:
        self._swap(source, target)
        self._filled.discard(source)
        self._filled.add(target)
        return Move(source, target)

    def _swap(self, one: int, other: int) -> None:
        seats = self._seat
        seats[one], seats[other] = seats[other], seats[one]
        self._stream[seats[one]], self._stream[seats[other]] = one, other


def spans(groups: Sequence[Sequence[int]]) -> list[range]:
    """The places of each group when they lie one after another."""
    found, start = [], 0
    for group in groups:
        found.append(range(start, start + len(group)))
        start += len(group)
    return found
