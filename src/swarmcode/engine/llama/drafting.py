"""Guesses by compiled code: those of `draft.Drafter`, in a fraction of its time, and also within a stride."""

import ctypes
from array import array
from collections.abc import Sequence
from typing import Any

from swarmcode.engine.draft import DEPTHS
from swarmcode.engine.llama.drawing import at


class NativeDrafter:
    """Implements `draft.Drafting`."""

    def __init__(self, plugin: ctypes.CDLL, prompt: Sequence[int]) -> None:
        make: Any = plugin.swarmcode_drafter
        make.restype = ctypes.c_void_p
        tokens = array("I", prompt)
        self._plugin = plugin
        self.handle = ctypes.c_void_p(make(at(tokens), len(tokens)))
        """For strides."""

    def __del__(self) -> None:
        self._plugin.swarmcode_drafter_free(self.handle)

    @property
    def length(self) -> int:
        """As in `draft.Drafting`."""
        return int(self._plugin.swarmcode_drafter_length(self.handle))

    def extend(self, tokens: Sequence[int]) -> None:
        """As in `draft.Drafting`."""
        if tokens:
            more = array("I", tokens)
            self._plugin.swarmcode_drafter_extend(self.handle, at(more), len(more))

    def propose(self, costs: "array[float]") -> list[int]:
        """As in `draft.Drafting`."""
        found = array("I", bytes(4 * DEPTHS[0]))
        count = self._plugin.swarmcode_drafter_propose(self.handle, at(costs), at(found))
        return found[:count].tolist()
