"""Seats find in llama.cpp's memory what the scheduler's books say, in every layout."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.engine.cache import Change, Copy, Trim
from swarmcode.engine.cells import Cells, ExactCells, StreamCells, UnifiedCells
from swarmcode.engine.step import Read, Step

SEATS = 6


class Pool:
    """A memory that can copy parts."""

    def __init__(self) -> None:
        self.held: dict[int, list[int]] = {number: [] for number in range(SEATS + 1)}

    def copy(self, source: int, target: int, length: int = -1) -> None:
        self.held[target] = self.held[source][: length if length >= 0 else None]

    def cut(self, sequence: int, length: int) -> None:
        del self.held[sequence][length:]


class Apart(Pool):
    """A memory that can only copy whole streams."""

    def copy(self, source: int, target: int, length: int = -1) -> None:
        assert length == -1
        assert source != target
        super().copy(source, target)


EVENTS = st.lists(
    st.tuples(
        st.lists(
            st.one_of(
                st.builds(Trim, st.integers(0, SEATS - 1), st.sampled_from([0, 0, 1, 3])),
                st.builds(Copy, st.integers(0, SEATS - 1), st.integers(0, SEATS - 1), st.integers(1, 9)),
            ),
            max_size=6,
        ),
        st.dictionaries(st.integers(0, SEATS - 1), st.integers(1, 4), max_size=SEATS),
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    ("make", "memory"),
    [
        (lambda memory: UnifiedCells(memory), Pool),
        (lambda memory: StreamCells(memory, SEATS + 1), Apart),
        (lambda memory: ExactCells(memory, SEATS), Apart),
    ],
)
@settings(deadline=None)
@given(events=EVENTS)
def test_every_seat_has_its_own_tokens(make: Callable[[Any], Cells], memory: Any, events: Any) -> None:
    """Whatever is copied, cut, moved and computed, a row is computed on top of just what its seat should hold, once,
    and where streams are apart and one is empty, the rows of a call belong to neighbours with equally many of them."""
    pool = memory()
    cells = make(pool)
    books: dict[int, list[int]] = {seat: [] for seat in range(SEATS)}
    number = 10
    for wanted, counts in events:
        changes = list(_valid(wanted, books))
        step = Step(changes=tuple(changes))
        for seat, count in counts.items():
            step.tokens += range(number, number + count)
            step.positions += range(len(books[seat]), len(books[seat]) + count)
            step.seats += [seat] * count
            step.reads.append(Read(len(step.tokens) - 1, [seat]))
            number += count
        rows = []
        roomy = any(not held and seat not in counts for seat, held in books.items())
        for call in cells.calls(step):
            if memory is Apart and roomy:
                ids = sorted(set(call.ids.tolist()))
                assert ids == list(range(ids[0], ids[0] + len(ids)))
                assert len({call.ids.tolist().count(one) for one in ids}) == 1
            for token, position, place, row in zip(call.tokens, call.positions, call.ids, call.rows, strict=True):
                if row < sum(counts.values()):
                    seat = step.seats[row]
                    assert pool.held[place] == books[seat]
                    books[seat].append(int(token))
                    rows.append(row)
                assert len(pool.held[place]) == position
                pool.held[place].append(int(token))
        assert sorted(rows) == list(range(sum(counts.values())))


def _valid(wanted: list[Change], books: dict[int, list[int]]) -> Any:
    """Those changes that a scheduler could make; the books follow them."""
    for change in wanted:
        if isinstance(change, Trim) and len(books[change.seat]) > change.length:
            del books[change.seat][change.length :]
            yield change
        elif isinstance(change, Copy) and not books[change.target] and len(books[change.source]) >= change.length:
            books[change.target] = books[change.source][: change.length]
            yield change


@settings(deadline=None)
@given(events=EVENTS)
def test_nothing_is_computed_alone_where_answers_are_exact(events: Any) -> None:
    """A call has two rows or more, and logits are wanted of none, or of all that were asked for and of two or more."""
    cells = ExactCells(Apart(), SEATS)
    for _, counts in events:
        seats = [seat for seat, count in counts.items() for _ in range(count)]
        reads = [Read(seats.index(seat), [0]) for seat in counts]
        for call in cells.calls(Step(tokens=[0] * len(seats), positions=[0] * len(seats), seats=seats, reads=reads)):
            asked = [row for row in (read.row for read in reads) if row in call.rows]
            assert call.rows.size > 1
            assert call.wanted.sum() >= 2 or not asked
            assert set(asked) <= set(call.rows[call.wanted > 0])
