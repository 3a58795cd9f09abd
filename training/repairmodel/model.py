"""The repair model: llama.cpp's `deepseek2` graph (that of Kimi K2.5) at a very small size, in PyTorch.

Multi-head latent attention (MLA), one dense layer, then routed experts with sigmoid gating and a selection bias, and
one shared expert (DeepSeek-V3, arXiv 2412.19437). Parameter names and shapes are chosen so that `export.py` writes them
without arithmetic; what must agree with llama.cpp is the order of operations, and `export.py` compares the logits to
prove it.

Tokens arrive packed: one flat list of N tokens, no padding anywhere but inside attention (see `batches.Batch`).
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .batches import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a model. Row lengths of quantized matrices must be multiples of 32 (Q8_0).

    llama.cpp's `deepseek2` takes the shared expert to be as wide as a routed one.
    """

    vocabulary: int = 4096
    width: int = 192
    layers: int = 5
    heads: int = 4
    q_rank: int = 96
    kv_rank: int = 64
    nope: int = 32
    rope: int = 16
    value: int = 48
    dense: int = 512
    experts: int = 32
    used: int = 4
    expert: int = 64
    scale: float = 2.5
    theta: float = 10_000.0
    epsilon: float = 1e-6

    @property
    def head(self) -> int:
        """Query and key dimensions of one head."""
        return self.nope + self.rope

    def active_parameters(self) -> int:
        """Parameters that work on one token, without the embedding and output matrix."""
        attention = self.width * (self.q_rank + self.kv_rank + self.rope) + self.q_rank * self.heads * self.head
        attention += self.kv_rank * self.heads * (self.nope + self.value) + self.heads * self.value * self.width
        sparse = 3 * self.width * (self.used + 1) * self.expert + self.width * self.experts
        return self.layers * attention + (self.layers - 1) * sparse + 3 * self.width * self.dense

    def as_dict(self) -> dict[str, int | float]:
        """For checkpoints."""
        return asdict(self)


class Norm(nn.Module):
    """RMS normalisation with a gain."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.epsilon)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of interleaved pairs. x: [N, heads, rope]; cos, sin: [N, 1, rope / 2]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Attention(nn.Module):
    """Multi-head latent attention over packed trees of tokens."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        s = self.shape = shape
        self.q_a = nn.Linear(s.width, s.q_rank, bias=False)
        self.q_a_norm = Norm(s.q_rank, s.epsilon)
        self.q_b = nn.Linear(s.q_rank, s.heads * s.head, bias=False)
        self.kv_a = nn.Linear(s.width, s.kv_rank + s.rope, bias=False)
        self.kv_a_norm = Norm(s.kv_rank, s.epsilon)
        self.k_b = nn.Linear(s.kv_rank, s.heads * s.nope, bias=False)
        self.v_b = nn.Linear(s.kv_rank, s.heads * s.value, bias=False)
        self.output = nn.Linear(s.heads * s.value, s.width, bias=False)

    def forward(self, x: Tensor, batch: Batch, cos: Tensor, sin: Tensor) -> Tensor:
        s, n = self.shape, x.shape[0]
        q = self.q_b(self.q_a_norm(self.q_a(x))).view(n, s.heads, s.head)
        q = torch.cat((q[..., : s.nope], rotate(q[..., s.nope :], cos, sin)), dim=-1)
        latent, k_rope = self.kv_a(x).split((s.kv_rank, s.rope), dim=-1)
        latent = self.kv_a_norm(latent)
        k_rope = rotate(k_rope.unsqueeze(1), cos, sin).expand(n, s.heads, s.rope)
        k = torch.cat((self.k_b(latent).view(n, s.heads, s.nope), k_rope.to(latent.dtype)), dim=-1)
        v = self.v_b(latent).view(n, s.heads, s.value)
        attend = attend_by_tree if x.device.type == "cpu" else attend_padded
        return self.output(attend(q.to(v.dtype), k, v, batch).reshape(n, s.heads * s.value))


def attend_by_tree(q: Tensor, k: Tensor, v: Tensor, batch: Batch) -> Tensor:
    """[N, heads, d] three times -> [N, heads, value], one trunk and its branches at a time, without padding tokens.

    Few large calls beat one padded call on a CPU: a branch looks at the trunk and itself only, so the work is
    trunk^2 / 2 + branches x length x (trunk + length) instead of the square of the whole tree.
    """
    sizes = [size for trunk, count, length in batch.trees for size in (trunk, count * length)]
    queries, keys, values = (t.transpose(0, 1).split(sizes, dim=1) for t in (q, k, v))
    out = []
    for number, (trunk, count, length) in enumerate(batch.trees):
        (qt, qb), (kt, kb), (vt, vb) = (t[2 * number : 2 * number + 2] for t in (queries, keys, values))
        out.append(F.scaled_dot_product_attention(qt[None], kt[None], vt[None], is_causal=True)[0])
        own = [t.unflatten(1, (count, length)).transpose(0, 1) for t in (qb, kb, vb)]
        head = [t[None].expand(count, -1, -1, -1) for t in (kt, vt)]
        mask = q.new_ones(length, trunk + length, dtype=torch.bool).tril(diagonal=trunk)
        part = F.scaled_dot_product_attention(
            own[0], torch.cat((head[0], own[1]), dim=2), torch.cat((head[1], own[2]), dim=2), attn_mask=mask
        )
        out.append(part.transpose(0, 1).flatten(1, 2))
    return torch.cat(out, dim=1).transpose(0, 1)


