"""The fit of the search's weights finds what made the choices, and ranks are counted from the best."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))

import calibrate

KINDS = len(calibrate.NAMES) - 1
"""Features beside the probability."""


def contests(weights: np.ndarray, count: int = 400, edits: int = 30) -> list[calibrate.Contest]:
    """Choices that people with these weights would make."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        kinds = np.eye(KINDS)[rng.integers(0, KINDS, edits)]
        features = np.hstack([rng.normal(-5, 2, (edits, 1)), kinds])
        scores = features @ weights
        share = np.exp(scores - scores.max())
        right = int(rng.choice(edits, p=share / share.sum()))
        found.append(calibrate.Contest(project=f"p{number % 7}", features=features, right=right))
    return found


def test_the_fit_finds_the_weights() -> None:
    """Up to noise, and to a constant that is the same for all kinds."""
    weights = np.array([0.8, 2.0, *[0.0] * (KINDS - 2), -1.0])
    fitted = calibrate.fit(contests(weights))
    assert fitted[0] == pytest.approx(0.8, abs=0.15)
    assert fitted[1] - fitted[2:-1].mean() == pytest.approx(2.0, abs=0.5)
    assert fitted[-1] < fitted[2:-1].mean()


def test_a_fit_ranks_better_than_the_probability_alone_where_kinds_matter() -> None:
    """On projects that the fit has not seen."""
    made = contests(np.array([0.8, 3.0, *[0.0] * (KINDS - 1)]))
    alone = [each.rank(np.array([1.0, *[0.0] * KINDS])) for each in made]
    assert sum(calibrate.crossed(made)) < 0.8 * sum(alone)


def test_the_rank_counts_what_is_better() -> None:
    """From 1."""
    features = np.array([[-1.0, *[0.0] * KINDS], [-3.0, *[0.0] * KINDS], [-2.0, *[0.0] * KINDS]])
    contest = calibrate.Contest(project="p", features=features, right=1)
    assert contest.rank(np.array([1.0, *[0.0] * KINDS])) == 3


def test_the_report_has_a_row_for_each_way_of_ranking() -> None:
    """And the table of weights as the product holds it."""
    text = "\n".join(calibrate.report(contests(np.array([1.0, *[0.0] * KINDS]), 40), 50))
    assert "40 of 50 faults" in text
    for name in ("probability alone", "weights of the product", "fitted, crosswise", "swap", "unbound mended"):
        assert name in text
