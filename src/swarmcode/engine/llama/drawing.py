"""Draws tokens by compiled code: the same rules and the same races as `sampling.draw`, in a fraction of its time.

For a hundred sequences numpy takes a tenth to a quarter of what a small model computes in, and where a vocabulary has
160,000 tokens, tens of milliseconds a step. What needs a mask or the likeliest tokens is left to numpy.
"""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.llama.logits import Logits
from swarmcode.engine.sampling import Drawn, Floats, Pick, draw

Native = Callable[..., None]
"""`swarmcode_draw` of `native/draw.cpp`."""


class Drawer:
    """Draws in `threads` threads; without compiled code by numpy."""

    def __init__(self, native: Native | None, threads: int) -> None:
        self.native = native
        self._threads = threads
        self._space = _Space(64)

    def __call__(self, rows: Sequence[Floats], picks: Sequence[Pick]) -> list[Drawn]:
        """As `sampling.draw`."""
        simple = [pick.mask is None and not pick.top and not pick.sampling.top_k for pick in picks]
        if not self.native or not any(simple):
            return draw(rows, picks)
        logits = rows if isinstance(rows, Logits) else Logits.of(rows)
        if all(simple):
            return self._compiled(self.native, logits, picks)
        mine = [pick for pick, one in zip(picks, simple, strict=True) if one]
        compiled = iter(self._compiled(self.native, logits, mine))
        others = iter(draw(rows, [pick for pick, one in zip(picks, simple, strict=True) if not one]))
        return [next(compiled if one else others) for one in simple]

    def _compiled(self, native: Native, logits: Logits, picks: Sequence[Pick]) -> list[Drawn]:
        count = len(picks)
        if count > self._space.size:
            self._space = _Space(2 * count)
        space = self._space
        addresses = logits.addresses
        space.rows[:count] = [addresses[pick.row] for pick in picks]
        rules = [(pick.sampling.temperature, pick.sampling.top_p, pick.sampling.min_p) for pick in picks]
        space.rules[:count] = rules
        space.keys[:count] = [pick.key for pick in picks]
        native(count, *space.given, logits.vocabulary, self._threads, *space.taken)
        return list(map(Drawn, space.tokens[:count].tolist(), space.logprobs[:count].tolist()))


class _Space:
    """What goes to the compiled code and comes from it, for `size` tokens at most."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rows = np.empty(size, np.uintp)
        self.rules = np.empty((size, 3), np.float32)
        self.keys = np.empty(size, np.uint64)
        self.tokens = np.empty(size, np.int32)
        self.logprobs = np.empty(size, np.float32)
        self.given = _at(self.rows), _at(self.rules), _at(self.keys)
        self.taken = _at(self.tokens), _at(self.logprobs)


def _at(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
