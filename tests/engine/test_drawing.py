"""What compiled code draws is what numpy draws."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from swarmcode.engine.llama.attention import kernel
from swarmcode.engine.llama.drawing import Drawer, Native
from swarmcode.engine.protocol import Sampling
from swarmcode.engine.sampling import Pick, draw, key

pytestmark = pytest.mark.model

RULES = {
    "likeliest": Sampling(temperature=0.0),
    "plain": Sampling(),
    "warm": Sampling(temperature=1.7),
    "cold": Sampling(temperature=0.05),
    "min-p": Sampling(min_p=0.02),
    "top-p": Sampling(temperature=0.6, top_p=0.95),
    "both": Sampling(temperature=0.8, top_p=0.9, min_p=0.01),
    "hardly any": Sampling(top_p=1e-9),
    "none at all": Sampling(min_p=1.0),
}


@pytest.fixture
def native() -> Native:
    found = kernel().draw
    assert found, kernel().why_not
    return found


def rows_of(count: int, vocabulary: int, spread: float = 3.0) -> list[NDArray[np.float32]]:
    return list(np.random.default_rng(0).standard_normal((count, vocabulary), np.float32) * np.float32(spread))


@pytest.mark.parametrize("vocabulary", [1, 7, 256, 300, 4096, 50_001])
@pytest.mark.parametrize("name", RULES)
def test_the_same_tokens_are_drawn(native: Native, name: str, vocabulary: int) -> None:
    """Unless two arrive together but for the last digit of a weight."""
    rows = rows_of(200, vocabulary)
    picks = [Pick(index, RULES[name], key(index, 5)) for index in range(200)]
    ours, theirs = Drawer(native, threads=2)(rows, picks), draw(rows, picks)
    assert sum(one.token != other.token for one, other in zip(ours, theirs, strict=True)) <= 1
    for one, other in zip(ours, theirs, strict=True):
        if one.token == other.token:
            assert one.logprob == pytest.approx(other.logprob, abs=2e-5)


def test_what_is_drawn_from_a_row_depends_on_that_row_alone(native: Native) -> None:
    rows = rows_of(90, 4096)
    picks = [Pick(index, list(RULES.values())[index % len(RULES)], key(index, 1)) for index in range(90)]
    together = Drawer(native, threads=5)(rows, picks)
    assert together == Drawer(native, threads=1)(rows, picks)
    assert together == [Drawer(native, threads=2)(rows, [pick])[0] for pick in picks]


def test_the_first_of_equals_is_the_likeliest(native: Native) -> None:
    row = np.zeros(100, np.float32)
    row[[41, 77]] = 2.0
    assert Drawer(native, threads=1)([row], [Pick(0, RULES["likeliest"], 0)])[0].token == 41


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("name", RULES)
def test_logits_that_are_no_numbers_show(native: Native, name: str, wrong: float) -> None:
    """Wherever they stand; and a row of nothing but impossible tokens, too."""
    for place in (0, 5, 98, 99):
        row = rows_of(1, 100)[0]
        row[place] = wrong
        assert not np.isfinite(Drawer(native, threads=1)([row], [Pick(0, RULES[name], 0)])[0].logprob)
    none = np.full(100, -np.inf, np.float32)
    assert not np.isfinite(Drawer(native, threads=1)([none], [Pick(0, RULES[name], 0)])[0].logprob)


def test_impossible_tokens_are_not_drawn(native: Native) -> None:
    row = np.full(1000, -np.inf, np.float32)
    row[[3, 600, 999]] = (0.5, 1.0, 0.0)
    picks = [Pick(0, RULES["plain"], key(seed, 0)) for seed in range(300)]
    assert {found.token for found in Drawer(native, threads=2)([row], picks)} == {3, 600, 999}


def test_what_needs_more_is_left_to_numpy(native: Native) -> None:
    """Masks, the likeliest tokens and top-k; among others that do not, in order."""
    rows = rows_of(4, 500)
    mask = np.arange(500) % 2 == 0
    plain = Pick(0, RULES["plain"], key(1, 1))
    picks = [plain, replace(plain, row=1, mask=mask), replace(plain, row=2, top=3), plain]
    picks.append(replace(plain, row=3, sampling=Sampling(top_k=4)))
    found = Drawer(native, threads=2)(rows, picks)
    assert [one.token for one in found] == [one.token for one in draw(rows, picks)]
    assert found[1].token % 2 == 0
    assert len(found[2].top) == 3


def test_without_compiled_code_numpy_draws() -> None:
    rows = rows_of(3, 500)
    picks = [Pick(index, RULES["plain"], key(index, 0)) for index in range(3)]
    assert Drawer(None, threads=2)(rows, picks) == draw(rows, picks)
