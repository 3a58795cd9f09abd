"""The model's tensors under their two sets of names, PyTorch's and GGUF's, and a file's way back into PyTorch.

Nothing is computed on the way: a tensor is renamed, and two of attention's are viewed by head (`attn_k_b`, `attn_v_b`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import gguf
import torch
from torch import Tensor

from .prompt import VERSION
from .shape import Shape

PLAIN = {
    "attn_norm": "attention_norm",
    "ffn_norm": "mlp_norm",
    "attn_q_a": "attention.q_a",
    "attn_q_a_norm": "attention.q_a_norm",
    "attn_q_b": "attention.q_b",
    "attn_kv_a_mqa": "attention.kv_a",
    "attn_kv_a_norm": "attention.kv_a_norm",
    "attn_output": "attention.output",
}
DENSE = {"ffn_gate": "mlp.gate", "ffn_up": "mlp.up", "ffn_down": "mlp.down"}
SPARSE = {
    "ffn_gate_inp": "mlp.router",
    "ffn_gate_shexp": "mlp.shared.gate",
    "ffn_up_shexp": "mlp.shared.up",
    "ffn_down_shexp": "mlp.shared.down",
}
STACKED = ("gate", "up", "down")
SIZES = {
    "width": "embedding_length",
    "layers": "block_count",
    "heads": "attention.head_count",
    "q_rank": "attention.q_lora_rank",
    "kv_rank": "attention.kv_lora_rank",
    "rope": "rope.dimension_count",
    "value": "attention.value_length_mla",
    "dense": "feed_forward_length",
    "experts": "expert_count",
    "used": "expert_used_count",
    "expert": "expert_feed_forward_length",
    "scale": "expert_weights_scale",
    "theta": "rope.freq_base",
}
"""Fields of `Shape` and their keys in the file, behind `deepseek2.`."""


def tensors(state: dict[str, Tensor], shape: Shape) -> Iterator[tuple[str, Tensor]]:
    """GGUF name (without `.weight`) and value of every tensor of a state dict."""
    yield "token_embd", state["embedding.weight"]
    yield "output_norm", state["norm.weight"]
    for number in range(shape.layers):
        ours, theirs = f"layers.{number}.", f"blk.{number}."
        for name, own in {**PLAIN, **(SPARSE if number else DENSE)}.items():
            yield theirs + name, state[f"{ours}{own}.weight"]
        keys = state[f"{ours}attention.k_b.weight"].view(shape.heads, shape.nope, shape.kv_rank)
        yield theirs + "attn_k_b", keys.transpose(1, 2)
        yield theirs + "attn_v_b", state[f"{ours}attention.v_b.weight"].view(shape.heads, shape.value, shape.kv_rank)
        if number:
            for name in STACKED:
                yield f"{theirs}ffn_{name}_exps", state[f"{ours}mlp.{name}"]
            yield theirs + "exp_probs_b.bias", state[f"{ours}mlp.bias"]


def state_dict(named: dict[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """The inverse of `tensors`. Raises KeyError for a tensor that is not there."""
    state = {"embedding.weight": named["token_embd"], "norm.weight": named["output_norm"]}
    for number in range(shape.layers):
        ours, theirs = f"layers.{number}.", f"blk.{number}."
        for name, own in {**PLAIN, **(SPARSE if number else DENSE)}.items():
            state[f"{ours}{own}.weight"] = named[theirs + name]
        state[f"{ours}attention.k_b.weight"] = named[theirs + "attn_k_b"].transpose(1, 2).flatten(0, 1)
        state[f"{ours}attention.v_b.weight"] = named[theirs + "attn_v_b"].flatten(0, 1)
        if number:
            for name in STACKED:
                state[f"{ours}mlp.{name}"] = named[f"{theirs}ffn_{name}_exps"]
            state[f"{ours}mlp.bias"] = named[theirs + "exp_probs_b.bias"]
    return {name: value.contiguous() for name, value in state.items()}


def read(path: Path) -> tuple[Shape, dict[str, Tensor]]:
    """Sizes and weights of a file that `export` wrote, in f32; quantized ones as llama.cpp would see them.

    Raises ValueError for a file of another architecture or another version of the protocol.
    """
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("tokenizer.")}
    if fields.get("general.architecture") != "deepseek2" or fields.get("swarmcode.span.version") != VERSION:
        raise ValueError(
            f"{path}: not a repair model of protocol version {VERSION}, which alone can be trained further"
        )
    sizes = {ours: fields[f"deepseek2.{theirs}"] for ours, theirs in SIZES.items()}
    nope = fields["deepseek2.attention.key_length_mla"] - sizes["rope"]
    shape = Shape(vocabulary=fields["deepseek2.vocab_size"], nope=nope, **sizes)
    named = {
        tensor.name.removesuffix(".weight"): torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
        for tensor in reader.tensors
    }
    return shape, state_dict(named, shape)


def average(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of checkpoints of one run (Izmailov et al., 2018, arXiv 1803.05407)."""
    return {name: torch.stack([state[name].float() for state in states]).mean(0) for name in states[0]}
