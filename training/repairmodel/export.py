"""Write a checkpoint as GGUF and prove that llama.cpp computes what PyTorch computes.

    python -m repairmodel.export --data DIR --checkpoint FILE ... --out FILE.gguf [--type q8_0|f32] [--name NAME]

Several checkpoints of one run are averaged.

After writing, logits of real prompts with their answers are compared token by token; the command fails where they
differ by more than the type explains. The profile is in the metadata: `swarmcode.span.version` and the sizes of the
window.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from torch import Tensor

from . import checkpoint, prompt
from .batches import Batches, Tree, pack
from .corpus import HERE, load
from .llama import Llama
from .model import RepairModel
from .shape import Shape
from .weights import average, tensors

DIVERGENCE = {"f32": 1e-6, "q8_0": 1e-2}
"""Largest mean Kullback-Leibler divergence from PyTorch's distribution that is accepted, in nats a token."""


def write(path: Path, state: dict[str, Tensor], shape: Shape, codec: prompt.Codec, kind: str, name: str) -> None:
    """The file. Matrices are quantized; norms, router and selection bias stay f32."""
    writer = gguf.GGUFWriter(str(path), "deepseek2")
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_description(
        "Span edits for one-line faults in Python functions; trained from scratch on permissively licensed code."
    )
    _sizes(writer, shape)
    _protocol(writer)
    _vocabulary(writer, codec)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if kind == "q8_0" else gguf.LlamaFileType.ALL_F32)
    for tensor, value in tensors(state, shape):
        array: NDArray[np.float32] = value.detach().float().contiguous().numpy()
        full = tensor if tensor.endswith(".bias") else f"{tensor}.weight"
        if kind == "q8_0" and array.ndim > 1 and "ffn_gate_inp" not in tensor:
            writer.add_tensor(full, gguf.quantize(array, Type.Q8_0), raw_dtype=Type.Q8_0)
        else:
            writer.add_tensor(full, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _sizes(writer: gguf.GGUFWriter, s: Shape) -> None:
    writer.add_context_length(4096)
    writer.add_embedding_length(s.width)
    writer.add_block_count(s.layers)
    writer.add_feed_forward_length(s.dense)
    writer.add_head_count(s.heads)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(s.theta)
    writer.add_layer_norm_rms_eps(s.epsilon)
    writer.add_leading_dense_block_count(1)
    writer.add_vocab_size(s.vocabulary)
    writer.add_q_lora_rank(s.q_rank)
    writer.add_kv_lora_rank(s.kv_rank)
    writer.add_key_length(s.kv_rank + s.rope)
    writer.add_value_length(s.kv_rank)
    writer.add_key_length_mla(s.head)
    writer.add_value_length_mla(s.value)
    writer.add_expert_feed_forward_length(s.expert)
    writer.add_expert_count(s.experts)
    writer.add_expert_used_count(s.used)
    writer.add_expert_shared_count(1)
    writer.add_expert_weights_scale(s.scale)
    writer.add_expert_weights_norm(True)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_rope_dimension_count(s.rope)


def _protocol(writer: gguf.GGUFWriter) -> None:
    writer.add_uint32("swarmcode.span.version", prompt.VERSION)
    writer.add_uint32("swarmcode.span.pointers", prompt.POINTERS)
    writer.add_uint32("swarmcode.span.before_lines", prompt.BEFORE_LINES)
    writer.add_uint32("swarmcode.span.after_lines", prompt.AFTER_LINES)
    writer.add_uint32("swarmcode.span.before_tokens", prompt.BEFORE_TOKENS)
    writer.add_uint32("swarmcode.span.after_tokens", prompt.AFTER_TOKENS)
    writer.add_uint32("swarmcode.span.answer_tokens", prompt.ANSWER_TOKENS)


def _vocabulary(writer: gguf.GGUFWriter, codec: prompt.Codec) -> None:
    data = json.loads(codec.tokenizer.to_str())
    pieces = [codec.tokenizer.id_to_token(i) for i in range(codec.vocabulary)]
    control = set(range(len(prompt.SPECIALS))) | set(range(codec.pointer, codec.vocabulary))
    kinds = [gguf.TokenType.CONTROL if i in control else gguf.TokenType.NORMAL for i in range(codec.vocabulary)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(pieces)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(prompt.BEGIN)
    writer.add_eos_token_id(prompt.END)
    writer.add_pad_token_id(prompt.PAD)
    writer.add_add_bos_token(False)


def compare(
    path: Path, model: RepairModel, codec: prompt.Codec, texts: list[str], count: int = 12
) -> tuple[float, float, float]:
    """(largest difference of log-probabilities, share of equal best tokens, mean KL) over whole prompts with their
    answers.
    """
    llama = Llama(path, sequences=1, exact=True)
    batches = Batches(texts, codec, seed=5, tokens=300, trees=1, branches=1, lm=1.0)
    worst, same, divergence, total = 0.0, 0, 0.0, 0
    model.eval()
    for index in range(count):
        batch = batches(index)
        trunk, _, length = batch.trees[0]
        ids = batch.tokens[: trunk + length].tolist()
        one = pack([Tree(trunk=ids[:1], branches=[(ids[1:], 1)], operators=[])], random.Random(0), 0.0)
        with torch.no_grad():
            ours = model.logits(model(one)).log_softmax(-1).numpy()
        llama.clear()
        theirs = (
            torch.from_numpy(llama.decode(ids, range(len(ids)), [0] * len(ids), [True] * len(ids)))
            .log_softmax(-1)
            .numpy()
        )
        worst = max(worst, float(np.abs(ours - theirs)[ours > -12].max()))
        same += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        divergence += float((np.exp(ours) * (ours - theirs)).sum())
        total += len(ids)
        if llama.tokenize(texts[index]) != codec.encode(texts[index]):
            raise ValueError(f"llama.cpp tokenizes differently: {texts[index][:60]!r}")
    return worst, same / total, divergence / total


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--checkpoint", type=Path, nargs="+", default=[HERE / "runs" / "default" / "last.pt"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--type", choices=tuple(DIVERGENCE), default="q8_0")
    parser.add_argument("--name", default="swarmcode-repair")
    args = parser.parse_args()
    saved_all = [checkpoint.load(path, torch.device("cpu")) for path in args.checkpoint]
    saved = saved_all[-1]
    shape, state = Shape(**saved["shape"]), average([each["model"] for each in saved_all])
    codec = prompt.Codec(args.data / "tokenizer.json")
    model = RepairModel(shape)
    model.load_state_dict(state)
    write(args.out, state, shape, codec, args.type, args.name)
    worst, same, divergence = compare(args.out, model, codec, [r["text"] for r in load(args.data / "held-out.jsonl")])
    size, seen = args.out.stat().st_size / 1e6, saved["tokens"] / 1e6
    print(
        f"{args.out}: {size:.1f} MB, step {saved['step']}, {seen:.1f}M tokens; "
        f"log-probabilities differ by at most {worst:.2g} (tokens above e^-12), "
        f"best token equal at {100 * same:.2f}% of tokens, KL {divergence:.2g}"
    )
    sys.exit(abs(divergence) > DIVERGENCE[args.type])


if __name__ == "__main__":
    main()
