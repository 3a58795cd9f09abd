"""Trials of what a plugin computes row by row between products, as `proof.py` runs them: by the plugin and by numpy."""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.llama.attention import Kernel
from swarmcode.engine.llama.operations import F32, computed, context, ggml, pointer, tensor

Numbers = NDArray[np.float32]
Pointer = ctypes.c_void_p
EPSILON = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An operation on arrays; dimensions as numpy has them, the last one that of a row."""

    name: str
    given: tuple[Numbers, ...]
    build: Callable[..., int | None]
    """(context, *tensors) -> ggml's operation."""
    expected: Numbers

    def computed(self, plugin: Kernel, threads: int = 2) -> Numbers:
        """By the plugin. Raises `NotTaken`."""
        with context(4 * sum(array.nbytes for array in (*self.given, self.expected))) as room:
            made = self.build(room, *(tensor(room, F32, array) for array in self.given))
            return computed(plugin, room, pointer(made), self.expected.shape, threads)


def trials(tokens: int = 40) -> Iterator[Trial]:
    """Each operation, in each form that models have it in; numbers in a row are no multiple of what a vector holds."""
    random = np.random.default_rng(0)

    def numbers(*shape: int) -> Numbers:
        return random.standard_normal(shape, np.float32)

    rows, more, weights = numbers(tokens, 75), numbers(tokens, 75), numbers(75)
    experts, shares = numbers(tokens, 4, 75), numbers(tokens, 4, 1)
    heads = numbers(3, tokens, 20)
    yield Trial(name="sum", given=(rows, more), build=_two("ggml_add"), expected=rows + more)
    yield Trial(name="sum with one row", given=(rows, weights), build=_two("ggml_add"), expected=rows + weights)
    yield Trial(name="product", given=(rows, more), build=_two("ggml_mul"), expected=rows * more)
    yield Trial(name="product with shares", given=(experts, shares), build=_two("ggml_mul"), expected=experts * shares)
    yield Trial(name="norm", given=(rows,), build=_norm, expected=_normalized(rows))
    yield Trial(name="gate", given=(rows, more), build=_two("ggml_swiglu_split"), expected=_swiglu(rows, more))
    halves = np.concatenate((rows, more), axis=-1)
    yield Trial(name="gate in one", given=(halves,), build=_one("ggml_swiglu"), expected=_swiglu(rows, more))
    yield Trial(name="rows end to end", given=(rows, more[:, :9]), build=_concat, expected=_joined(rows, more[:, :9]))
    yield Trial(
        name="heads in turn", given=(heads,), build=_in_turn, expected=np.ascontiguousarray(heads.swapaxes(0, 1))
    )


def _one(name: str) -> Callable[..., int | None]:
    return lambda room, a: ggml(name, Pointer)(room, a)


def _two(name: str) -> Callable[..., int | None]:
    return lambda room, a, b: ggml(name, Pointer)(room, a, b)


def _norm(room: Pointer, a: Pointer) -> int | None:
    return ggml("ggml_rms_norm", Pointer)(room, a, ctypes.c_float(EPSILON))  # type: ignore[no-any-return]


def _concat(room: Pointer, a: Pointer, b: Pointer) -> int | None:
    return ggml("ggml_concat", Pointer)(room, a, b, ctypes.c_int(0))  # type: ignore[no-any-return]


def _in_turn(room: Pointer, a: Pointer) -> int | None:
    order = [ctypes.c_int(axis) for axis in (0, 2, 1, 3)]
    turned = pointer(ggml("ggml_permute", Pointer)(room, a, *order))
    return ggml("ggml_cont", Pointer)(room, turned)  # type: ignore[no-any-return]


def _normalized(rows: Numbers) -> Numbers:
    squares = np.square(rows.astype(np.float64)).mean(axis=-1, keepdims=True)
    return np.asarray(rows / np.sqrt(squares + EPSILON), np.float32)


def _swiglu(rows: Numbers, gates: Numbers) -> Numbers:
    wide = rows.astype(np.float64)
    return np.asarray(wide / (1 + np.exp(-wide)) * gates, np.float32)


def _joined(one: Numbers, other: Numbers) -> Numbers:
    return np.concatenate((one, other), axis=-1)
