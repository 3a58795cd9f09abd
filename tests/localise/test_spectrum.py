"""Ochiai's coefficient, against values computed by hand, and its bounds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.localise.spectrum import Spectrum


def lines(**files: set[int]) -> dict[str, frozenset[int]]:
    return {name: frozenset(numbers) for name, numbers in files.items()}


COVERED = {
    "f1": lines(a={1, 2, 3}, b={9}),
    "f2": lines(a={1, 2}),
    "p1": lines(a={1, 4}),
    "p2": lines(a={1, 2}),
    "p3": lines(c={1}),
}


def test_by_hand() -> None:
    """failed(l) / sqrt(failing * (failed(l) + passed(l))) for each line that a failing test ran."""
    found = Spectrum(COVERED, ["p1", "p2", "p3"]).ochiai(["f1", "f2"])
    assert found["a"] == pytest.approx(
        {
            1: 2 / math.sqrt(2 * (2 + 2)),  # both failing, two passing
            2: 2 / math.sqrt(2 * (2 + 1)),
            3: 1 / math.sqrt(2 * (1 + 0)),
        }
    )
    assert found["b"] == pytest.approx({9: 1 / math.sqrt(2)})
    assert "c" not in found


def test_one_failing_test_alone() -> None:
    """Asked for one of several failing tests, the others count neither way."""
    spectrum = Spectrum(COVERED, ["p1", "p2", "p3"])
    assert spectrum.ochiai(["f2"])["a"] == pytest.approx({1: 1 / math.sqrt(3), 2: 1 / math.sqrt(2)})


def test_untraced_tests() -> None:
    """Tests without coverage, failing or passing, are as if they were not there."""
    assert Spectrum(COVERED, ["p1", "p9"]).ochiai(["f2", "f9"])["a"] == pytest.approx({1: 1 / math.sqrt(2), 2: 1.0})
    assert Spectrum(COVERED, []).ochiai(["f9"]) == {}
    assert Spectrum({"f": {}}, []).ochiai(["f"]) == {}
    assert Spectrum({}, []).ochiai([]) == {}


TRACES = st.dictionaries(
    st.sampled_from(["f1", "f2", "f3", "p1", "p2", "p3"]),
    st.dictionaries(st.sampled_from("ab"), st.frozensets(st.integers(1, 9)), max_size=2),
)


@given(TRACES)
def test_bounds(covered: dict[str, dict[str, frozenset[int]]]) -> None:
    """Always above 0 and at most 1; 1 exactly for what every failing test ran and no passing one; never for a line
    that no failing test ran."""
    failing = [test for test in covered if test.startswith("f") and covered[test]]
    passing = [test for test in covered if test.startswith("p")]
    for path, values in Spectrum(covered, passing).ochiai(failing).items():
        for line, value in values.items():
            ran = [test for test in covered if line in covered[test].get(path, ())]
            assert 0 < value <= 1 + 1e-12
            assert any(test in failing for test in ran)
            assert (value > 1 - 1e-9) == (set(failing) == set(ran))
