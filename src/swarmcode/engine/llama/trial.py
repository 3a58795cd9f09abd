"""An operation on arrays, as `proof.py` tries it: by the plugin, and by numpy."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.llama.attention import Kernel
from swarmcode.engine.llama.operations import F16, F32, I32, I64, computed, context, ggml, pointer, tensor

Array = NDArray[Any]
Numbers = NDArray[np.float32]
Pointer = ctypes.c_void_p

_KINDS = {np.dtype(np.float32): F32, np.dtype(np.float16): F16, np.dtype(np.int32): I32, np.dtype(np.int64): I64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Dimensions as numpy has them, the last one that of a row."""

    name: str
    given: tuple[Array, ...]
    build: Callable[..., int | None]
    """(context, *tensors) -> ggml's operation."""
    expected: Array

    def computed(self, plugin: Kernel, threads: int = 2) -> Array:
        """By the plugin. Raises `NotTaken`."""
        with context(4 * sum(array.nbytes for array in (*self.given, self.expected))) as room:
            made = self.build(room, *(tensor(room, _KINDS[array.dtype], array) for array in self.given))
            return computed(plugin, room, pointer(made), self.expected.shape, threads, self.expected.dtype)

    def off(self, plugin: Kernel, threads: int = 2) -> float:
        """The greatest difference between what the plugin computes and what must come out. Raises `NotTaken`."""
        return float(np.abs(self.computed(plugin, threads).astype(np.float64) - self.expected).max())


def operation(name: str, *options: ctypes.c_int | ctypes.c_float | None) -> Callable[..., int | None]:
    """Of any number of tensors, with options behind them; None: no tensor."""
    return lambda room, *tensors: ggml(name, Pointer)(room, *tensors, *options)
