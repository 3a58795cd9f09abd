"""A cache and a model that are small enough to be checked by hand, behind the interfaces of the real ones."""

import struct
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from swarmcode.engine.cache import Change, Copy
from swarmcode.engine.step import Capacity, Step
from swarmcode.engine.worker import StepFailed
from swarmcode.errors import ModelError

VOCABULARY = 8


def pytest_unconfigure() -> None:
    """Closes what llama-cpp-python opens when it is imported and leaves open, which Python would complain about."""
    opened = sys.modules.get("llama_cpp._utils")
    for file in (opened.outnull_file, opened.errnull_file) if opened else ():
        file.close()


class ToyCache:
    """Seats as lists of (token, cell). Fails where a real cache would: too many cells, holes, copies onto something."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.seats: dict[int, list[tuple[int, int]]] = {seat: [] for seat in range(capacity.seats)}
        self.computed = 0
        """Tokens computed so far; also the next cell."""

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, Copy):
                assert not self.seats[change.target], "copied onto something"
                assert len(self.seats[change.source]) >= change.length, "copied what is not there"
                self.seats[change.target] = self.seats[change.source][: change.length]
            else:
                del self.seats[change.seat][change.length :]

    def compute(self, step: Step) -> None:
        assert len(step.tokens) == len(step.positions) == len(step.seats) <= self.capacity.chunk
        for token, position, seat in zip(step.tokens, step.positions, step.seats, strict=True):
            assert len(self.seats[seat]) == position, "a hole in a sequence"
            self.seats[seat].append((token, self.computed))
            self.computed += 1
            assert len(self.seats[seat]) <= self.capacity.context
        assert self.cells <= self.capacity.cells, "more cells than there are"

    @property
    def cells(self) -> int:
        return len({cell for held in self.seats.values() for _, cell in held})

    def tokens(self, seat: int) -> list[int]:
        return [token for token, _ in self.seats[seat]]


class ToyBackend:
    """A model whose logits are a fixed function of the tokens that the cache holds for a sequence."""

    vocabulary = VOCABULARY
    ends = frozenset({0})
    begin: tuple[int, ...] = ()

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.cache = ToyCache(capacity)
        self.batches: list[int] = []
        """Tokens of each step."""
        self.failing: set[int] = set()
        """Steps (from 0) that fail."""
        self.broken: BaseException | None = None
        """Raised by the next step: a fault that nobody expects."""
        self.closed = 0
        self.entered = threading.Event()
        """Set when a step begins."""
        self.go = threading.Event()
        """Steps wait for it."""
        self.go.set()

    def tokenize(self, text: str, special: bool) -> tuple[int, ...]:
        return tuple(1 + ord(character) % (VOCABULARY - 1) for character in text)

    def piece(self, token: int) -> bytes:
        return b"-abcdefg"[token : token + 1] if token else b""

    def grammar(self, schema: str) -> "ToyGrammar":
        if schema == "impossible":
            raise ModelError("the schema is impossible", "take another")
        return ToyGrammar()

    def run(self, step: Step) -> Sequence[NDArray[np.float32]]:
        self.entered.set()
        assert self.go.wait(60)
        if self.broken:
            raise self.broken
        self.cache.apply(step.changes)
        if not step.tokens:
            return []
        self.batches.append(len(step.tokens))
        if len(self.batches) - 1 in self.failing:
            raise StepFailed("the toy fails")
        self.cache.compute(step)
        return [
            self.logits(self.cache.tokens(step.seats[read.row])[: step.positions[read.row] + 1]) for read in step.reads
        ]

    def interrupt(self) -> None:
        self.go.set()

    def close(self) -> None:
        self.closed += 1

    @staticmethod
    def logits(tokens: Sequence[int]) -> NDArray[np.float32]:
        seed = np.random.SeedSequence([len(tokens), *tokens])
        row = np.random.default_rng(seed).normal(size=VOCABULARY) * 2
        row[0] -= 2  # answers of some length
        return row.astype(np.float32)


class ToyGrammar:
    """Odd tokens only, and memory that must be freed once at least."""

    freed = 0

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        return np.arange(VOCABULARY) % 2 == 1

    def close(self) -> None:
        type(self).freed += 1


@pytest.fixture
def toy() -> type[ToyBackend]:
    return ToyBackend


@pytest.fixture
def toy_cache() -> type[ToyCache]:
    return ToyCache


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


@pytest.fixture(scope="session")
def chat_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights that llama.cpp loads."""
    return write_gguf(tmp_path_factory.mktemp("models") / "chat.gguf", chat_metadata(), chat_tensors())
