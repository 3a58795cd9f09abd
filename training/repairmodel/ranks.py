"""Processes that train one model together: `torchrun --nproc-per-node N -m repairmodel.train ...`, a GPU or core each.

Two processes of one thread each make more tokens a second on two cores than one process of two threads: they wait for
each other once a step instead of once an operation. Without torchrun there is one rank and nothing is exchanged.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among its equals."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: torch.device) -> "Ranks":
        """As torchrun's environment says; blocks until all are there."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def average(self, values: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all ranks, in one exchange; bit for bit the same on all of them."""
        if self.world > 1:
            flat = torch.cat([value.flatten() for value in values])
            dist.all_reduce(flat)
            flat /= self.world
            for value, mean in zip(values, flat.split([value.numel() for value in values]), strict=True):
                value.copy_(mean.view_as(value))

    def leave(self) -> None:
        """After the last exchange."""
        if self.world > 1:
            dist.destroy_process_group()


ALONE = Ranks()
"""What there is without torchrun."""
