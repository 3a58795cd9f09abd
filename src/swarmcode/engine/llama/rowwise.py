"""Trials of what a plugin computes row by row between products."""

import ctypes
from collections.abc import Iterator

import numpy as np

from swarmcode.engine.llama.operations import ggml, pointer
from swarmcode.engine.llama.trial import Numbers, Pointer, Trial, operation

EPSILON = 1e-6


def trials(tokens: int = 40) -> Iterator[Trial]:
    """Each operation, in each form that models have it in; numbers in a row are no multiple of what a vector holds."""
    random = np.random.default_rng(0)

    def numbers(*shape: int) -> Numbers:
        return random.standard_normal(shape, np.float32)

    rows, more, weights = numbers(tokens, 75), numbers(tokens, 75), numbers(75)
    experts, shares = numbers(tokens, 4, 75), numbers(tokens, 4, 1)
    heads = numbers(3, tokens, 20)
    yield Trial(name="sum", given=(rows, more), build=operation("ggml_add"), expected=rows + more)
    yield Trial(name="sum with one row", given=(rows, weights), build=operation("ggml_add"), expected=rows + weights)
    yield Trial(name="product", given=(rows, more), build=operation("ggml_mul"), expected=rows * more)
    yield Trial(
        name="product with shares", given=(experts, shares), build=operation("ggml_mul"), expected=experts * shares
    )
    wholes = np.abs(numbers(tokens, 1)) + 1
    yield Trial(name="share of a whole", given=(rows, wholes), build=operation("ggml_div"), expected=rows / wholes)
    yield Trial(
        name="multiple",
        given=(rows,),
        build=operation("ggml_scale", ctypes.c_float(2.5)),
        expected=rows * np.float32(2.5),
    )
    bounds = (ctypes.c_float(-0.5), ctypes.c_float(np.inf))
    bounded = np.maximum(rows, np.float32(-0.5))
    yield Trial(name="bounded row", given=(rows.copy(),), build=operation("ggml_clamp", *bounds), expected=bounded)
    yield Trial(name="sum of a row", given=(rows,), build=operation("ggml_sum_rows"), expected=_summed(rows))
    yield Trial(name="sigmoid", given=(rows * 9,), build=operation("ggml_sigmoid"), expected=_sigmoid(rows * 9))
    yield Trial(name="softmax", given=(rows * 9,), build=operation("ggml_soft_max"), expected=_softmax(rows * 9))
    norm = operation("ggml_rms_norm", ctypes.c_float(EPSILON))
    yield Trial(name="norm", given=(rows,), build=norm, expected=_normalized(rows))
    yield Trial(name="gate", given=(rows, more), build=operation("ggml_swiglu_split"), expected=_swiglu(rows, more))
    halves = np.concatenate((rows, more), axis=-1)
    yield Trial(name="gate in one", given=(halves,), build=operation("ggml_swiglu"), expected=_swiglu(rows, more))
    end_to_end = operation("ggml_concat", ctypes.c_int(0))
    joined = np.concatenate((rows, more[:, :9]), axis=-1)
    yield Trial(name="rows end to end", given=(rows, more[:, :9]), build=end_to_end, expected=joined)
    turned = np.ascontiguousarray(heads.swapaxes(0, 1))
    yield Trial(name="heads in turn", given=(heads,), build=_in_turn, expected=turned)


def _in_turn(room: Pointer, a: Pointer) -> int | None:
    order = [ctypes.c_int(axis) for axis in (0, 2, 1, 3)]
    turned = pointer(ggml("ggml_permute", Pointer)(room, a, *order))
    return ggml("ggml_cont", Pointer)(room, turned)  # type: ignore[no-any-return]


def _summed(rows: Numbers) -> Numbers:
    return np.asarray(rows.astype(np.float64).sum(axis=-1, keepdims=True), np.float32)


def _sigmoid(rows: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-rows.astype(np.float64))), np.float32)


def _softmax(rows: Numbers) -> Numbers:
    powers = np.exp(rows.astype(np.float64) - rows.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def _normalized(rows: Numbers) -> Numbers:
    squares = np.square(rows.astype(np.float64)).mean(axis=-1, keepdims=True)
    return np.asarray(rows / np.sqrt(squares + EPSILON), np.float32)


def _swiglu(rows: Numbers, gates: Numbers) -> Numbers:
    wide = rows.astype(np.float64)
    return np.asarray(wide / (1 + np.exp(-wide)) * gates, np.float32)
