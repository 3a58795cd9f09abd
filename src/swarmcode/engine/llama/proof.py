"""Proves a plugin: `python -m swarmcode.engine.llama.proof PLUGIN` ends with 0 if it computes what it must.

Single operations are computed by the plugin and, in f64, by numpy. A process of its own does it, because a plugin that
does not fit its ggml crashes.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.llama import placed, rowwise
from swarmcode.engine.llama.attention import Kernel, load
from swarmcode.engine.llama.drawing import Drawer
from swarmcode.engine.llama.operations import F16, F32, I32, Q8_0, NotTaken, computed, context, ggml, pointer, tensor
from swarmcode.engine.protocol import Sampling
from swarmcode.engine.sampling import Pick, draw, key

CLOSE, ROUNDED = 1e-5, 2e-2
"""Difference that is no mistake, and where numbers may be rounded to bf16; values are of the order of 1."""
Mask = NDArray[np.bool_]
Part = tuple[slice, slice]
"""Of streams, and of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of one operation."""

    keys: int
    """Numbers in a key."""
    values: int
    """Numbers in a value; they are the first of the key's numbers where `shared`."""
    heads: int
    groups: int
    """KV heads: each is seen by `heads / groups` query heads."""
    shared: bool = False
    sinks: bool = False
    added: bool = False
    """Whether the mask adds to scores."""


ALL: Part = (slice(None), slice(None))


def attended(plugin: Kernel, sizes: Sizes, mask: Mask, threads: int = 2, part: Part = ALL) -> NDArray[np.float32]:
    """What the plugin computes from random numbers, for a part of the streams and of the tokens.

    `mask` and result: shapes (streams, tokens, cells) and (streams, tokens, heads, values). Raises `NotTaken` where
    the plugin leaves the operation to others.
    """
    return _Operation(sizes, mask, part).computed(plugin, threads)


def expected(sizes: Sizes, mask: Mask) -> NDArray[np.float64]:
    """The same by numpy, for all."""
    return _Operation(sizes, mask, ALL).expected()


class _Operation:
    """Random numbers of given sizes, of which keys and values are halves."""

    def __init__(self, sizes: Sizes, mask: Mask, part: Part) -> None:
        random = np.random.default_rng(0)
        streams, tokens, cells = mask.shape
        of, rows = part
        self._sizes, self._mask = sizes, mask[of, rows]
        self._q = random.standard_normal((streams, sizes.heads, tokens, sizes.keys), np.float32)[of, :, rows]
        self._k = random.standard_normal((streams, sizes.groups, cells, sizes.keys), np.float32).astype(np.float16)[of]
        own = random.standard_normal((streams, sizes.groups, cells, sizes.values), np.float32).astype(np.float16)[of]
        self._v = self._k[..., : sizes.values] if sizes.shared else own
        self._sinks = random.standard_normal(sizes.heads, np.float32)
        added = random.standard_normal(mask.shape, np.float32).astype(np.float16)[of, rows] if sizes.added else 0
        self._added = np.where(self._mask, added, -np.inf).astype(np.float16)

    @property
    def _scale(self) -> float:
        return float(self._sizes.keys**-0.5)

    def expected(self) -> NDArray[np.float64]:
        each = self._sizes.heads // self._sizes.groups
        keys, values = (part.astype(np.float64).repeat(each, axis=1) for part in (self._k, self._v))
        scores = np.einsum("shtd,shcd->shtc", self._q.astype(np.float64), keys) * self._scale
        scores = scores + self._added[:, None]
        if self._sizes.sinks:
            sinks = np.broadcast_to(self._sinks[None, :, None, None], (*scores.shape[:-1], 1))
            scores = np.concatenate((scores, sinks), axis=-1)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares = (shares / shares.sum(axis=-1, keepdims=True))[..., : self._mask.shape[2]]
        return np.asarray(np.einsum("shtc,shcv->sthv", shares, values))

    def computed(self, plugin: Kernel, threads: int) -> NDArray[np.float32]:
        sizes, (streams, tokens, _) = self._sizes, self._mask.shape
        shape = (streams, tokens, sizes.heads, sizes.values)
        parts = (self._q, self._k, self._v, self._added)
        with context(2 * sum(part.nbytes for part in parts) + 4 * int(np.prod(shape))) as room:
            q, k = tensor(room, F32, self._q), tensor(room, F16, self._k)
            v = self._view(room, k) if sizes.shared else tensor(room, F16, self._v)
            numbers = (ctypes.c_float(self._scale), ctypes.c_float(0), ctypes.c_float(0))
            attention = ggml("ggml_flash_attn_ext", ctypes.c_void_p)
            made = pointer(attention(room, q, k, v, tensor(room, F16, self._added[:, None]), *numbers))
            if sizes.sinks:
                ggml("ggml_flash_attn_ext_add_sinks")(made, tensor(room, F32, self._sinks))
            return computed(plugin, room, made, shape, threads)

    def _view(self, room: ctypes.c_void_p, k: ctypes.c_void_p) -> ctypes.c_void_p:
        """Of the first numbers of every key."""
        streams, groups, cells, keys = self._k.shape
        lengths = [ctypes.c_int64(n) for n in (self._sizes.values, cells, groups, streams)]
        strides = [ctypes.c_size_t(2 * keys * n) for n in (1, cells, cells * groups)]
        return pointer(ggml("ggml_view_4d", ctypes.c_void_p)(room, k, *lengths, *strides, ctypes.c_size_t(0)))


