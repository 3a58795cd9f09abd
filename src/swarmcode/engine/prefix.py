"""Which tokens lie in the KV cache, as a radix tree of runs of cells that seats share.

A *seat* is a sequence id of the context. What a seat holds is a path of *runs* from the root; two seats hold the same
cells exactly where their paths are the same runs. The tree is therefore two things at once: an exact count of the
cells that are taken, and an index of which prompt beginnings need not be computed again, whether they belong to a
sequence that is running, that has ended, or that is being computed at this moment. The idea is SGLang's RadixAttention
(https://arxiv.org/abs/2312.07104); unlike there, runs are split at any token and equal siblings may stand side by side.

Pure bookkeeping: the caller makes the same copies and removals in the context, in the same order.
"""

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Tokens: TypeAlias = "array[int]"
"""Tokens as they are compared: some ten times as fast as lists."""


def packed(tokens: Sequence[int]) -> Tokens:
    """Tokens in that form. Raises `struct.error` where one has more than 32 bits."""
    found = array("i")
    found.frombytes(struct.pack(f"{len(tokens)}i", *tokens))
    return found


@dataclass(eq=False, slots=True)
class Run:
    """Cells of consecutive positions, held by the same seats."""

    start: int
    """Position of the first token."""
    tokens: Tokens
    parent: "Run | None"
    ready: int = 0
    """How many of the tokens have been computed; the others are promised. Only a run of one seat has promised ones."""
    used: int = 0
    """Tick at which it was last wanted."""
    seats: set[int] = field(default_factory=set)
    children: list["Run"] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How much of a prompt is in the cache."""

    seats: frozenset[int] = frozenset()
    """All that hold the computed part."""
    length: int = 0
    """Tokens that are computed and can be shared now."""
    coming: int = 0
    """Tokens that can be shared once what is promised is computed; at least `length`."""


class PrefixTree:
    """The runs of all seats. Seats are any non-negative integers."""

    def __init__(self) -> None:
        self._root = Run(start=0, tokens=array("i"), parent=None)
        self._last: dict[int, Run] = {}
        self._tick = 0
        self._cells = 0

    @property
    def cells(self) -> int:
        """Cells that are taken, promised ones included; shared ones count once."""
        return self._cells

    def seats(self) -> frozenset[int]:
        """The seats that hold anything."""
        return frozenset(self._last)

    def length(self, seat: int) -> int:
        """Tokens that the seat holds, promised ones included."""
        return self._last[seat].end if seat in self._last else 0

    def ready(self, seat: int) -> int:
        """Tokens of the seat that are computed."""
        run = self._last.get(seat)
        return run.start + run.ready if run else 0

    def standing(self, seats: Iterable[int]) -> list[tuple[int, int]]:
        """For each seat, none of which is empty, what `ready` and `length` say."""
        return [(run.start + run.ready, run.start + len(run.tokens)) for run in map(self._last.__getitem__, seats)]

    def tokens(self, seat: int) -> list[int]:
        """What the seat holds, promised tokens included."""
        runs = list(self._path(seat))
        return [token for run in reversed(runs) for token in run.tokens]

    def used(self, seat: int) -> int:
        """Tick at which the end of what the seat holds was last wanted; larger is later."""
        return self._last[seat].used

    def redundant(self, seat: int) -> bool:
        """Whether all that the seat holds is held by another seat too."""
        return len(self._last[seat].seats) > 1

    def alone(self, seat: int) -> int:
        """Tokens from which on nobody else holds what the seat holds; its length where its last run is shared."""
        run = self._last[seat]
        while run.parent and len(run.seats) == 1:
            run = run.parent
        return run.end

    def held(self, holds: Iterable[tuple[int, int]]) -> int:
        """Cells that are held by at least one of the (seat, length) beginnings."""
        runs: dict[int, int] = {}
        for seat, length in holds:
            for run in self._path(seat):
                part = max(0, min(run.end, length) - run.start)
                runs[id(run)] = max(runs.get(id(run), 0), part)
        return sum(runs.values())

    def match(self, tokens: Sequence[int], limit: int) -> Match:
        """The longest beginning of `tokens[:limit]` that is computed, and the longest that is computed or promised.

        Marks what it found as wanted now.
        """
        self._tick += 1
        wanted = tokens[:limit] if isinstance(tokens, array) else packed(tokens[:limit])
        best, length, coming = self._root, 0, 0
        open_runs = [self._root]
        while open_runs:
            run = open_runs.pop()
            common = _common(run.tokens, wanted, run.start)
            coming = max(coming, run.start + common)
            shared = run.start + min(common, run.ready)
            if shared > length:
                best, length = run, shared
            if common == len(run.tokens) and run.end < len(wanted):
                following = wanted[run.end]
                open_runs.extend(child for child in run.children if child.tokens[0] == following)
        seats = frozenset(best.seats)
        if length:
            self._touch(min(seats), length)
        return Match(seats=seats, length=length, coming=coming)

    def share(self, source: int, seat: int, length: int) -> None:
        """An empty seat takes hold of the first `length` tokens of `source`, all of them computed."""
        run = self._split(source, length)
        self._last[seat] = run
        while run.parent:
            run.seats.add(seat)
            run = run.parent
        self._touch(seat, length)

    def promise(self, seat: int, tokens: Sequence[int]) -> None:
        """The seat will hold `tokens` after what it holds; they count as taken from now on."""
        self._tick += 1
        run = self._last.get(seat, self._root)
        if len(run.seats) != 1 or run.children:
            run = self._branch(run, seat)
        run.tokens.extend(tokens)
        run.used = self._tick
        self._cells += len(tokens)

    def extend(self, seats: Sequence[int], tokens: Sequence[int]) -> None:
        """As `promise`, one token for each of the seats."""
        self._tick += 1
        self._cells += len(seats)
        for seat, token in zip(seats, tokens, strict=True):
            run = self._last[seat]
            if len(run.seats) != 1 or run.children:
                run = self._branch(run, seat)
            run.tokens.append(token)
            run.used = self._tick

    def computed(self, counts: Iterable[tuple[int, int]]) -> None:
        """Of (seat, count): the next `count` promised tokens of the seat are in the cache now."""
        for seat, count in counts:
            run = self._last[seat]
            run.ready += count
            assert run.ready <= len(run.tokens)

    def trim(self, seat: int, length: int) -> None:
        """The seat lets go of everything from `length` on; cells that nobody holds any more are free."""
        run = self._last.get(seat, self._root)
        while run.parent and run.start >= length:
            self._release(run, seat)
            run = run.parent
        if run.parent is None:
            self._last.pop(seat, None)
            return
        self._last[seat] = run
        if run.end > length:
            self._cut(run, seat, length - run.start)

    def _branch(self, run: Run, seat: int) -> Run:
        """A new run, empty and the seat's own, behind the last one of the seat."""
        branch = Run(start=run.end, tokens=array("i"), parent=run, seats={seat})
        run.children.append(branch)
        self._last[seat] = branch
        return branch

    def _cut(self, run: Run, seat: int, keep: int) -> None:
        """The seat keeps the first `keep` tokens of its last run; the others stay where somebody else holds them."""
        if len(run.seats) == 1:
            self._cells -= len(run.tokens) - keep
            del run.tokens[keep:]
            run.ready = min(run.ready, keep)
            return
        self._last[seat] = head = self._divide(run, keep)
        for child in head.children:
            child.seats.discard(seat)

    def _release(self, run: Run, seat: int) -> None:
        run.seats.discard(seat)
        if not run.seats and run.parent:
            self._cells -= len(run.tokens)
            run.parent.children.remove(run)

    def _split(self, seat: int, length: int) -> Run:
        """The run of the seat's path that ends exactly at `length`, made by dividing one where there is none."""
        run = self._last[seat]
        while run.start >= length and run.parent:
            run = run.parent
        assert run.end >= length
        assert run.start + run.ready >= length, "only what is computed can be shared"
        return run if run.end == length else self._divide(run, length - run.start)

    def _divide(self, run: Run, keep: int) -> Run:
        """Puts a new run with the first `keep` tokens above `run`, which keeps the others."""
        assert run.parent
        head = Run(start=run.start, tokens=run.tokens[:keep], parent=run.parent, used=run.used, seats=set(run.seats))
        head.ready = min(run.ready, keep)
        head.children.append(run)
        siblings = run.parent.children
        siblings[siblings.index(run)] = head
        run.start, run.tokens, run.ready, run.parent = head.end, run.tokens[keep:], run.ready - head.ready, head
        return head

    def _touch(self, seat: int, length: int) -> None:
        self._tick += 1
        for run in self._path(seat):
            if run.start < length:
                run.used = self._tick

    def _path(self, seat: int) -> Iterator[Run]:
        """The seat's runs, last first."""
        run = self._last.get(seat, self._root)
        while run.parent:
            yield run
            run = run.parent


def _common(run: Tokens, wanted: Tokens, start: int) -> int:
    """How many tokens of `run` stand in `wanted` from `start` on, in order."""
    part = wanted[start : start + len(run)]
    if part == run:
        return len(run)
    low, high = 0, min(len(part), len(run))
    while low < high:
        middle = (low + high + 1) // 2
        if part[:middle] == run[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
