"""Feed-forward blocks: SwiGLU, and routed experts with one shared expert (DeepSeek-V3, arXiv 2412.19437)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .shape import Shape


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Dispatch(torch.autograd.Function):
    """Rows of tokens, one for each of a token's experts, sorted by expert. x: [N, width]; order: [R], where a sorted
    row stood among the N x used choices; back: [R], its inverse. Returns [R, width].

    Written out because both directions are then gathers: autograd would add R rows into N, atomically on a GPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, back: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(order, back)
        ctx.used = order.shape[0] // x.shape[0]
        return x.index_select(0, order // ctx.used)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        _, back = ctx.saved_tensors
        return grad.index_select(0, back).unflatten(0, (-1, ctx.used)).sum(1), None, None


class Combine(torch.autograd.Function):
    """The way back: the sum of a token's rows. y: [R, width] sorted by expert. Returns [R / used, width]."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, order: Tensor, back: Tensor, used: int) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(order)
        ctx.used = used
        return y.index_select(0, back).unflatten(0, (-1, used)).sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (order,) = ctx.saved_tensors
        return grad.index_select(0, order // ctx.used), None, None, None


def grouped_cuda(x: Tensor, share: Tensor, gate: Tensor, up: Tensor, down: Tensor, ends: Tensor) -> Tensor:
    """`Grouped` for a GPU: PyTorch's grouped matrix product in bf16, without waiting for the counts. ends: int32, where
    each expert's rows end.
    """

    def product(rows: Tensor, weights: Tensor) -> Tensor:
        return F.grouped_mm(rows.bfloat16().contiguous(), weights.bfloat16().transpose(1, 2), offs=ends)

    return product(F.silu(product(x, gate)) * product(x, up) * share, down)


class Grouped(torch.autograd.Function):
    """Each expert on its rows, for a CPU. x: [R, width], sorted by expert; share: [R, 1] weight of a row; counts: rows
    of each expert.

    The gradient is written out: one allocation for all experts instead of several for each saves a fifth of a training
    step. (Left to autograd, use split and unbind, never slices: it would fill zeros of the whole tensor for every
    slice.)
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, share: Tensor, gate: Tensor, up: Tensor, down: Tensor, counts: list[int]
    ) -> Tensor:
        gated, upped = x.new_empty(x.shape[0], gate.shape[1]), x.new_empty(x.shape[0], gate.shape[1])
        for rows, g, u, gate_rows, up_rows in zip(
            x.split(counts), gate, up, gated.split(counts), upped.split(counts), strict=True
        ):
            torch.mm(rows, g.T, out=gate_rows)
            torch.mm(rows, u.T, out=up_rows)
        hidden = F.silu(gated).mul_(upped)
        out = torch.empty_like(x)
        for rows, d, out_rows in zip((hidden * share).split(counts), down, out.split(counts), strict=True):
            torch.mm(rows, d.T, out=out_rows)
        ctx.save_for_backward(x, share, gate, up, down, gated, upped, hidden)
        ctx.counts = counts
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, share, gate, up, down, gated, upped, hidden = ctx.saved_tensors
        counts, grad = ctx.counts, grad.contiguous()
        into, d_down = torch.empty_like(hidden), torch.empty_like(down)
        weighted = (hidden * share).split(counts)
        for rows, h, d, into_rows, d_d in zip(
            grad.split(counts), weighted, down, into.split(counts), d_down, strict=True
        ):
            torch.mm(rows, d, out=into_rows)
            torch.mm(rows.T, h, out=d_d)
        d_share = (into * hidden).sum(1, keepdim=True)
        into.mul_(share)
        sigmoid = torch.sigmoid(gated)
        silu = gated * sigmoid
        d_upped = into * silu
        d_gated = into.mul_(upped).mul_(sigmoid.add_(silu.mul_(1 - sigmoid)))
        d_x, d_gate, d_up = torch.empty_like(x), torch.empty_like(gate), torch.empty_like(up)
        parts = zip(
            x.split(counts),
            d_gated.split(counts),
            d_upped.split(counts),
            d_x.split(counts),
            gate,
            up,
            d_gate,
            d_up,
            strict=True,
        )
        for rows, dg, du, dx, g, u, g_out, u_out in parts:
            torch.mm(dg, g, out=dx)
            dx.addmm_(du, u)
            torch.mm(dg.T, rows, out=g_out)
            torch.mm(du.T, rows, out=u_out)
        return d_x, d_share, d_gate, d_up, d_down, None


class Experts(nn.Module):
    """Routed experts plus one shared expert. `bias` steers selection only, never the weights."""

    bias: Tensor
    load: Tensor
    numbers: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        s = self.shape = shape
        self.router = nn.Linear(s.width, s.experts, bias=False)
        self.gate = nn.Parameter(torch.empty(s.experts, s.expert, s.width))
        self.up = nn.Parameter(torch.empty(s.experts, s.expert, s.width))
        self.down = nn.Parameter(torch.empty(s.experts, s.width, s.expert))
        self.shared = Mlp(s.width, s.expert)
        self.register_buffer("bias", torch.zeros(s.experts))
        self.register_buffer("load", torch.zeros(s.experts), persistent=False)
        self.register_buffer("numbers", torch.arange(s.experts, dtype=torch.int16), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        s = self.shape
        with torch.autocast(x.device.type, enabled=False):
            scores = torch.sigmoid(F.linear(x.float(), self.router.weight))
            chosen = torch.topk(scores.detach() + self.bias, s.used, dim=-1).indices
            weights = scores.gather(1, chosen)
            weights = weights / weights.sum(-1, keepdim=True) * s.scale
        experts, order = chosen.flatten().to(torch.int16).sort(stable=True)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))
        ends = torch.searchsorted(experts, self.numbers, right=True, out_int32=True)  # bincount would wait for a GPU
        counts = ends.diff(prepend=ends.new_zeros(1))
        if self.training:
            self.load += counts
        inputs = Dispatch.apply(x, order, back)
        shares = weights.flatten().index_select(0, order).unsqueeze(1).to(x.dtype)
        if x.device.type == "cpu":
            outputs = Grouped.apply(inputs, shares, self.gate, self.up, self.down, counts.tolist())
        else:
            outputs = grouped_cuda(inputs, shares, self.gate, self.up, self.down, ends)
        return self.shared(x) + Combine.apply(outputs, order, back, s.used)

    @torch.no_grad()
    def steer(self, rate: float) -> Tensor:
        """Move the selection bias against the load since the last call; returns the highest load over the mean.

        In proportion to the error of the load, up to `rate`. (DeepSeek-V3 moves by the sign. Small enough to be still
        in the end, that is too slow for a few thousand steps; fast enough, it swings around the balance.)
        """
        mean = self.load.mean().clamp(min=1)
        worst = self.load.max() / mean
        self.bias += rate * (1 - self.load / mean).clamp(min=-1)
        self.load.zero_()
        return worst
