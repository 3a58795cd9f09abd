"""Who holds which cells of the KV cache: seats that run, seats that only keep a prefix, and room for more.

A seat that runs is never touched here. One that only keeps a prefix is evicted when its cells or its seat are needed,
least recently wanted first, and at once where everything that it holds is held by another seat too. Where it is the
seat that is needed, those go first that have little of their own: a few tokens of an answer take up a seat just as the
long prompt before them does.

Every change is made in the books at once and queued, in order, for whoever owns the context.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swarmcode.engine.prefix import Match, PrefixTree
from swarmcode.engine.victims import Victims

MUCH = 32
"""Tokens that only one seat keeps; fewer are soon computed again."""


@dataclass(frozen=True, slots=True)
class Copy:
    """`target`, which is empty, gets the first `length` cells of `source`."""

    source: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class Trim:
    """`seat` loses all cells from `length` on."""

    seat: int
    length: int


Change = Copy | Trim


class Cache:
    """The seats `0 .. seats - 1` of a context with `cells` cells."""

    def __init__(self, *, seats: int, cells: int, sharing: bool) -> None:
        self._tree = PrefixTree()
        self._cells = cells
        self._sharing = sharing
        self._free = list(range(seats - 1, -1, -1))
        self._running: set[int] = set()
        self._kept: set[int] = set()
        self._cold = Victims(self._kept, self._warmth)
        """Where cells are needed."""
        self._small = Victims(self._kept, self._worth)
        """Where a seat is needed."""
        self._changes: list[Change] = []

    @property
    def taken(self) -> int:
        """Cells that are taken, by running seats and by prefixes that are kept."""
        return self._tree.cells

    @property
    def free(self) -> int:
        """Cells that nothing has to give way for."""
        return self._cells - self._tree.cells

    @property
    def changed(self) -> bool:
        """Whether changes wait to be made in the context."""
        return bool(self._changes)

    def changes(self) -> tuple[Change, ...]:
        """What has changed since the last call, in order."""
        changes, self._changes = tuple(self._changes), []
        return changes

    def ready(self, seat: int) -> int:
        """Tokens of the seat that are computed."""
        return self._tree.ready(seat)

    def length(self, seat: int) -> int:
        """Tokens that the seat holds, promised ones included."""
        return self._tree.length(seat)

    def standing(self, seats: Iterable[int]) -> list[tuple[int, int]]:
        """For each seat, none of which is empty, what `ready` and `length` say."""
        return self._tree.standing(seats)

    def held(self, seats: Iterable[int]) -> int:
        """Cells that the seats hold; shared ones count once."""
        return self._tree.held([(seat, self._tree.length(seat)) for seat in seats])

    def match(self, tokens: Sequence[int], limit: int) -> Match:
        """What of `tokens[:limit]` is computed or will be; nothing where the model cannot share."""
        return self._tree.match(tokens, limit) if self._sharing else Match()

    def room(self, count: int, match: Match | None = None) -> bool:
        """Makes room for `count` more cells, sparing what `match` found; False, and nothing evicted, where the
        running seats leave none."""
        short = count - (self._cells - self._tree.cells)
        if short <= 0:
            return True
        floor = (min(match.seats), match.length) if match and match.seats else (-1, 0)
        running = [(seat, self._tree.length(seat)) for seat in self._running]
        if self._tree.held([*running, floor]) + count > self._cells:
            return False
        while short > 0:
            self._evict(short, *floor)
            short = count - (self._cells - self._tree.cells)
        return True

    def open(self, match: Match) -> int:
        """A running seat that holds exactly what `match` found: one that keeps just that, a copy, or an empty one.

        The caller has fewer running seats than there are seats.
        """
        seat = next((kept for kept in self._kept & match.seats if self._tree.length(kept) == match.length), -1)
        if seat < 0:
            source = min(match.seats, default=-1)
            seat = self._take(spare=source)
            if seat < 0:  # the source is the only seat that is not running
                seat = source
                self._trim(seat, match.length)
            elif source >= 0:
                self._copy(source, seat, match.length)
        self._kept.discard(seat)
        self._running.add(seat)
        return seat

    def reserve(self, source: int) -> int:
        """A running seat that is empty until `fork` fills it from `source`."""
        seat = self._take(spare=source)
        self._running.add(seat)
        return seat

    def fork(self, source: int, seat: int, length: int) -> None:
        """The reserved seat gets the first `length` cells of `source`."""
        self._copy(source, seat, length)

    def promise(self, seat: int, tokens: Sequence[int]) -> None:
        """The seat will hold `tokens` after what it holds; there is room for them."""
        self._tree.promise(seat, tokens)
        assert self._tree.cells <= self._cells

    def extend(self, seats: Sequence[int], tokens: Sequence[int]) -> None:
        """As `promise`, one token for each of the seats."""
        self._tree.extend(seats, tokens)
        assert self._tree.cells <= self._cells

    def computed(self, counts: Iterable[tuple[int, int]]) -> None:
        """Of (seat, count): the next `count` promised tokens of the seat are in the cache now."""
        self._tree.computed(counts)

    def forget(self, seat: int, length: int) -> None:
        """A running seat lets go of all tokens from `length` on."""
        self._trim(seat, length)

    def retire(self, seat: int, keep: int) -> None:
        """The seat runs no more; the first `keep` of its computed tokens stay as a prefix."""
        self._running.discard(seat)
        self._kept.add(seat)
        self._trim(seat, min(keep, self._tree.ready(seat)) if self._sharing else 0)
        self._settle(seat)
        if seat in self._kept:
            self._enter(seat)

    def _evict(self, short: int, spare: int, floor: int) -> None:
        """Frees up to `short` cells of the coldest prefix, or the seat of one that is held elsewhere too."""
        seat = self._cold.first(-1 if spare in self._kept and self._tree.length(spare) > floor else spare)
        least = self._tree.length(seat) - short
        if seat == spare:
            self._trim(seat, floor if self._tree.redundant(seat) else max(self._tree.alone(seat), least, floor))
        else:
            self._trim(seat, max(self._tree.alone(seat), least))
            self._settle(seat)

    def _take(self, spare: int) -> int:
        """A seat that holds nothing; -1 where only `spare` is not running."""
        if not self._free:
            victim = self._small.first(spare)
            if victim < 0:
                return -1
            self._drop(victim)
        return self._free.pop()

    def _enter(self, seat: int) -> None:
        """Puts a kept seat among those to choose from; anew where there is less reason to keep it."""
        self._cold.enter(seat)
        self._small.enter(seat)

    def _warmth(self, seat: int) -> tuple[bool, int]:
        return not self._tree.redundant(seat), self._tree.used(seat)

    def _worth(self, seat: int) -> tuple[bool, int]:
        return self._tree.length(seat) - self._tree.alone(seat) >= MUCH, self._tree.used(seat)

    def _settle(self, seat: int) -> None:
        """A kept seat that holds nothing of its own is given up."""
        if not self._tree.length(seat) or self._tree.redundant(seat):
            self._drop(seat)

    def _drop(self, seat: int) -> None:
        self._trim(seat, 0)
        self._kept.discard(seat)
        self._free.append(seat)

    def _copy(self, source: int, seat: int, length: int) -> None:
        self._tree.share(source, seat, length)
        if source in self._kept:
            self._enter(source)  # it may have become redundant
        self._changes.append(Copy(source, seat, length))

    def _trim(self, seat: int, length: int) -> None:
        if self._tree.length(seat) > length:
            self._tree.trim(seat, length)
            self._changes.append(Trim(seat, length))
            if length and seat in self._kept:
                self._enter(seat)
