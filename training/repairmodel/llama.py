"""The little of llama.cpp that export and evaluation need: batches of tokens in numbered sequences, logits back.

This is not the product's engine and shares no code with it: what is measured here is the file, not the scheduler.
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

# Kept alive here: llama.cpp calls it for as long as the process lives.
_SILENT = llama_cpp.llama_log_callback(lambda level, text, data: None)


class Llama:
    """A model and one context with `sequences` sequences in one KV cache of `cells` cells; `exact` keeps the cache in
    f32.
    """

    def __init__(
        self, path: Path, *, cells: int = 8192, sequences: int = 128, threads: int = 2, exact: bool = False
    ) -> None:
        llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise ValueError(f"llama.cpp can not load {path}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = cells, 2048, 512, sequences
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified, params.no_perf = True, True
        if exact:  # the cache is f16 by default
            params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            raise ValueError(f"llama.cpp can not make a context for {path}")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(2048, 0, 1)

    def metadata(self, key: str) -> str | None:
        """A key of the file as text."""
        buffer = ctypes.create_string_buffer(256)
        size = llama_cpp.llama_model_meta_val_str(self.model, key.encode(), buffer, 256)
        return buffer.value.decode() if size >= 0 else None

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Ids by llama.cpp's own tokenizer."""
        raw = text.encode()
        out = (llama_cpp.llama_token * (len(raw) + 8))()
        vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        return list(out[: llama_cpp.llama_tokenize(vocabulary, raw, len(raw), out, len(out), False, special)])

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], wanted: Sequence[bool]
    ) -> NDArray[np.float32]:
        """Logits [number wanted, vocabulary] of up to 2,048 tokens."""
        batch, size = self.batch, len(tokens)
        batch.n_tokens = size
        for at in range(size):
            batch.token[at], batch.pos[at], batch.n_seq_id[at] = tokens[at], positions[at], 1
            batch.seq_id[at][0], batch.logits[at] = sequences[at], wanted[at]
        status = llama_cpp.llama_decode(self.context, batch)
        if status:
            raise RuntimeError(f"llama_decode: {status}")
        rows = [at for at in range(size) if wanted[at]]
        out = np.empty((len(rows), self.vocabulary), dtype=np.float32)
        for row, at in enumerate(rows):
            out[row] = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, at), (self.vocabulary,))
        return out

    def copy(self, source: int, target: int) -> None:
        """Target becomes what source is."""
        llama_cpp.llama_memory_seq_rm(self.memory, target, -1, -1)
        llama_cpp.llama_memory_seq_cp(self.memory, source, target, -1, -1)

    def cut(self, sequence: int, start: int = -1) -> None:
        """Forget a sequence from a position on."""
        llama_cpp.llama_memory_seq_rm(self.memory, sequence, start, -1)

    def clear(self) -> None:
        """Forget everything."""
        llama_cpp.llama_memory_clear(self.memory, True)
