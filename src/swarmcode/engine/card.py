"""What a model is, for a person who chooses one: read from the headers of its files, without its weights."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from swarmcode.engine import gguf
from swarmcode.engine.gguf import Header, Tensor

_EXPERT = re.compile(r"blk\.\d+\.ffn_\w+_exps\.")
"""Routed experts; shared ones (`_shexp`) are computed for every token."""
_BLOCK = re.compile(r"blk\.(\d+)\.")
_RECURRENT = ("ssm.", "wkv.", "kda.", "shortconv.")
"""Parts of keys that recurrent and hybrid architectures alone have: state spaces, RWKV, delta attention, LFM2."""
_FILE_TYPES = {
    **{0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S"},
    **{12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS"},
    **{20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M"},
    **{28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE"},
    **{39: "NVFP4"},
}
"""llama.cpp's `llama_ftype`: what a quantizer was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A model's anatomy. All sizes in bytes."""

    architecture: str
    parameters: int
    """Numbers in all its tensors."""
    active: int
    """Of them, those that are computed for one token: of the experts, the share that is used."""
    experts: int
    """Routed experts of a layer; 0: it is dense."""
    experts_used: int
    """Of them, how many a token is sent to."""
    layers: int
    trained_context: int
    """Tokens; 0: its file does not say."""
    file_type: str
    """What its quantizer was asked for, `Q4_K_M` say; empty: its file does not say."""
    quantization: dict[str, int]
    """Tensor type -> bytes, the largest share first."""
    template: bool
    """Whether it has a chat template."""
    recurrent: bool
    """Whether it keeps a state in place of, or beside, a KV cache."""
    files: int
    size: int
    """Of all files."""
    weights: int
    """Of all tensors."""
    expert_weights: int
    """Of the routed experts."""
    layer_weights: tuple[int, ...]
    """Of each layer's tensors, experts included, first layer first. What belongs to no layer is not in it."""

    @property
    def quantized(self) -> str:
        """The one word for how it is stored: what was asked for, else the type with the largest share."""
        return self.file_type or next(iter(self.quantization), "?")


def read(path: Path) -> Card:
    """The card of the model whose first file is `path`. Raises `ModelError`."""
    return card(gguf.read_all(path))


def card(headers: list[Header]) -> Card:
    """The card of a model from the headers of its files, the first first."""
    first = headers[0]
    prefix = first.text("general.architecture")
    tensors = [tensor for header in headers for tensor in header.tensors]
    experts = [tensor for tensor in tensors if _EXPERT.match(tensor.name)]
    count, used = (max(0, int(first.number(f"{prefix}.{key}"))) for key in ("expert_count", "expert_used_count"))
    parameters, routed = (sum(tensor.parameters for tensor in some) for some in (tensors, experts))
    return Card(
        architecture=prefix,
        parameters=parameters,
        active=parameters - routed + (routed * min(used, count) // count if count else routed),
        experts=count,
        experts_used=used,
        layers=max(0, int(first.number(f"{prefix}.block_count"))),
        trained_context=max(0, int(first.number(f"{prefix}.context_length"))),
        file_type=_FILE_TYPES.get(int(first.number("general.file_type", -1)), ""),
        quantization=dict(_shares(tensors)),
        template=bool(first.text("tokenizer.chat_template")),
        recurrent=any(key.removeprefix(f"{prefix}.").startswith(_RECURRENT) for key in first.metadata),
        files=len(headers),
        size=sum(header.size for header in headers),
        weights=sum(tensor.bytes for tensor in tensors),
        expert_weights=sum(tensor.bytes for tensor in experts),
        layer_weights=tuple(_layers(tensors)),
    )


def _shares(tensors: Iterable[Tensor]) -> list[tuple[str, int]]:
    shares: Counter[str] = Counter()
    for tensor in tensors:
        shares[tensor.kind] += tensor.bytes
    return shares.most_common()


def _layers(tensors: Iterable[Tensor]) -> Iterator[int]:
    layers: Counter[int] = Counter()
    for tensor in tensors:
        if block := _BLOCK.match(tensor.name):
            layers[int(block[1])] += tensor.bytes
    for number in sorted(layers):
        yield layers[number]
