"""How the seats of a context lie in llama.cpp's KV cache, and in which calls a step is therefore computed.

Pure but for the memory that is handed in.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from swarmcode.engine.cache import Change, Copy
from swarmcode.engine.call import Call
from swarmcode.engine.step import Step
from swarmcode.engine.streams import Streams, spans
from swarmcode.engine.tiles import Cost, split


class Memory(Protocol):
    """The KV cache, by llama.cpp's sequence ids."""

    def copy(self, source: int, target: int, length: int = -1) -> None:
        """`target` also gets the first `length` cells of `source`, all for -1. Sequences with streams of their own
        can only be copied whole, onto what they held."""
        ...

    def cut(self, sequence: int, length: int) -> None:
        """`sequence` loses all cells from `length` on."""
        ...


class Cells(Protocol):
    """One way for seats to lie."""

    def calls(self, step: Step) -> Sequence[Call]:
        """Makes the step's changes; what is to be computed, in order. Empty where the step has no tokens."""
        ...


class UnifiedCells:
    """One pool of cells: seats are llama.cpp's sequence ids, and what they share is stored once. Steps are cut where
    that is faster by `cost`; None: they are not."""

    def __init__(self, memory: Memory, cost: Cost | None = None) -> None:
        self._memory = memory
        self._cost = cost

    def calls(self, step: Step) -> Sequence[Call]:
        """As in `Cells`."""
        for change in step.changes:
            if isinstance(change, Copy):
                self._memory.copy(change.source, change.target, change.length)
            else:
                self._memory.cut(change.seat, change.length)
        if not step.tokens:
            return []
        if self._cost:
            return split(Call.of(step, step.seats), step.cells(), self._cost)
        # Attention goes by tiles of neighbours: guesses belong beside the tokens that they follow.
        apart = step.drafts and step.seats != sorted(step.seats)
        return [Call.of(step, step.seats) if apart else Call.whole(step)]


class StreamCells:
    """A stream of cells for each of `seats` seats.

    llama.cpp cuts sequences of unequal length into pieces, so only those with equally many tokens are computed
    together, and lie side by side.
    """

    def __init__(self, memory: Memory, seats: int) -> None:
        self._memory = memory
        self._streams = Streams(seats)

    def calls(self, step: Step) -> Sequence[Call]:
        """As in `Cells`. Decoding comes last, and with it most of the logits."""
        groups = _groups(step.seats)
        self._change(step.changes, groups)
        if not step.tokens:
            return []
        for move in self._streams.gather(groups):
            self._memory.copy(move.source, move.target)
            self._memory.cut(move.source, 0)
        ids = {seat: self._streams.fill(seat) for group in groups for seat in group}
        return Call.of(step, [ids[seat] for seat in step.seats]).by_count()

    def empty(self, seat: int) -> None:
        """The seat loses all cells."""
        self._memory.cut(self._streams.of(seat), 0)
        self._streams.empty(seat)

    def _change(self, changes: Iterable[Change], groups: Sequence[Sequence[int]]) -> None:
        """Makes the changes; what is copied gets a stream where the step wants it, if one is empty."""
        places = {seat: span for group, span in zip(groups, spans(groups), strict=True) for seat in group}
        for change in _empty_first(changes):
            if isinstance(change, Copy):
                source = self._streams.of(change.source)
                target = self._streams.fill(change.target, places.get(change.target, range(0)))
                self._memory.copy(source, target)
                self._memory.cut(target, change.length)
            elif change.length:
                self._memory.cut(self._streams.of(change.seat), change.length)
            else:
                self.empty(change.seat)


class ExactCells:
    """As `StreamCells`, with the care that keeps the rest of a step out of every answer.

    llama.cpp's kernels sum one token otherwise than several, and one sequence otherwise than several. So one that
    decodes by itself is accompanied by a token that nobody asked for, on one more seat; and where the logits of one row
    are wanted, another's are computed too, because the last layer computes no others.
    """

    def __init__(self, memory: Memory, seats: int) -> None:
        self._cells = StreamCells(memory, seats + 1)
        self._companion = seats

    def calls(self, step: Step) -> Sequence[Call]:
        """As in `Cells`."""
        self._cells.empty(self._companion)
        decoding = next((group for group in _groups(step.seats) if step.seats.count(group[0]) == 1), ())
        if len(decoding) == 1:
            step = replace(
                step,
                tokens=[*step.tokens, 0],
                positions=[*step.positions, 0],
                seats=[*step.seats, self._companion],
            )
        return [_read_two(call) for call in self._cells.calls(step)]


def _read_two(call: Call) -> Call:
    """The call with logits of two rows where one's are wanted."""
    wanted = np.array(call.wanted)
    if wanted.sum() != 1 or wanted.size == 1:
        return call
    wanted[np.argmin(wanted)] = 1
    return replace(call, wanted=wanted)


def _groups(seats: Sequence[int]) -> list[list[int]]:
    """The seats that have equally many tokens, those with one first: they are the ones that go on."""
    counts: dict[int, int] = defaultdict(int)
    for seat in seats:
        counts[seat] += 1
    groups: dict[int, list[int]] = defaultdict(list)
    for seat, count in counts.items():
        groups[count].append(seat)
    return [groups[count] for count in sorted(groups)]


def _empty_first(changes: Iterable[Change]) -> list[Change]:
    """The same changes in an order with the same end: seats are emptied as early as can be, so that there are more
    empty streams to choose from."""
    first: list[Change] = []
    rest: list[Change] = []
    touched: set[int] = set()
    for change in changes:
        if isinstance(change, Copy):
            touched |= {change.source, change.target}
            rest.append(change)
        elif change.length or change.seat in touched:
            touched.add(change.seat)
            rest.append(change)
        else:
            first.append(change)
    return first + rest
