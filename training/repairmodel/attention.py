"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434) over packed trees, in a CPU's way and in a GPU's."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .batches import Batch
from .shape import Shape


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
        q, q_rope = self.q_b(self.q_a_norm(self.q_a(x))).view(n, s.heads, s.head).split((s.nope, s.rope), dim=-1)
        latent, k_rope = self.kv_a(x).split((s.kv_rank, s.rope), dim=-1)
        latent = self.kv_a_norm(latent)
        rotated = rotate(torch.cat((q_rope, k_rope.unsqueeze(1)), dim=1), cos, sin).to(q.dtype)
        q_rope, k_rope = rotated.split((s.heads, 1), dim=1)
        q = torch.cat((q, q_rope), dim=-1)
        k = torch.cat((self.k_b(latent).view(n, s.heads, s.nope), k_rope.expand(n, s.heads, s.rope)), dim=-1)
        v = self.v_b(latent).view(n, s.heads, s.value)
        attend = attend_by_tree if x.device.type == "cpu" else attend_padded
        return self.output(attend(q, k, v, batch).reshape(n, s.heads * s.value))


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
        mask = branch_mask(trunk, length)
        part = F.scaled_dot_product_attention(
            own[0], torch.cat((head[0], own[1]), dim=2), torch.cat((head[1], own[2]), dim=2), attn_mask=mask
        )
        out.append(part.transpose(0, 1).flatten(1, 2))
    return torch.cat(out, dim=1).transpose(0, 1)


@lru_cache(maxsize=512)  # the same in every layer, and sizes recur
def branch_mask(trunk: int, length: int) -> Tensor:
    """[length, trunk + length]: a branch sees the whole trunk and what came before in itself."""
    return torch.ones(length, trunk + length, dtype=torch.bool).tril(diagonal=trunk)


def attend_padded(q: Tensor, k: Tensor, v: Tensor, batch: Batch) -> Tensor:
    """The same over padded trees with an explicit mask, one call for trees of about one length: what a GPU wants.

    The kernel is named: cuDNN's, which may be preferred, is planned anew for every shape, and no two batches share one.
    """
    padded, out = batch.padded(q.dtype), []
    both = torch.cat((q, k, v), dim=-1)  # padded and cut together: the host's calls are what a GPU waits for
    grid = both.new_zeros(padded.size, *both.shape[1:]).index_copy(0, padded.places, both)
    for mask, part in zip(padded.masks, grid.split([m.shape[0] * m.shape[2] for m in padded.masks]), strict=True):
        parts = part.unflatten(0, (mask.shape[0], mask.shape[2])).transpose(1, 2)
        with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
            seen = F.scaled_dot_product_attention(*parts.split((q.shape[-1], k.shape[-1], v.shape[-1]), -1), mask)
        out.append(seen.transpose(1, 2).flatten(0, 1))
    return torch.cat(out).index_select(0, padded.places)
