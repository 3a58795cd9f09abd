"""A step over one pool of cells is cut where that is faster, and only there; whatever is cut is all there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.engine.call import Call
from swarmcode.engine.step import Read, Step
from swarmcode.engine.tiles import TILE, Cost, split

SMALL = Cost(call=1e-3, pair=1e-6)
"""Of a model of some million parameters."""


def call(*sequences: tuple[int, int]) -> Call:
    """Of sequences with so many rows each, the last ones of so many tokens."""
    step = Step()
    for seat, (rows, length) in enumerate(sequences):
        step.tokens += range(rows)
        step.positions += range(length - rows, length)
        step.seats += [seat] * rows
        step.reads.append(Read(len(step.tokens) - 1, [seat]))
    return Call.of(step, step.seats)


def sizes(found: Call, cells: int, cost: Cost = SMALL) -> list[int]:
    return [part.rows.size for part in split(found, cells, cost)]


def test_sequences_that_share_nothing_decode_in_two_calls() -> None:
    """Tiles of a hundred would compute each with the cells of all."""
    assert sizes(call(*[(1, 300)] * 100), 100 * 300) == [50, 50]


def test_sequences_behind_a_long_head_decode_in_one_call() -> None:
    """Tiles are cheap where most is shared; with more of their own, they are not."""
    assert sizes(call(*[(1, 4100)] * 100), 4000 + 100 * 100) == [100]
    assert sizes(call(*[(1, 1500)] * 100), 500 + 100 * 1000) == [50, 50]


def test_a_prompt_is_computed_in_tiles() -> None:
    """All of it at once, apart from those that decode beside it and share nothing with it."""
    assert sizes(call((512, 2000)), 2000) == [512]
    assert sizes(call((400, 2000), *[(1, 800)] * 60), 2000 + 60 * 800) == [400, 60]
    assert sizes(call(*[(64, 1088)] * 8), 1024 + 8 * 64) == [512]


@pytest.mark.parametrize("rows", [1, 63])
def test_few_rows_are_one_call(rows: int) -> None:
    """No tiles are used for them."""
    assert sizes(call(*[(1, 500)] * rows), rows * 500) == [rows]


def test_a_large_model_is_not_read_twice() -> None:
    """Where a call costs more than all that it saves."""
    assert sizes(call(*[(1, 50)] * 100), 100 * 50, Cost.of(375 * 10**9, 70_000)) == [100]


@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(0, 3000)), min_size=1, max_size=100),
    st.floats(0, 1),
    st.sampled_from([SMALL, Cost(call=0.0, pair=1.0)]),
)
def test_the_parts_are_the_whole(sequences: list[tuple[int, int]], share: float, cost: Cost) -> None:
    """Each row stands in one part, behind those of its own sequence that come before it, and with what belongs to it;
    a part of short sequences stays below the limit."""
    whole = call(*((rows, rows + more) for rows, more in sequences))
    lengths = [rows + more for rows, more in sequences]
    cells = int(max(lengths) + (1 - share) * (sum(lengths) - max(lengths)))
    parts = split(whole, cells, cost)
    assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == whole.rows.tolist()
    seen: dict[int, int] = {}
    for part in parts:
        for place, row in enumerate(part.rows.tolist()):
            assert (part.tokens[place], part.ids[place]) == (whole.tokens[row], whole.ids[row])
            assert part.wanted[place] == whole.wanted[row]
            assert part.positions[place] > seen.get(int(part.ids[place]), -1)
            seen[int(part.ids[place])] = int(part.positions[place])
    assert all(part.rows.size < TILE for part in parts[1:])
