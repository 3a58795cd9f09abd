"""Draws tokens by compiled code: the same rules and the same races as `sampling.draw`, in a fraction of its time.

For a hundred sequences numpy takes a tenth to a quarter of what a small model computes in, and where a vocabulary has
160,000 tokens, tens of milliseconds a step. What needs a mask, penalties or the likeliest tokens is left to numpy.
"""

import ctypes
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from swarmcode.engine.llama.logits import Logits
from swarmcode.engine.sampling import Drawn, Floats, Pick, draw

Native = Callable[..., Any]
"""A function of `native/draw.cpp`."""


class Drawer:
    """Draws in `threads` threads; without compiled code by numpy."""

    def __init__(self, native: Native | None, threads: int) -> None:
        """`native`: `swarmcode_draw`."""
        self.native = native
        self._threads = threads

    def __call__(self, rows: Sequence[Floats], picks: Sequence[Pick]) -> list[Drawn]:
        """As `sampling.draw`."""
        simple = [
            pick.mask is None and not pick.top and not pick.sampling.top_k and pick.penalties is None for pick in picks
        ]
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
        count, addresses = len(picks), logits.addresses
        rows, rules, keys = array("Q", [addresses[pick.row] for pick in picks]), rules_of(picks), keys_of(picks)
        tokens, logprobs = array("i", bytes(4 * count)), array("f", bytes(4 * count))
        native(count, at(rows), at(rules), at(keys), logits.vocabulary, self._threads, at(tokens), at(logprobs))
        return list(map(Drawn, tokens, logprobs))


def rules_of(picks: Sequence[Pick]) -> "array[float]":
    """As the compiled code wants them."""
    found = array("f")
    for pick in picks:
        sampling = pick.sampling
        found.extend((sampling.temperature, sampling.top_p, sampling.min_p))
    return found


def keys_of(picks: Sequence[Pick]) -> "array[int]":
    """As the compiled code wants them."""
    return array("Q", [pick.key for pick in picks])


def at(numbers: "array[int] | array[float]") -> ctypes.c_void_p:
    """Where they are."""
    return ctypes.c_void_p(numbers.buffer_info()[0])
