"""Tokens are drawn as the rules say, from each row by itself, and reported with the right probability."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from swarmcode.engine.protocol import Sampling
from swarmcode.engine.sampling import Pick, draw, key

ROWS = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=40).map(lambda row: np.array(row, np.float32))
RULES = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    top_k=st.integers(0, 12),
    top_p=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.3]),
)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(logits - logits.max())
    share: NDArray[np.float64] = weights / weights.sum()
    return share


def reference(row: NDArray[np.float32], rules: Sampling, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The distribution that a token is drawn from, by sorting everything, step after step."""
    allowed = np.flatnonzero(mask)
    order = allowed[np.argsort(-row[allowed].astype(np.float64), kind="stable")]
    if rules.top_k:
        order = order[: rules.top_k]
    share = softmax(row[order].astype(np.float64))
    order = order[: int(np.searchsorted(np.cumsum(share), rules.top_p * (1 - 1e-12))) + 1] if rules.top_p < 1 else order
    order = order[row[order] >= row[order[0]] + np.log(rules.min_p)] if rules.min_p else order
    result = np.zeros(len(row))
    if rules.temperature:
        result[order] = softmax(row[order].astype(np.float64) / rules.temperature)
    else:
        result[order[0]] = 1.0
    return result


def one(row: NDArray[np.float32], rules: Sampling, seed: int = 0, mask: NDArray[np.bool_] | None = None) -> int:
    return draw([row], [Pick(0, rules, key(seed, 0), mask)])[0].token


@given(ROWS, RULES, st.data())
def test_only_what_the_rules_leave_is_drawn(row: NDArray[np.float32], rules: Sampling, data: st.DataObject) -> None:
    """No drawn token is one that the rules, carried out by full sorts, give no chance (rows without near ties)."""
    row = np.unique(np.round(row, 2))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(row), max_size=len(row))))
    mask[data.draw(st.integers(0, len(row) - 1))] = True
    expected = reference(row, rules, mask)
    for seed in range(5):
        assert expected[one(row, rules, seed, mask)] > 0
    if mask.all():
        assert one(row, rules, 7, None) == one(row, rules, 7, mask)


