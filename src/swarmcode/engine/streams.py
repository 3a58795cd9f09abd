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

        Needs one stream that holds nothing; where there is none, what lies in the way may stay there.
        """
        moves: list[Move] = []
        gathered = list(seats)
        while misplaced := self._misplaced(gathered):
            hole, source = misplaced
            if hole in self._filled and source in self._filled:
                refuge = self._refuge(len(gathered))
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

    def _misplaced(self, seats: list[int]) -> tuple[int, int] | None:
        """A stream among the first that none of the seats has, and one behind them that one has; those first that
        can change places with the fewest moves."""
        wanted = {self._stream[seat] for seat in seats}
        holes = [stream for stream in range(len(seats)) if stream not in wanted]
        if not holes:
            return None
        hole = min(holes, key=self._filled.__contains__)
        behind = [stream for stream in wanted if stream >= len(seats)]
        return hole, (min if hole in self._filled else max)(behind, key=self._filled.__contains__)

    def _refuge(self, first: int) -> int:
        """A stream that holds nothing, from `first` on if possible; -1: there is none."""
        places = (*range(len(self._seat) - 1, first - 1, -1), *range(first))
        return next((stream for stream in places if stream not in self._filled), -1)

    def _move(self, source: int, target: int) -> Move:
        self._swap(source, target)
        self._filled.discard(source)
        self._filled.add(target)
        return Move(source, target)

    def _swap(self, one: int, other: int) -> None:
        seats = self._seat
        seats[one], seats[other] = seats[other], seats[one]
        self._stream[seats[one]], self._stream[seats[other]] = one, other
