"""The repair model: llama.cpp's `deepseek2` graph (that of Kimi K2.5) at a very small size, in PyTorch.

Multi-head latent attention (MLA), one dense layer, then routed experts with sigmoid gating and a selection bias, and
one shared expert (DeepSeek-V3, arXiv 2412.19437). Parameter names and shapes are chosen so that `export.py` writes them
without arithmetic; what must agree with llama.cpp is the order of operations, and `export.py` compares the logits to
prove it.

Tokens arrive packed: one flat list of N tokens, no padding anywhere but inside attention (see `batches.Batch`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention, Norm
from .batches import Batch
from .experts import Experts, Mlp
from .shape import Shape


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
