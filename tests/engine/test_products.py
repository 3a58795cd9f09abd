"""Products with weights of eight bits, and what lies between them: what they are, and on what they do not depend."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from swarmcode.engine.llama import placed, rowwise
from swarmcode.engine.llama.attention import Kernel, kernel
from swarmcode.engine.llama.operations import NotTaken
from swarmcode.engine.llama.proof import CLOSE, Product

pytestmark = pytest.mark.model


@pytest.fixture
def ours() -> Iterator[Kernel]:
    found = kernel()
    assert found, found.why_not
    found.take(True, True)
    try:
        Product(1, 16, 32, 1).computed(found)
    except NotTaken:
        pytest.skip("products are llama.cpp's on processors without AVX-512 VNNI")
    yield found
    found.take(True, True)


PRODUCTS = {
    "one": Product(1, 16, 32, 1),
    "dense": Product(1, 320, 160, 77),
    "odd blocks": Product(1, 48, 96, 9),
    "by head": Product(6, 96, 64, 13),
    "experts": Product(48, 96, 320, 50, experts=4),
    "one expert of one": Product(1, 32, 32, 3, experts=1),
    "many experts": Product(200, 48, 96, 37, experts=8),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_it_is_the_product(ours: Kernel, name: str) -> None:
    """Of numbers rounded to eight bits, as ggml rounds them, in f64."""
    product = PRODUCTS[name]
    assert np.abs(product.computed(ours) - product.expected()).max() < CLOSE * 10


@pytest.mark.parametrize("name", ["dense", "by head", "experts", "many experts"])
def test_a_token_gets_the_same_bits_in_any_company(ours: Kernel, name: str) -> None:
    product = PRODUCTS[name]
    whole = product.computed(ours, threads=1)
    assert np.array_equal(whole, product.computed(ours, threads=5))
    for first, last in ((0, 1), (2, 11), (5, 13)):
        part = product.computed(ours, tokens=slice(first, last))
        assert np.array_equal(part, whole[first:last] if "experts" in name else whole[:, first:last])


TRIALS = {trial.name: trial for trial in (*rowwise.trials(), *placed.trials())}


@pytest.mark.parametrize("name", TRIALS)
def test_it_is_the_operation_between_products(ours: Kernel, name: str) -> None:
    trial = TRIALS[name]
    assert trial.off(ours) < CLOSE
    assert np.array_equal(trial.computed(ours), trial.computed(ours, threads=1))


def test_what_is_not_to_be_taken_is_left_to_llama_cpp(ours: Kernel) -> None:
    """Products, and what lies between them: as where bits must not depend on how many tokens there are."""
    ours.take(False, True)
    with pytest.raises(NotTaken):
        PRODUCTS["dense"].computed(ours)
    for trial in TRIALS.values():
        with pytest.raises(NotTaken):
            trial.computed(ours)


def test_what_one_thread_takes_is_nothing_to_another(ours: Kernel) -> None:
    """Engines of a process do not decide for each other."""
    ours.take(False, False)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(PRODUCTS["dense"].computed, ours).result().any()


def test_numbers_that_are_none_are_put_in_some_order(ours: Kernel) -> None:
    """A token is never given an expert that there is not."""
    order = TRIALS["order by size"]
    scores = order.given[0].copy()
    scores[:, ::3] = np.nan
    found = replace(order, given=(scores,)).computed(ours)
    assert found.min() >= 0
    assert found.max() < scores.shape[1]


BEFORE = """
from swarmcode.engine.llama import rowwise
from swarmcode.engine.llama.attention import kernel
from swarmcode.engine.llama.operations import NotTaken
ours, trial = kernel(), next(rowwise.trials())
try:
    trial.computed(ours)
except NotTaken:
    print("left")
"""


def test_where_products_are_llama_cpps_so_is_what_lies_between() -> None:
    """As with weights of other sorts, of which the plugin multiplies none."""
    assert subprocess.run([sys.executable, "-c", BEFORE], capture_output=True, text=True).stdout == "left\n"
