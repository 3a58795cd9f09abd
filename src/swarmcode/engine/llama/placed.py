"""Trials of what a plugin computes of places and positions: how a token finds its experts, its cells and its angles."""

import ctypes
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.llama.trial import Numbers, Trial, operation

NORMAL, NEOX = 0, 2  # which numbers of a row are turned together: neighbours, or those of its halves
_DESCENDING = 1
_DIMS, _TRAINED, _BASE, _FAST, _SLOW = 16, 64, 10_000.0, 32.0, 1.0


def trials(tokens: int = 40) -> Iterator[Trial]:
    """Each operation, in each form that models have it in."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((tokens, 75), np.float32)
    weights = random.standard_normal((50, 75), np.float32)
    products = np.asarray(rows.astype(np.float64) @ weights.T.astype(np.float64), np.float32)
    yield Trial(name="product of f32", given=(weights, rows), build=operation("ggml_mul_mat"), expected=products)

    scores = random.integers(0, 200, (tokens, 75)).astype(np.float32)  # some of them equal
    order = np.argsort(-scores, axis=-1, kind="stable").astype(np.int32)
    build = operation("ggml_argsort", ctypes.c_int(_DESCENDING))
    yield Trial(name="order by size", given=(scores,), build=build, expected=order)

    some = random.integers(0, tokens, 9).astype(np.int32)
    yield Trial(name="choice of rows", given=(rows, some), build=operation("ggml_get_rows"), expected=rows[some])
    shares, chosen = rows[:, :, None], np.ascontiguousarray(order[:, :4])
    taken = np.take_along_axis(rows, chosen, axis=-1)[:, :, None]
    yield Trial(name="choice of shares", given=(shares, chosen), build=operation("ggml_get_rows"), expected=taken)

    for name, kind in (("cells of halves", np.float16), ("cells", np.float32)):
        cells = np.zeros((64, 75), kind)
        places = random.permutation(64)[:tokens].astype(np.int64)
        filled = cells.copy()
        filled[places] = rows.astype(kind)
        yield Trial(name=name, given=(cells, rows, places), build=operation("ggml_set_rows"), expected=filled)

    heads = random.standard_normal((tokens, 3, _DIMS + 5), np.float32)
    positions = np.arange(tokens, dtype=np.int32)
    for name, mode, scale, mixed in (
        ("rotation of neighbours", NORMAL, 1.0, 0.0),
        ("rotation of halves", NEOX, 1.0, 0.0),
        ("rotation by YaRN", NORMAL, 0.25, 1.0),
    ):
        yield Trial(
            name=name,
            given=(heads, positions),
            build=_rope(mode, scale, mixed),
            expected=rotated(heads, positions, mode, scale, mixed),
        )


def _rope(mode: int, scale: float, mixed: float) -> Callable[..., int | None]:
    whole = [ctypes.c_int(number) for number in (_DIMS, mode, _TRAINED)]
    numbers = [ctypes.c_float(number) for number in (_BASE, scale, mixed, 1.0, _FAST, _SLOW)]
    return operation("ggml_rope_ext", None, *whole, *numbers)


def rotated(heads: Numbers, positions: NDArray[np.int32], mode: int, scale: float, mixed: float) -> Numbers:
    """YaRN (https://arxiv.org/abs/2309.00071) as transformers has it, with `mixed` of its ramp."""
    pairs = np.arange(_DIMS // 2)
    fast = _BASE ** (-2 * pairs / _DIMS)

    def bound(turns: float) -> float:
        return float(_DIMS * np.log(_TRAINED / (turns * 2 * np.pi)) / (2 * np.log(_BASE)))

    low, high = max(0, np.floor(bound(_FAST))), min(_DIMS - 1, np.ceil(bound(_SLOW)))
    share = (1 - np.clip((pairs - low) / max(0.001, high - low), 0, 1)) * mixed
    angles = positions[:, None, None] * (scale * fast * (1 - share) + fast * share)
    size = 1 + 0.1 * np.log(1 / scale) if mixed else 1.0
    cosines, sines = np.cos(angles) * size, np.sin(angles) * size
    places = (2 * pairs, 2 * pairs + 1) if mode == NORMAL else (pairs, pairs + _DIMS // 2)
    one, other = (heads[..., place].astype(np.float64) for place in places)
    turned = heads.astype(np.float64)
    turned[..., places[0]] = one * cosines - other * sines
    turned[..., places[1]] = one * sines + other * cosines
    return np.asarray(turned, np.float32)
