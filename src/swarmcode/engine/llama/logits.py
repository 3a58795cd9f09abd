"""The logits of a step, where llama.cpp left them: no row is looked at before it is needed."""

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

from swarmcode.engine.sampling import Floats


class Logits(Sequence[Floats]):
    """Rows of shape (vocabulary,), valid as long as what is at their addresses. What is `kept` stays."""

    def __init__(self, vocabulary: int, addresses: Sequence[int], kept: Sequence[object] = ()) -> None:
        self.vocabulary = vocabulary
        self.addresses = addresses
        self._kept = kept
        self._row = ctypes.c_float * vocabulary

    @classmethod
    def of(cls, rows: Sequence[Floats]) -> "Logits":
        """The same rows."""
        rows = [np.ascontiguousarray(row, np.float32) for row in rows]
        return cls(rows[0].size, [row.ctypes.data for row in rows], rows)

    def __len__(self) -> int:
        return len(self.addresses)

    @overload
    def __getitem__(self, index: int) -> Floats: ...
    @overload
    def __getitem__(self, index: slice) -> "Logits": ...
    def __getitem__(self, index: int | slice) -> "Floats | Logits":
        if isinstance(index, slice):
            return Logits(self.vocabulary, self.addresses[index], self._kept)
        memory: Any = self._row.from_address(self.addresses[index])
        row: Floats = np.ndarray((self.vocabulary,), np.float32, memory)
        return row


class Gathered:
    """Collects the logits of a step from the calls in which it is computed."""

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._addresses: dict[int, int] = {}
        self._kept: list[object] = []

    def add(self, rows: Sequence[int], found: Any, *, last: bool) -> None:
        """A call gave the logits of these rows of the step, one behind the other, at the pointer `found`. The next call
        overwrites them, so they are copied unless this is the last one."""
        first, size = ctypes.addressof(found.contents), self._vocabulary * ctypes.sizeof(ctypes.c_float)
        if not last:
            copied = ctypes.create_string_buffer(ctypes.string_at(first, len(rows) * size), len(rows) * size)
            self._kept.append(copied)
            first = ctypes.addressof(copied)
        self._addresses.update(zip(rows, range(first, first + len(rows) * size, size), strict=True))

    def of(self, wanted: Iterable[int]) -> Logits:
        """The logits of these rows of the step, all of which were given."""
        return Logits(self._vocabulary, [self._addresses[row] for row in wanted], self._kept)
