"""Proves an attention plugin: `python -m swarmcode.engine.llama.proof PLUGIN` ends with 0 if it computes what it must.

Single operations are computed by the plugin and, in f64, by numpy. A process of its own does it, because a plugin that
does not fit its ggml crashes.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.llama.attention import Kernel, load
from swarmcode.engine.llama.library import lib

CLOSE = 1e-5
"""Difference that is no mistake; values are of the order of 1."""
_F32, _F16 = 0, 1  # ggml_type
_SPARE = 1 << 20  # bytes beside those of the tensors

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


ALL: Part = (slice(None), slice(None))


def attended(plugin: Kernel, sizes: Sizes, mask: Mask, threads: int = 2, part: Part = ALL) -> NDArray[np.float32]:
    """What the plugin computes from random numbers, for a part of the streams and of the tokens.

    `mask` and result: shapes (streams, tokens, cells) and (streams, tokens, heads, values). Raises `RuntimeError` where
    the plugin does not take the operation.
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

    @property
    def _scale(self) -> float:
        return float(self._sizes.keys**-0.5)

    def expected(self) -> NDArray[np.float64]:
        each = self._sizes.heads // self._sizes.groups
        keys, values = (part.astype(np.float64).repeat(each, axis=1) for part in (self._k, self._v))
        scores = np.einsum("shtd,shcd->shtc", self._q.astype(np.float64), keys) * self._scale
        scores = np.where(self._mask[:, None], scores, -np.inf)
        if self._sizes.sinks:
            sinks = np.broadcast_to(self._sinks[None, :, None, None], (*scores.shape[:-1], 1))
            scores = np.concatenate((scores, sinks), axis=-1)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares = (shares / shares.sum(axis=-1, keepdims=True))[..., : self._mask.shape[2]]
        return np.asarray(np.einsum("shtc,shcv->sthv", shares, values))

    def computed(self, plugin: Kernel, threads: int) -> NDArray[np.float32]:
        sizes, (streams, tokens, _) = self._sizes, self._mask.shape
        mask = np.where(self._mask, 0, -np.inf).astype(np.float16)
        parts = (self._q, self._k, self._v, mask)
        room = 2 * sum(part.nbytes for part in parts) + 4 * streams * tokens * sizes.heads * sizes.values + _SPARE
        context = _ggml("ggml_init", ctypes.c_void_p)(_Room(room, None, False))
        try:
            q = _tensor(context, _F32, self._q)
            k = _tensor(context, _F16, self._k)
            v = self._view(context, k) if sizes.shared else _tensor(context, _F16, self._v)
            seen = _tensor(context, _F16, mask[:, None])
            numbers = (ctypes.c_float(self._scale), ctypes.c_float(0), ctypes.c_float(0))
            made = _ggml("ggml_flash_attn_ext", ctypes.c_void_p)(*map(_pointer, (context, q, k, v, seen)), *numbers)
            if sizes.sinks:
                _ggml("ggml_flash_attn_ext_add_sinks")(_pointer(made), _pointer(_tensor(context, _F32, self._sinks)))
            _compute(plugin, context, made, threads)
            shape = (streams, tokens, sizes.heads, sizes.values)
            return _numbers(made, shape, np.float32).copy()
        finally:
            _ggml("ggml_free")(_pointer(context))

    def _view(self, context: int, k: int) -> int:
        """Of the first numbers of every key."""
        streams, groups, cells, keys = self._k.shape
        lengths = [ctypes.c_int64(n) for n in (self._sizes.values, cells, groups, streams)]
        strides = [ctypes.c_size_t(2 * keys * n) for n in (1, cells, cells * groups)]
        view = _ggml("ggml_view_4d", ctypes.c_void_p)
        return int(view(_pointer(context), _pointer(k), *lengths, *strides, ctypes.c_size_t(0)))


class _Room(ctypes.Structure):
    """`ggml_init_params`."""

    _fields_ = (("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


def _ggml(name: str, result: Any = None) -> Callable[..., Any]:
    """A function of ggml; its arguments come typed."""
    function = lib._lib[name]
    function.restype = result
    return function  # type: ignore[no-any-return]


def _pointer(address: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(address)


def _tensor(context: int, kind: int, data: NDArray[Any]) -> int:
    """With the numbers of an array of up to four dimensions."""
    lengths = [ctypes.c_int64(n) for n in (*reversed(data.shape), *[1] * (4 - data.ndim))]
    made = int(_ggml("ggml_new_tensor_4d", ctypes.c_void_p)(_pointer(context), ctypes.c_int(kind), *lengths))
    _numbers(made, data.shape, data.dtype)[...] = data
    return made


def _numbers(tensor: int, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """The memory of a tensor."""
    address = _ggml("ggml_get_data", ctypes.c_void_p)(_pointer(tensor))
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype=kind).reshape(shape)


def _compute(plugin: Kernel, context: int, operation: int, threads: int) -> None:
    device = _ggml("ggml_backend_reg_dev_get", ctypes.c_void_p)(_pointer(plugin.registry), ctypes.c_size_t(0))
    backend = _ggml("ggml_backend_dev_init", ctypes.c_void_p)(_pointer(device), None)
    found = _ggml("ggml_backend_reg_get_proc_address", ctypes.c_void_p)
    set_threads = found(_pointer(plugin.registry), b"ggml_backend_set_n_threads")
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)(set_threads)(backend, threads)
    try:
        if not _ggml("ggml_backend_supports_op", ctypes.c_bool)(_pointer(backend), _pointer(operation)):
            raise RuntimeError("the plugin does not take the operation")
        graph = _ggml("ggml_new_graph", ctypes.c_void_p)(_pointer(context))
        _ggml("ggml_build_forward_expand")(_pointer(graph), _pointer(operation))
        if _ggml("ggml_backend_graph_compute", ctypes.c_int)(_pointer(backend), _pointer(graph)):
            raise RuntimeError("the plugin does not compute the operation")
    finally:
        _ggml("ggml_backend_free")(_pointer(backend))


def trials() -> Iterator[tuple[Sizes, Mask]]:
    """Operations of each sort that there is."""
    latent = Sizes(keys=128, values=96, heads=6, groups=1, shared=True)
    cells = np.arange(768)
    yield latent, decoding(20, 512, 8)[None]
    yield latent, (cells[None] <= np.arange(100, 140)[:, None])[None]
    yield latent, (cells[None, None, :] < np.array([700, 65, 64, 1])[:, None, None])
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
        off = float(np.abs(attended(plugin, sizes, mask) - expected(sizes, mask)).max())
        if not off < CLOSE:
            raise SystemExit(f"error: what it computes is off by {off:g} for {sizes}")


if __name__ == "__main__":
    main(sys.argv[1])
