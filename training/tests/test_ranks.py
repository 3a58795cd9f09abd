"""Processes that train together hold the same weights as one that sees all their batches."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (training/requirements.txt)")

import torch.distributed as dist
from torch import nn

from repairmodel.optim import Muon
from repairmodel.ranks import ALONE, Ranks

SHAPES = ((3, 8, 16), (16, 8), (8, 8))


def stepped(ranks: Ranks, gradients: list[torch.Tensor]) -> list[torch.Tensor]:
    """Parameters after two steps of Muon."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    optimizer = Muon(parameters, lr=0.1, ranks=ranks)
    for _ in range(2):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        ranks.average([p.grad for p in parameters if p.grad is not None])
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def gradients(rank: int) -> list[torch.Tensor]:
    """What a rank's own batch says."""
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def member(rank: int, meeting: str, out: str) -> None:
    """One of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    ranks = Ranks(rank, 2)
    torch.save(stepped(ranks, gradients(rank)), f"{out}/{rank}.pt")
    ranks.leave()


def test_two_ranks_step_as_one_on_the_mean_gradient(tmp_path: Path) -> None:
    """Bit for bit equal to each other, and to one process up to rounding, though each did half of Muon's work."""
    arguments = (str(tmp_path / "meeting"), str(tmp_path))
    torch.multiprocessing.start_processes(member, args=arguments, nprocs=2, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    mean = [(a + b) / 2 for a, b in zip(gradients(0), gradients(1), strict=True)]
    assert all(torch.allclose(a, b, atol=1e-2) for a, b in zip(first, stepped(ALONE, mean), strict=True))


def test_one_rank_alone_changes_nothing() -> None:
    """Without torchrun nothing is exchanged."""
    value = torch.ones(3)
    ALONE.average([value])
    assert value.tolist() == [1, 1, 1]
    assert ALONE.first
