"""Decodes several tokens of each sequence in compiled code, where nothing has to be decided between them.

Of a small model a step takes a millisecond for one sequence, and twenty for a hundred: what Python does around each of
them is a tenth of that.
"""

import ctypes
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from swarmcode.engine.backend import StepFailed
from swarmcode.engine.llama.batch import Batch
from swarmcode.engine.llama.drawing import Native, at, keys_of, rules_of
from swarmcode.engine.llama.library import LOG, lib
from swarmcode.engine.sampling import Pick


class _Model(ctypes.Structure):
    """As in `native/draw.cpp`."""

    _fields_ = (
        ("decode", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
        ("batch", lib.llama_batch),
        ("vocabulary", ctypes.c_int),
    )


class Strider:
    """Goes on with the batch that was computed last, in a context."""

    def __init__(self, native: Native, context: Any, batch: Batch, vocabulary: int, threads: int) -> None:
        """`native`: `swarmcode_stride`."""
        self.native = native
        self._context = ctypes.cast(context, ctypes.c_void_p)
        self._batch = batch
        self._vocabulary = vocabulary
        self._threads = threads
        self.called = ctypes.create_string_buffer(2)
        """Not empty where somebody waits for the end of a stride."""

    def __call__(self, picks: Sequence[Pick], most: int, ends: Iterable[int]) -> list[tuple[list[int], list[float]]]:
        """As `backend.Backend.stride`."""
        count = len(picks)
        model = _Model(
            ctypes.cast(lib._lib.llama_decode, ctypes.c_void_p),
            ctypes.cast(lib._lib.llama_get_logits, ctypes.c_void_p),
            self._context,
            self._batch.struct,
            self._vocabulary,
        )
        rules, keys = rules_of(picks), keys_of(picks)
        last = array("i", [token for token in ends if 0 <= token < self._vocabulary])
        tokens, logprobs = array("i", bytes(4 * count * most)), array("f", bytes(4 * count * most))
        code = ctypes.c_int32()
        times = self.native(
            ctypes.byref(model),
            at(rules),
            at(keys),
            self._threads,
            most,
            self.called,
            at(last),
            len(last),
            at(tokens),
            at(logprobs),
            ctypes.byref(code),
        )
        if times < 0:
            raise StepFailed(f"llama_decode gave {code.value} for {count} tokens: {LOG.complaint()}")
        drawn, likely = tokens[: times * count].tolist(), logprobs[: times * count].tolist()
        return [(drawn[place::count], likely[place::count]) for place in range(count)]
