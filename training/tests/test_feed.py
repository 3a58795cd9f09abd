"""Batches that were made elsewhere are the ones that would have been made here, in order."""

import itertools
import random

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (training/requirements.txt)")
pytest.importorskip("tokenizers", reason="tokenizers is not installed (training/requirements.txt)")

from repairmodel.batches import Batch, Tree, pack
from repairmodel.feed import FIELDS, decode, encode, feed

CPU = torch.device("cpu")


class Numbered:
    """Makes a small batch that says which one it is."""

    def __call__(self, index: int) -> Batch:
        tree = Tree(trunk=[4, 100 + index], branches=[([2, 3, 7, 1], 2), ([2, 3, 8, 9, 1], 2)], operators=["x", "y"])
        return pack([tree] * (1 + index % 3), random.Random(index), 0.5)


class Failing:
    """Can not make a batch."""

    def __call__(self, index: int) -> Batch:
        raise SystemExit(1)


def same(a: Batch, b: Batch) -> bool:
    return a.trees == b.trees and all(torch.equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def test_a_batch_survives_the_way_between_processes() -> None:
    """All that the model and the loss read comes back as it was."""
    batch = Numbered()(4)
    assert same(decode(encode(batch), CPU), batch)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_order_does_not_depend_on_the_number_of_workers(workers: int) -> None:
    """Rank 1 of 2 gets batches 5, 7, 9, ... whoever makes them."""
    source = feed(Numbered(), 5, 2, workers, CPU)
    taken = list(itertools.islice(source, 7))
    source.close()
    assert all(same(batch, Numbered()(5 + 2 * n)) for n, batch in enumerate(taken))


def test_a_worker_that_dies_ends_the_run() -> None:
    """Training does not wait for ever for a batch that nobody makes."""
    with pytest.raises(RuntimeError, match="has ended"):
        next(feed(Failing(), 0, 1, 1, CPU))