def attend_padded(q: Tensor, k: Tensor, v: Tensor, batch: Batch) -> Tensor:
    """The same in one call over padded trees with an explicit mask: what a GPU wants."""
    rows, mask, flat = batch.padded()
    grid = [t[rows].transpose(1, 2) for t in (q, k, v)]
    return F.scaled_dot_product_attention(*grid, attn_mask=mask).transpose(1, 2).flatten(0, 1)[flat]


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


def grouped_cuda(x: Tensor, share: Tensor, gate: Tensor, up: Tensor, down: Tensor, counts: Tensor) -> Tensor:
    """`Grouped` for a GPU: PyTorch's grouped matrix product in bf16, without waiting for the counts."""
    ends = counts.cumsum(0).to(torch.int32)

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
    """Routed experts plus one shared expert. `bias` steers selection only, by the sign of the load error, never the
    weights.
    """

    bias: Tensor
    load: Tensor

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

    def forward(self, x: Tensor) -> Tensor:
        s = self.shape
        with torch.autocast(x.device.type, enabled=False):
            scores = torch.sigmoid(F.linear(x.float(), self.router.weight))
            chosen = torch.topk(scores.detach() + self.bias, s.used, dim=-1).indices
            weights = scores.gather(1, chosen)
            weights = weights / weights.sum(-1, keepdim=True) * s.scale
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=s.experts)
        if self.training:
            self.load += counts
        rows = order // s.used
        inputs = x.index_select(0, rows)
        shares = weights.flatten().index_select(0, order).unsqueeze(1).to(x.dtype)
        if x.device.type == "cpu":
            outputs = Grouped.apply(inputs, shares, self.gate, self.up, self.down, counts.tolist())
        else:
            outputs = grouped_cuda(inputs, shares, self.gate, self.up, self.down, counts)
        return self.shared(x).index_add(0, rows, outputs.to(x.dtype))

    @torch.no_grad()
    def steer(self, rate: float) -> float:
        """Move the selection bias against the load since the last call; returns the highest load over the mean."""
        worst = float(self.load.max() / self.load.mean().clamp(min=1))
        self.bias += rate * torch.sign(self.load.mean() - self.load)
        self.load.zero_()
        return worst


class Layer(nn.Module):
    """Attention, then a dense MLP (first layer) or experts, each behind a norm and a residual."""

    def __init__(self, shape: Shape, index: int) -> None:
        super().__init__()
        self.attention_norm = Norm(shape.width, shape.epsilon)
        self.attention = Attention(shape)
        self.mlp_norm = Norm(shape.width, shape.epsilon)
        self.mlp: Mlp | Experts = Mlp(shape.width, shape.dense) if index == 0 else Experts(shape)

    def forward(self, x: Tensor, batch: Batch, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), batch, cos, sin)
        return x + self.mlp(self.mlp_norm(x))


class RepairModel(nn.Module):
    """Packed tokens -> hidden states; `logits` for the positions that are asked for."""

    frequencies: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Layer(shape, i) for i in range(shape.layers))
        self.norm = Norm(shape.width, shape.epsilon)
        self.register_buffer(
            "frequencies", shape.theta ** (-torch.arange(0, shape.rope, 2) / shape.rope), persistent=False
        )
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Initialise: what writes into the residual stream starts at zero."""
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                continue
            if name.endswith(("output.weight", "down.weight", "mlp.down")):
                parameter.zero_()
            else:
                parameter.normal_(std=0.02 if "embedding" in name else parameter.shape[-1] ** -0.5)

    def forward(self, batch: Batch) -> Tensor:
        """Hidden states [N, width], normalised."""
        angles = batch.positions.float().unsqueeze(1) * self.frequencies
        cos, sin = angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)
        x = self.embedding(batch.tokens)
        for layer in self.layers:
            x = layer(x, batch, cos, sin)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """[M, width] -> [M, vocabulary]; the output matrix is the embedding."""
        return F.linear(hidden, self.embedding.weight.to(hidden.dtype))

    def experts(self) -> list[Experts]:
        """The sparse layers."""
        return [layer.mlp for layer in self.layers if isinstance(layer.mlp, Experts)]
