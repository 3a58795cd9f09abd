"""The sizes of a model: what export writes, checkpoints keep, and every module is built from."""

from dataclasses import asdict, dataclass


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
