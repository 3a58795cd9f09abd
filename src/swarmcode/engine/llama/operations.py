"""Single operations of ggml, built by hand and computed by a plugin: what `proof.py` proves it with."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.llama.attention import Kernel
from swarmcode.engine.llama.library import lib

F32, F16, Q8_0, I32, I64 = 0, 1, 8, 26, 27  # ggml_type
_SPARE = 1 << 20  # bytes beside those of the tensors


class NotTaken(Exception):
    """The plugin leaves the operation to others."""


@contextmanager
def context(size: int) -> Iterator[ctypes.c_void_p]:
    """Memory for tensors of so many bytes."""
    made = pointer(ggml("ggml_init", ctypes.c_void_p)(_Room(size + _SPARE, None, False)))
    try:
        yield made
    finally:
        ggml("ggml_free")(made)


class _Room(ctypes.Structure):
    """`ggml_init_params`."""

    _fields_ = (("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


def ggml(name: str, result: Any = None) -> Callable[..., Any]:
    """A function of ggml; its arguments come typed."""
    function = lib._lib[name]
    function.restype = result
    return function  # type: ignore[no-any-return]


def pointer(address: int | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(address)


def tensor(room: ctypes.c_void_p, kind: int, data: NDArray[Any], length: int = 0) -> ctypes.c_void_p:
    """With the data of an array of up to four dimensions; `length`: numbers in a row, if not those of the array."""
    lengths = [ctypes.c_int64(n) for n in (*reversed(data.shape), *[1] * (4 - data.ndim))]
    lengths[0] = ctypes.c_int64(length or data.shape[-1])
    made = pointer(ggml("ggml_new_tensor_4d", ctypes.c_void_p)(room, ctypes.c_int(kind), *lengths))
    numbers(made, data.shape, data.dtype)[...] = data
    return made


def numbers(of: ctypes.c_void_p, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """The memory of a tensor."""
    address = ggml("ggml_get_data", ctypes.c_void_p)(of)
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype=kind).reshape(shape)


def computed(
    plugin: Kernel,
    room: ctypes.c_void_p,
    operation: ctypes.c_void_p,
    shape: tuple[int, ...],
    threads: int,
    kind: Any = np.float32,
) -> NDArray[Any]:
    """What an operation gives, in numbers of a kind. Raises `NotTaken`."""
    device = ggml("ggml_backend_reg_dev_get", ctypes.c_void_p)(pointer(plugin.registry), ctypes.c_size_t(0))
    backend = ggml("ggml_backend_dev_init", ctypes.c_void_p)(pointer(device), None)
    found = ggml("ggml_backend_reg_get_proc_address", ctypes.c_void_p)
    set_threads = found(pointer(plugin.registry), b"ggml_backend_set_n_threads")
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)(set_threads)(backend, threads)
    try:
        if not ggml("ggml_backend_supports_op", ctypes.c_bool)(pointer(backend), operation):
            raise NotTaken
        graph = ggml("ggml_new_graph", ctypes.c_void_p)(room)
        ggml("ggml_build_forward_expand")(pointer(graph), operation)
        if ggml("ggml_backend_graph_compute", ctypes.c_int)(pointer(backend), pointer(graph)):
            raise RuntimeError("the plugin does not compute the operation")
        return numbers(operation, shape, kind).copy()
    finally:
        ggml("ggml_backend_free")(pointer(backend))
