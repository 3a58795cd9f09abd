"""Writes a GGUF of random weights with the graph of Kimi K2.5, for measurements that need a larger model than ours.

    python bench/random_model.py OUT.gguf [--experts 384] [--layers 7] [--seed 0] [--type q8_0|q4_0]

llama.cpp's `deepseek2`: latent attention (MLA), a dense first layer, then layers of routed experts with sigmoid gating
and a selection bias, 8 of 384 used as in Kimi K2.5, and a shared one. By default 349M parameters, of which some 14M
work on a token. What it says means nothing; how fast it says it is what a model of these sizes takes. The tokenizer is
the embedded model's. Equal arguments give an equal file. Needs `gguf` (`pip install -e .[bench]`).
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import gguf
import numpy as np
from numpy.typing import NDArray

from swarmcode.engine import models

Array = NDArray[np.float32]

TYPES = {
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
_BLOCK = 32
"""Numbers that are quantized together: rows must have a multiple of them."""
_CHOICES = ("width", "layers", "heads", "dense", "experts", "used", "expert")
"""Sizes that a person may choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of the graph."""

    vocabulary: int
    width: int = 384
    layers: int = 7
    """One dense, the others with experts."""
    heads: int = 4
    q_rank: int = 192
    kv_rank: int = 128
    nope: int = 64
    rope: int = 32
    value: int = 64
    dense: int = 1024
    experts: int = 384
    used: int = 8
    expert: int = 128


def tensors(s: Sizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """GGUF name and shape of every tensor, rows last."""
    yield "token_embd.weight", (s.vocabulary, s.width)
    yield "output_norm.weight", (s.width,)
    for number in range(s.layers):
        block = f"blk.{number}."
        yield block + "attn_norm.weight", (s.width,)
        yield block + "attn_q_a.weight", (s.q_rank, s.width)
        yield block + "attn_q_a_norm.weight", (s.q_rank,)
        yield block + "attn_q_b.weight", (s.heads * (s.nope + s.rope), s.q_rank)
        yield block + "attn_kv_a_mqa.weight", (s.kv_rank + s.rope, s.width)
        yield block + "attn_kv_a_norm.weight", (s.kv_rank,)
        yield block + "attn_k_b.weight", (s.heads, s.kv_rank, s.nope)
        yield block + "attn_v_b.weight", (s.heads, s.value, s.kv_rank)
        yield block + "attn_output.weight", (s.width, s.heads * s.value)
        yield block + "ffn_norm.weight", (s.width,)
        yield from _dense(block, s) if not number else _sparse(block, s)


def _dense(block: str, s: Sizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield block + "ffn_gate.weight", (s.dense, s.width)
    yield block + "ffn_up.weight", (s.dense, s.width)
    yield block + "ffn_down.weight", (s.width, s.dense)


def _sparse(block: str, s: Sizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield block + "ffn_gate_inp.weight", (s.experts, s.width)
    yield block + "exp_probs_b.bias", (s.experts,)
    for name, shape in {"gate": (s.expert, s.width), "up": (s.expert, s.width), "down": (s.width, s.expert)}.items():
        yield f"{block}ffn_{name}_exps.weight", (s.experts, *shape)
        yield f"{block}ffn_{name}_shexp.weight", shape


def weights(name: str, shape: tuple[int, ...], seed: int) -> Array:
    """Normal numbers that keep the size of what passes through them; gains of one; small selection biases."""
    random = np.random.default_rng((seed, crc32(name.encode())))
    if name.endswith("norm.weight"):
        return np.ones(shape, np.float32)
    spread = 0.01 if name.endswith(".bias") else shape[-1] ** -0.5
    drawn: Array = random.standard_normal(shape, np.float32)
    drawn *= np.float32(spread)
    return drawn


def write(path: Path, sizes: Sizes, source: gguf.GGUFReader, kind: str, seed: int) -> int:
    """The file; how many parameters it has. Matrices are quantized; norms, routers and selection biases are not."""
    quantized, file_type = TYPES[kind]
    writer = gguf.GGUFWriter(str(path), "deepseek2")
    writer.add_name(f"random-{seed}")
    _keys(writer, sizes)
    writer.add_file_type(file_type)
    _tokenizer(writer, source)
    count = 0
    for name, shape in tensors(sizes):
        array = weights(name, shape, seed)
        count += array.size
        if array.ndim > 1 and "ffn_gate_inp" not in name:
            writer.add_tensor(name, gguf.quantize(array, quantized), raw_dtype=quantized)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return count


def _keys(writer: gguf.GGUFWriter, s: Sizes) -> None:
    writer.add_context_length(32_768)
    writer.add_embedding_length(s.width)
    writer.add_block_count(s.layers)
    writer.add_feed_forward_length(s.dense)
    writer.add_head_count(s.heads)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_leading_dense_block_count(1)
    writer.add_vocab_size(s.vocabulary)
    writer.add_q_lora_rank(s.q_rank)
    writer.add_kv_lora_rank(s.kv_rank)
    writer.add_key_length(s.kv_rank + s.rope)
    writer.add_value_length(s.kv_rank)
    writer.add_key_length_mla(s.nope + s.rope)
    writer.add_value_length_mla(s.value)
    writer.add_expert_feed_forward_length(s.expert)
    writer.add_expert_count(s.experts)
    writer.add_expert_used_count(s.used)
    writer.add_expert_shared_count(1)
    writer.add_expert_weights_scale(2.5)
    writer.add_expert_weights_norm(True)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_rope_dimension_count(s.rope)


def _tokenizer(writer: gguf.GGUFWriter, source: gguf.GGUFReader) -> None:
    """Everything that the source says of tokens, and of the form in which it is asked."""
    for field in source.fields.values():
        if field.name.startswith(("tokenizer.", "swarmcode.")):
            kind = field.types[0]
            sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, sub)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT.gguf")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--type", choices=tuple(TYPES), default="q8_0")
    for name in _CHOICES:
        parser.add_argument(f"--{name}", type=int, default=getattr(Sizes(vocabulary=0), name))
    options = parser.parse_args()
    for name in ("width", "dense", "expert"):
        if getattr(options, name) % _BLOCK or getattr(options, name) < _BLOCK:
            parser.error(f"--{name} must be a multiple of {_BLOCK}: numbers are quantized {_BLOCK} at a time")
    if options.layers < 2 or options.heads < 1 or not 0 < options.used <= options.experts:
        parser.error("there must be at least 2 layers, a head, and as many experts as are used")
    return options


def main() -> int:
    options = arguments()
    source = gguf.GGUFReader(models.resolve(models.EMBEDDED).path)
    chosen = {name: getattr(options, name) for name in _CHOICES}
    sizes = Sizes(vocabulary=len(source.fields["tokenizer.ggml.tokens"].data), **chosen)
    try:
        count = write(options.out, sizes, source, options.type, options.seed)
    except OSError as error:
        print(f"random_model: {options.out} cannot be written: {error.strerror}", file=sys.stderr)
        return 3
    print(f"{options.out}: {count / 1e6:.0f}M parameters, {options.out.stat().st_size / 2**20:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
