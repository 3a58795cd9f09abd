"""Places and samples share one budget."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from swarmcode.agent.schedule import MOST_SAMPLES, schedule

scores = st.lists(st.floats(min_value=0.001, max_value=1.0), min_size=1, max_size=12)


@given(scores)
def test_every_place_gets_every_sample_once_and_in_order(suspicion: list[float]) -> None:
    """Nothing is tried twice and nothing is left out."""
    drawn = list(schedule(suspicion))
    assert len(drawn) == len(set(drawn)) == len(suspicion) * MOST_SAMPLES
    for place in range(len(suspicion)):
        assert [sample for where, sample in drawn if where == place] == list(range(MOST_SAMPLES))


@given(scores)
def test_the_most_suspicious_place_comes_first(suspicion: list[float]) -> None:
    """The first attempt looks at the best place."""
    place, sample = next(schedule(suspicion))
    assert suspicion[place] == max(suspicion)
    assert sample == 0


def test_equal_places_all_get_their_first_answer_before_any_gets_a_second() -> None:
    """Breadth before depth where nothing tells the places apart."""
    assert {place for place, _ in islice(schedule([0.5] * 5), 5)} == set(range(5))


def test_a_sure_place_gets_several_samples_before_a_faint_one_gets_its_first() -> None:
    """Depth where the evidence is strong."""
    drawn = list(islice(schedule([1.0, 0.02]), 6))
    assert [place for place, _ in drawn].count(0) >= 4


def test_without_places_there_is_nothing_to_try() -> None:
    """An empty list of suspects ends at once."""
    assert list(schedule([])) == []
