"""What `llama_decode` is given."""

import ctypes

import numpy as np

from swarmcode.engine.call import Call
from swarmcode.engine.llama.library import lib


class Batch:
    """The arrays that llama.cpp reads a step from."""

    def __init__(self, size: int) -> None:
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._ids = np.zeros(size, np.int32)
        self._counts = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        integers = ctypes.POINTER(ctypes.c_int32)
        first = self._ids.ctypes.data
        self._id_pointers = (integers * size)(
            *(ctypes.cast(first + index * self._ids.itemsize, integers) for index in range(size))
        )
        self.struct = lib.llama_batch(
            0,
            self._tokens.ctypes.data_as(integers),
            None,
            self._positions.ctypes.data_as(integers),
            self._counts.ctypes.data_as(integers),
            self._id_pointers,
            self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, call: Call) -> None:
        """Puts the call in."""
        count = len(call.rows)
        self._tokens[:count] = call.tokens
        self._positions[:count] = call.positions
        self._ids[:count] = call.ids
        self._wanted[:count] = call.wanted
        self.struct.n_tokens = count
