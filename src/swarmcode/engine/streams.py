"""Where each seat's cells lie when every sequence has a stream of its own in the KV cache.

llama.cpp computes sequences of separate streams together only where the streams are neighbours. Seats end at
different times and leave holes, so what a step computes would fall into many small pieces; moving a few whole streams
first keeps it in one. This says which moves; whoever owns the context makes them.

Pure, and independent of which tokens the streams hold.
"""

from collections.abc import Iterable
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

    def fill(self, seat: int) -> int:
        """The seat holds cells from now on; its stream."""
        self._filled.add(self._stream[seat])
        return self._stream[seat]

    def empty(self, seat: int) -> None:
        """The seat holds nothing any more."""
        self._filled.discard(self._stream[seat])

    def gather(self, seats: Iterable[int]) -> list[Move]:
        """Moves after which the streams of `seats` are 0, 1, 2, ... in some order.

        A stream that is in the way is moved to an empty one above them; where there is none, it stays, and so does
        the one whose place it has.
        """
        wanted = {self._stream[seat] for seat in seats}
        first = range(len(wanted))
        holes = sorted((stream for stream in first if stream not in wanted), key=self._filled.__contains__)
        outside = sorted(wanted.difference(first), key=self._filled.__contains__, reverse=True)
        moves = []
        for hole, source in zip(holes, outside, strict=True):
            if hole in self._filled and source in self._filled:
                refuge = self._refuge(len(wanted), wanted)
                if refuge < 0:
                    continue
                moves.append(self._move(hole, refuge))
            if hole in self._filled:
                moves.append(self._move(hole, source))
            elif source in self._filled:
                moves.append(self._move(source, hole))
            else:
                self._swap(source, hole)
            wanted.remove(source)
            wanted.add(hole)
        return moves

    def _refuge(self, start: int, wanted: set[int]) -> int:
        """An empty stream from `start` on that no seat of the step has; -1: there is none."""
        taken = self._filled | wanted
        return next((stream for stream in range(len(self._seat) - 1, start - 1, -1) if stream not in taken), -1)

    def _move(self, source: int, target: int) -> Move:
        self._swap(source, target)
        self._filled.discard(source)
        self._filled.add(target)
        return Move(source, target)

    def _swap(self, one: int, other: int) -> None:
        seats = self._seat
        seats[one], seats[other] = seats[other], seats[one]
        self._stream[seats[one]], self._stream[seats[other]] = one, other