class Product:
    """Random numbers of tokens, shape (matrices or 1, tokens, length), and weights of eight bits, shape (matrices,
    rows, length): each token with each matrix, or with the experts, shape (tokens, some), that are chosen for it."""

    def __init__(self, matrices: int, rows: int, length: int, tokens: int, experts: int = 0) -> None:
        random = np.random.default_rng(0)
        weights = random.standard_normal((matrices, rows, length // BLOCK, BLOCK), np.float32)
        self._scales, self._weights = _rounded(weights)
        self._experts = random.random((tokens, matrices)).argsort(axis=1)[:, :experts].astype(np.int32)
        shape = (tokens, 1, length) if experts else (matrices, tokens, length)
        self._numbers = random.standard_normal(shape, np.float32)

    def expected(self) -> NDArray[np.float64]:
        """By numpy: shape (matrices, tokens, rows), or (tokens, experts, rows)."""
        weights = self._weights.astype(np.float64) * self._scales
        scales, whole = _rounded(self._numbers.reshape(*self._numbers.shape[:2], -1, BLOCK))
        numbers = whole.astype(np.float64) * scales
        if not self._experts.size:
            return np.asarray(np.einsum("mrbk,mtbk->mtr", weights, numbers))
        return np.asarray(np.einsum("terbk,tbk->ter", weights[self._experts], numbers[:, 0]))

    def computed(self, plugin: Kernel, threads: int = 2, tokens: slice = slice(None)) -> NDArray[np.float32]:
        """By the plugin, for some of the tokens."""
        routed = bool(self._experts.size)
        numbers = self._numbers[tokens] if routed else self._numbers[:, tokens]
        packed = np.concatenate((self._scales.astype(np.float16).view(np.int8), self._weights), axis=-1)
        matrices, rows, blocks, size = packed.shape
        shape = (*(self._experts[tokens].shape if routed else numbers.shape[:2]), rows)
        with context(2 * (packed.nbytes + numbers.nbytes) + 4 * int(np.prod(shape))) as room:
            weights = tensor(room, Q8_0, packed.reshape(matrices, rows, blocks * size), blocks * BLOCK)
            given = (room, weights, tensor(room, F32, np.ascontiguousarray(numbers)))
            if routed:
                given = (*given, tensor(room, I32, self._experts[tokens]))  # type: ignore[assignment]
            made = pointer(ggml(f"ggml_mul_mat{'_id' * routed}", ctypes.c_void_p)(*given))
            return computed(plugin, room, made, shape, threads)


BLOCK = 32
"""Numbers that share a scale in Q8_0."""


def _rounded(numbers: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Scales, and whole numbers that they multiply: blocks in the last dimension."""
    scales = np.abs(numbers).max(axis=-1, keepdims=True) / np.float32(127)
    return scales.astype(np.float16).astype(np.float32), np.rint(numbers / scales).astype(np.int8)


def trials() -> Iterator[tuple[Sizes, Mask]]:
    """Operations of each sort that there is."""
    latent = Sizes(keys=128, values=96, heads=6, groups=1, shared=True)
    cells = np.arange(768)
    yield latent, decoding(20, 512, 8)[None]
    yield latent, (cells[None] <= np.arange(100, 140)[:, None])[None]
    yield latent, (cells[None, None, :] < np.array([700, 65, 64, 1])[:, None, None])
    yield replace(latent, added=True), decoding(20, 200, 8)[None]
    yield Sizes(keys=72, values=40, heads=8, groups=4), np.random.default_rng(0).random((1, 7, 100)) < 0.3
    yield Sizes(keys=64, values=64, heads=4, groups=4, sinks=True), (cells[None, None, :] < 700)


def decoding(sequences: int, head: int, own: int) -> Mask:
    """(sequences, cells): each sees a shared head, and cells of its own that were written in turns with the others'."""
    mask = np.zeros((sequences, -(-(head + sequences * own) // 256) * 256), np.bool_)
    mask[:, :head] = True
    for number in range(sequences):
        mask[number, head + number : head + sequences * own : sequences] = True
    return mask


def main(path: str) -> None:
    """Raises `SystemExit` with what is wrong."""
    plugin = load(Path(path))
    if not plugin:
        raise SystemExit(plugin.why_not)
    for sizes, mask in trials():
        right = expected(sizes, mask)
        for may_round, close in ((False, CLOSE), (True, ROUNDED)):
            plugin.take(True, may_round)
            _check(f"attention of {sizes}", float(np.abs(attended(plugin, sizes, mask) - right).max()), close)
    for product in (Product(3, 64, 96, 5), Product(8, 32, 64, 40, experts=3), Product(40, 48, 64, 40, experts=3)):
        with suppress(NotTaken):  # this processor has nothing that it would be faster with
            off = np.abs(product.computed(plugin) - product.expected()).max()
            _check("a product", float(off), CLOSE * 10)
    for trial in (*rowwise.trials(), *placed.trials()):
        with suppress(NotTaken):
            _check(f"a {trial.name}", trial.off(plugin), CLOSE)
    _check("the share of wrong tokens", misdrawn(plugin), 0.02)


def misdrawn(plugin: Kernel) -> float:
    """Share of the tokens that the plugin draws otherwise than numpy does, as it may where two are equally near."""
    rows = list(np.random.default_rng(0).standard_normal((100, 1000), np.float32) * np.float32(3))
    rules = (Sampling(), Sampling(temperature=0.0), Sampling(temperature=0.6, top_p=0.9, min_p=0.01))
    picks = [Pick(row, rules[row % len(rules)], key(row, 0)) for row in range(len(rows))]
    found, right = Drawer(plugin.draw, threads=2)(rows, picks), draw(rows, picks)
    return sum(one.token != other.token for one, other in zip(found, right, strict=True)) / len(rows)


def _check(what: str, off: float, close: float) -> None:
    if not off < close:
        raise SystemExit(f"error: {what} that it computes is off by {off:g}")


if __name__ == "__main__":
    main(sys.argv[1])
