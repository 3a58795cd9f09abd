"""Products with weights of eight bits, and what lies between them: what they are, and on what they do not depend."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from swarmcode.engine.llama import rowwise
from swarmcode.engine.llama.attention import NEVER, PRODUCTS_FROM, Kernel, kernel
from swarmcode.engine.llama.operations import NotTaken
from swarmcode.engine.llama.proof import CLOSE, Product

pytestmark = pytest.mark.model


@pytest.fixture
def ours() -> Iterator[Kernel]:
    """The plugin, which computes products of single tokens, too."""
    found = kernel()
    assert found, found.why_not
    found.multiply_from(1)
    try:
        Product(1, 16, 32, 1).computed(found)
    except NotTaken:
        pytest.skip("products are llama.cpp's on processors without AVX-512 VNNI")
    yield found
    found.multiply_from(PRODUCTS_FROM)


PRODUCTS = {
    "one": Product(1, 16, 32, 1),
    "dense": Product(1, 320, 160, 77),
    "odd blocks": Product(1, 48, 96, 9),
    "by head": Product(6, 96, 64, 13),
    "experts": Product(48, 96, 320, 50, experts=4),
    "one expert of one": Product(1, 32, 32, 3, experts=1),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_it_is_the_product(ours: Kernel, name: str) -> None:
    """Of numbers rounded to eight bits, as ggml rounds them, in f64."""
    product = PRODUCTS[name]
    assert np.abs(product.computed(ours) - product.expected()).max() < CLOSE * 10


@pytest.mark.parametrize("name", ["dense", "by head", "experts"])
def test_a_token_gets_the_same_bits_in_any_company(ours: Kernel, name: str) -> None:
    product = PRODUCTS[name]
    whole = product.computed(ours, threads=1)
    assert np.array_equal(whole, product.computed(ours, threads=5))
    for first, last in ((0, 1), (2, 11), (5, 13)):
        part = product.computed(ours, tokens=slice(first, last))
        assert np.array_equal(part, whole[first:last] if name == "experts" else whole[:, first:last])


def test_few_tokens_are_left_to_llama_cpp(ours: Kernel) -> None:
    """As many as are told; none are taken where bits must not depend on their number."""
    ours.multiply_from(9)
    with pytest.raises(NotTaken):
        Product(1, 16, 32, 8).computed(ours)
    Product(1, 16, 32, 9).computed(ours)
    ours.multiply_from(NEVER)
    with pytest.raises(NotTaken):
        Product(1, 16, 32, 5000).computed(ours)


TRIALS = {trial.name: trial for trial in rowwise.trials()}


@pytest.mark.parametrize("name", TRIALS)
def test_it_is_the_operation_between_products(ours: Kernel, name: str) -> None:
    trial = TRIALS[name]
    found = trial.computed(ours)
    assert np.abs(found - trial.expected).max() < CLOSE
    assert np.array_equal(found, trial.computed(ours, threads=1))


def test_of_few_tokens_it_is_left_to_llama_cpp(ours: Kernel) -> None:
    """Graphs go back and forth for products alone, or not at all."""
    ours.multiply_from(41)
    for trial in TRIALS.values():
        with pytest.raises(NotTaken):
            trial.computed(ours)


BEFORE = """
from swarmcode.engine.llama import rowwise
from swarmcode.engine.llama.attention import kernel
from swarmcode.engine.llama.operations import NotTaken
ours, trial = kernel(), next(rowwise.trials())
ours.multiply_from(1)
try:
    trial.computed(ours)
except NotTaken:
    print("left")
"""


def test_where_products_are_llama_cpps_so_is_what_lies_between() -> None:
    """As with weights of other sorts, of which the plugin multiplies none."""
    assert subprocess.run([sys.executable, "-c", BEFORE], capture_output=True, text=True).stdout == "left\n"
