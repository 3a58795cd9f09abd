"""The ground that all tests stand on."""

import signal
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope="session", autouse=True)
def usual_signals() -> Iterator[None]:
    """Whoever starts the tests in the background may have had interruptions ignored; the programs under test, which
    inherit that, would then rightly ignore them too."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def pytest_unconfigure() -> None:
    """Closes what llama-cpp-python opens when it is imported and leaves open, which Python would complain about."""
    opened = sys.modules.get("llama_cpp._utils")
    for file in (opened.outnull_file, opened.errnull_file) if opened else ():
        file.close()


def _gguf_value(value: Any) -> tuple[int, bytes]:
    """Type and bytes of a metadata value: bool, unsigned int, float, str, or a list of one of them, or of signed ints;
    numbers have 32 bits."""
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, struct.pack("<Q", len(value.encode())) + value.encode()
    items = [_gguf_value(item) for item in value]
    kind = 5 if not items or items[0][0] == 4 else items[0][0]
    return 9, struct.pack("<IQ", kind, len(items)) + b"".join(data for _, data in items)


def write_gguf(path: Path, metadata: dict[str, Any], tensors: dict[str, NDArray[np.float32]] | None = None) -> Path:
    """A GGUF file, version 3."""
    tensors = tensors or {}
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        kind, data = _gguf_value(value)
        parts += [_gguf_value(key)[1], struct.pack("<I", kind), data]
    offset = 0
    for name, array in tensors.items():
        shape = array.shape[::-1]
        parts += [_gguf_value(name)[1], struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)]
        offset += -(-array.nbytes // 32) * 32
    head = b"".join(parts)
    blocks = [array.tobytes().ljust(-(-array.nbytes // 32) * 32, b"\0") for array in tensors.values()]
    path.write_bytes(head.ljust(-(-len(head) // 32) * 32, b"\0") + b"".join(blocks))
    return path


CHAT_TEMPLATE = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|>"


def chat_metadata(**changes: Any) -> dict[str, Any]:
    """Of a small instruction-tuned model that knows bytes only."""
    octets = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *octets, "<|user|>", "<|assistant|>", "\u2581"]
    return {
        "general.architecture": "llama",
        "general.name": "Tiny Chat",
        "llama.context_length": 4096,
        "llama.embedding_length": 64,
        "llama.block_count": 2,
        "llama.feed_forward_length": 128,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": 16,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, 3, 3, 1],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    } | changes


def chat_tensors() -> dict[str, NDArray[np.float32]]:
    """Random weights for `chat_metadata`."""
    random = np.random.default_rng(7)
    vocabulary, width, inner, shared = 262, 64, 128, 32
    shapes = {"token_embd": (vocabulary, width), "output": (vocabulary, width), "output_norm": (width,)}
    for layer in range(2):
        shapes |= {f"blk.{layer}.{name}": (width,) for name in ("attn_norm", "ffn_norm")}
        shapes |= {f"blk.{layer}.{name}": (width, width) for name in ("attn_q", "attn_output")}
        shapes |= {f"blk.{layer}.{name}": (shared, width) for name in ("attn_k", "attn_v")}
        shapes |= {f"blk.{layer}.{name}": (inner, width) for name in ("ffn_gate", "ffn_up")}
        shapes[f"blk.{layer}.ffn_down"] = (width, inner)
    return {
        f"{name}.weight": (random.normal(size=shape) * 0.3 if len(shape) > 1 else np.ones(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


@pytest.fixture
def gguf_writer() -> Callable[..., Path]:
    return write_gguf


@pytest.fixture
def chat_header() -> Callable[..., dict[str, Any]]:
    return chat_metadata


@pytest.fixture
def chat_weights() -> Callable[..., dict[str, NDArray[np.float32]]]:
    return chat_tensors


@pytest.fixture(scope="session")
def chat_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights that llama.cpp loads."""
    return write_gguf(tmp_path_factory.mktemp("models") / "chat.gguf", chat_metadata(), chat_tensors())
