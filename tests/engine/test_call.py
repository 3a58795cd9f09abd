"""The rows of a step reach llama.cpp whole, in its order, and their logits find the way back."""

from hypothesis import given
from hypothesis import strategies as st

from swarmcode.engine.call import Call
from swarmcode.engine.step import Read, Step

SEQUENCES = st.dictionaries(st.integers(0, 9), st.integers(1, 4), min_size=1, max_size=8)


def step_of(counts: dict[int, int]) -> Step:
    """A step that computes so many tokens of each sequence, and wants the logits of the last."""
    step = Step()
    for name, count in counts.items():
        step.tokens += [10 * name + index for index in range(count)]
        step.positions += range(count)
        step.seats += [name] * count
        step.reads.append(Read(len(step.tokens) - 1, [name]))
    return step


@given(SEQUENCES)
def test_every_row_is_there_once_in_order(counts: dict[int, int]) -> None:
    """By ascending sequence id, and within one by ascending position."""
    step = step_of(counts)
    call = Call.of(step, step.seats)
    assert list(call.ids) == sorted(step.seats)
    assert sorted(call.rows) == list(range(len(step.tokens)))
    for place, row in enumerate(call.rows):
        assert (call.tokens[place], call.positions[place]) == (step.tokens[row], step.positions[row])
    assert sorted(call.rows[call.wanted > 0]) == [read.row for read in step.reads]


@given(SEQUENCES)
def test_parts_have_sequences_of_equal_length(counts: dict[int, int]) -> None:
    """No part mixes lengths, no sequence is cut, nothing is lost, and single tokens come last."""
    step = step_of(counts)
    parts = Call.of(step, step.seats).by_count()
    lengths = [{list(part.ids).count(name) for name in part.ids} for part in parts]
    assert lengths == [{count} for count in sorted(set(counts.values()), reverse=True)]
    assert sorted(row for part in parts for row in part.rows) == list(range(len(step.tokens)))
