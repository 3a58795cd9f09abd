"""Muon for matrices, Adam for the rest.

Muon (Keller Jordan, 2024): momentum whose update is made orthogonal by a few Newton-Schulz steps. Stacks of experts are
a batch of matrices; matrices of one shape are orthogonalised together.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .ranks import ALONE, Ranks

STEPS = 5


def coarse(device: torch.device) -> torch.dtype:
    """bf16 where the hardware multiplies it faster than f32: the iteration bears it (Keller Jordan runs it so)."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def orthogonal(g: Tensor) -> Tensor:
    """Approximately the nearest semi-orthogonal matrix of each matrix in [matrices, rows, columns]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[-2] > g.shape[-1]
    x = (g.mT if tall else g).to(coarse(g.device))
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(g.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; the step's size does not depend on the gradient's."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 0.02,
        momentum: float = 0.95,
        decay: float = 0.0,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})
        self.ranks = ranks

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step for all parameters that have a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape[-2:]].append(parameter)
            for shape, parameters in shapes.items():
                self._step(shape, parameters, group)

    def _step(self, shape: torch.Size, parameters: list[nn.Parameter], group: dict[str, float]) -> None:
        grads = [parameter.grad for parameter in parameters]
        states = [self.state[parameter] for parameter in parameters]
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
        momenta = [state["momentum"] for state in states]
        torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
        updates = [u.reshape(-1, *shape) for u in torch._foreach_lerp(grads, momenta, group["momentum"])]
        stacked = self._orthogonal(torch.cat(updates)).split([u.shape[0] for u in updates])
        if group["decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["decay"])
        scale = max(1.0, shape[0] / shape[1]) ** 0.5 * group["lr"]
        steps = [part.view_as(parameter) for part, parameter in zip(stacked, parameters, strict=True)]
        torch._foreach_add_(parameters, steps, alpha=-scale)

    def _orthogonal(self, updates: Tensor) -> Tensor:
        """Each rank does its share of the matrices, and has zeros for the others', so that the sum is all of them."""
        if self.ranks.world == 1:
            return orthogonal(updates)
        result = torch.zeros_like(updates)
        mine = slice(self.ranks.rank, None, self.ranks.world)
        result[mine] = orthogonal(updates[mine])
        self.ranks.average([result])
        return result * self.ranks.world


def optimizers(
    model: nn.Module, *, muon: float, adam: float, embedding: float, decay: float, ranks: Ranks = ALONE
) -> list[torch.optim.Optimizer]:
    """Muon for matrices inside layers; Adam for router, norms and embedding. Learning rates are peaks."""
    matrices, vectors, tables = [], [], []
    for name, parameter in model.named_parameters():
        if "embedding" in name:
            tables.append(parameter)
        elif parameter.ndim < 2 or "router" in name:
            vectors.append(parameter)
        else:
            matrices.append(parameter)
    groups = [{"params": vectors, "lr": adam}, {"params": tables, "lr": embedding}]
    made: list[torch.optim.Optimizer] = [Muon(matrices, lr=muon, decay=decay, ranks=ranks)] if muon else []
    if not muon:
        groups.append({"params": matrices, "lr": adam})
    made.append(torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-10, weight_decay=0.0))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return made