@pytest.mark.parametrize(
    "rules",
    [
        Sampling(),
        Sampling(temperature=0.6, top_p=0.95, min_p=0.01),
        Sampling(temperature=1.7, top_k=20),
        Sampling(temperature=0.5, top_k=50, top_p=0.8),
    ],
)
def test_tokens_come_as_often_as_they_should(rules: Sampling) -> None:
    """Over 20,000 draws the frequencies are those of the distribution (chi-squared, far from the tail)."""
    row = (np.random.default_rng(1).normal(size=300) * 2).astype(np.float32)
    mask = np.arange(300) % 3 > 0
    expected = reference(row, rules, mask)
    picks = [Pick(0, rules, key(number // 10, number % 10), mask) for number in range(20_000)]
    counts = np.bincount([drawn.token for drawn in draw([row], picks)], minlength=300)
    common = expected * 20_000 >= 5
    rest = counts[~common].sum() - expected[~common].sum() * 20_000
    squares = (((counts - expected * 20_000) ** 2)[common] / (expected * 20_000)[common]).sum()
    assert counts[expected == 0].sum() == 0
    assert squares < common.sum() + 6 * np.sqrt(2 * common.sum())
    assert abs(rest) < 6 * np.sqrt(expected[~common].sum() * 20_000 + 1)


@given(ROWS, RULES, st.integers(0, 5))
def test_log_probability_is_under_the_mask_alone(row: NDArray[np.float32], rules: Sampling, least: int) -> None:
    """Whatever top-k, top-p, min-p and temperature are, the log-probability is that of the plain softmax under the
    mask, and never above zero."""
    mask = np.arange(len(row)) >= min(least, len(row) - 1)
    (drawn,) = draw([row], [Pick(0, rules, 0, mask)])
    expected = np.log(softmax(row[mask].astype(np.float64)))[drawn.token - np.flatnonzero(mask)[0]]
    assert drawn.logprob == pytest.approx(expected, abs=1e-4)
    assert drawn.logprob <= 0


@given(ROWS, RULES, st.integers(1, 50), st.integers(0, 5), st.booleans())
def test_the_likeliest_tokens_are_those_of_the_plain_softmax(
    row: NDArray[np.float32], rules: Sampling, count: int, least: int, coarse: bool
) -> None:
    """Best first, among equals the smaller token first, as many as asked for or allowed; whatever is drawn and how."""
    row = np.round(row / 4) if coarse else row
    mask = np.arange(len(row)) >= min(least, len(row) - 1)
    allowed = np.flatnonzero(mask)
    logprobs = np.log(softmax(row[mask].astype(np.float64)))
    order = np.lexsort((allowed, -row[allowed]))[:count]
    (drawn,) = draw([row], [Pick(0, rules, 0, mask, top=count)])
    assert [token for token, _ in drawn.top] == allowed[order].tolist()
    assert [logprob for _, logprob in drawn.top] == pytest.approx(logprobs[order].tolist(), abs=1e-4)
    assert dict(drawn.top).get(drawn.token, drawn.logprob) == drawn.logprob
    (plain,) = draw([row], [Pick(0, rules, 0, mask)])
    assert (plain.token, plain.logprob, plain.top) == (drawn.token, drawn.logprob, ())


def test_temperature_zero_takes_the_most_probable() -> None:
    """Greedy is greedy, under a mask too, and among equals the first."""
    row = np.array([0.0, 3.0, 3.0, 9.0], np.float32)
    assert one(row, Sampling(temperature=0)) == 3
    assert one(row, Sampling(temperature=0), mask=row < 9) == 1


@given(st.integers(0, 99), st.integers(1, 6), RULES)
def test_a_draw_does_not_depend_on_the_batch(seed: int, others: int, rules: Sampling) -> None:
    """The same row, rules and random numbers give the same token and probability whatever is drawn beside them."""
    rows = (np.random.default_rng(seed).normal(size=(others + 1, 500)) * 3).astype(np.float32)
    beside = [Pick(index, Sampling(top_k=3 * index), index) for index in range(others)]
    alone = draw([rows[-1].copy()], [Pick(0, rules, seed)])[0]
    together = draw(list(rows), [*beside, Pick(others, rules, seed)])[-1]
    assert alone == together


@pytest.mark.parametrize("rules", [Sampling(), Sampling(temperature=0.6, top_p=0.95, min_p=0.01)])
def test_a_draw_hardly_depends_on_the_last_digits(rules: Sampling) -> None:
    """Logits with an error of a thousandth, as other kernels make it, give the same tokens in 99 of 100 draws."""
    random = np.random.default_rng(2)
    rows = (random.normal(size=(500, 2000)) * 2).astype(np.float32)
    picks = [Pick(index, rules, key(index, 0)) for index in range(500)]
    noisy = (rows + random.normal(size=rows.shape) * 1e-3).astype(np.float32)
    same = sum(one.token == other.token for one, other in zip(draw(rows, picks), draw(noisy, picks), strict=True))
    assert same >= 495


def test_keys_differ_between_seeds_and_steps() -> None:
    """Any integer is a seed, and neighbours have nothing in common."""
    seeds = [*range(-50, 50), 2**63, 2**64 - 1, -(2**70) - 5]
    assert len({key(seed, step) for seed in seeds for step in range(100)}) == len({s % 2**64 for s in seeds}) * 100
    bits = [key(seed, 0) ^ key(seed + 1, 0) for seed in range(200)]
    assert 24 < np.mean([each.bit_count() for each in bits]) < 40


def test_nothing_is_drawn_from_nothing() -> None:
    """No picks, no tokens."""
    assert draw([], []) == []


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("rules", [Sampling(), Sampling(temperature=0), Sampling(top_p=0.5, min_p=0.1)])
def test_logits_that_are_no_numbers_are_reported(wrong: float, rules: Sampling) -> None:
    """A row with NaN or infinity yields a log-probability that is no number, so that the caller can tell."""
    row = np.array([1.0, wrong, 2.0], np.float32)
    assert not np.isfinite(draw([row], [Pick(0, rules, 0)])[0].logprob)
