"""Decodes several tokens of each sequence in compiled code, where nothing has to be decided between them that is not
decided there: which token is drawn, and which ones are guessed to follow it.

Of a small model a step takes a millisecond for one sequence, and twenty for a hundred: what Python does around each of
them is a tenth of that.
"""

import ctypes
from array import array
from collections.abc import Sequence
from typing import Any

from swarmcode.engine.backend import Bounds, Going, StepFailed, Strode
from swarmcode.engine.llama.batch import Batch
from swarmcode.engine.llama.drafting import NativeDrafter
from swarmcode.engine.llama.drawing import Native, at, keys_of, rules_of
from swarmcode.engine.llama.library import LOG, lib

MOST = 512
"""Tokens that a sequence gets in a stride, at most."""


class Model(ctypes.Structure):
    """As in `native/stride.cpp`."""

    _fields_ = (
        ("decode", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
        ("cut", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
        ("memory", ctypes.c_void_p),
        ("batch", lib.llama_batch),
        ("vocabulary", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("products_from", ctypes.c_int32),
        ("threads", ctypes.c_int32),
    )


class Stride(ctypes.Structure):
    """As in `native/stride.cpp`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("rules", "keys", "left", "drafters", "costs", "ends", "called")),
        ("seconds", ctypes.c_double),
        *((name, ctypes.c_int32) for name in ("count", "most", "end_count", "cells")),
        *((name, ctypes.c_void_p) for name in ("tokens", "logprobs", "drawn", "rows", "times")),
        *((name, ctypes.c_int32) for name in ("drafted", "accepted", "code")),
    )


class Strider:
    """Strides in a context."""

    def __init__(
        self,
        native: Native,
        context: Any,
        batch: Batch,
        *,
        vocabulary: int,
        rows: int,
        products_from: int,
        threads: int,
    ) -> None:
        """`native`: `swarmcode_stride`. `rows`: that a batch may have. Products of `products_from` are ours."""
        self.native = native
        self.called = ctypes.create_string_buffer(2)
        """Not empty where somebody waits for the end of a stride."""
        self._batch = batch
        self._vocabulary = vocabulary
        self.model = Model(
            ctypes.cast(lib._lib.llama_decode, ctypes.c_void_p),
            ctypes.cast(lib._lib.llama_get_logits, ctypes.c_void_p),
            ctypes.cast(lib._lib.llama_memory_seq_rm, ctypes.c_void_p),
            ctypes.cast(context, ctypes.c_void_p),
            ctypes.cast(lib.llama_get_memory(context), ctypes.c_void_p),
            batch.struct,
            vocabulary,
            rows,
            products_from,
            threads,
        )
        """What the compiled code is told of llama.cpp."""

    def __call__(self, going: Sequence[Going], bounds: Bounds) -> Strode:
        """As `backend.Backend.stride`, with the batch, which has a token for each sequence."""
        picks = [each.pick for each in going]
        left = array("i", [min(each.left, MOST) for each in going])
        count, most = len(going), max(left)
        rules, keys = rules_of(picks), keys_of(picks)
        drafters = array("Q", [_handle(each) for each in going])
        ends = array("i", [token for token in bounds.ends if 0 <= token < self._vocabulary])
        tokens, logprobs = array("i", bytes(4 * count * most)), array("f", bytes(4 * count * most))
        drawn, rows, times = array("i", bytes(4 * count)), array("i", bytes(4 * most)), array("d", bytes(8 * most))
        stride = Stride(
            at(rules),
            at(keys),
            at(left),
            at(drafters),
            at(bounds.costs) if bounds.costs else None,
            at(ends),
            ctypes.cast(self.called, ctypes.c_void_p),
            bounds.seconds,
            count,
            most,
            len(ends),
            bounds.cells,
            at(tokens),
            at(logprobs),
            at(drawn),
            at(rows),
            at(times),
        )
        self.model.batch = self._batch.struct
        made = self.native(ctypes.byref(self.model), ctypes.byref(stride))
        if stride.code:
            failed = self.model.batch.n_tokens
            raise StepFailed(f"llama_decode gave {stride.code} for {failed} tokens: {LOG.complaint()}")
        ranges = [slice(place * most, place * most + got) for place, got in enumerate(drawn)]
        return Strode(
            tokens=[tokens[each].tolist() for each in ranges],
            logprobs=[logprobs[each].tolist() for each in ranges],
            drafted=stride.drafted,
            accepted=stride.accepted,
            steps=list(zip(rows[:made], times[:made], strict=True)),
        )


def _handle(going: Going) -> int:
    return going.drafter.handle.value or 0 if isinstance(going.drafter, NativeDrafter) else 0
