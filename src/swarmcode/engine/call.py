"""The columns of one call of llama.cpp: rows of a step in the order in which it wants them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.step import Step


@dataclass(frozen=True, slots=True)
class Call:
    """What is computed together. All columns have the same length."""

    tokens: NDArray[np.int32]
    positions: NDArray[np.int32]
    ids: NDArray[np.int32]
    """llama.cpp's sequence ids."""
    wanted: NDArray[np.int8]
    """1 where logits are wanted."""
    rows: NDArray[np.intp]
    """Which row of the step each is."""

    @classmethod
    def of(cls, step: Step, ids: Sequence[int], *, sort: bool = True) -> "Call":
        """All rows of a step; `ids` are those of its rows. Unless they are sorted, those of a sequence need not be side
        by side."""
        places = np.array(ids, np.int32)
        wanted = np.zeros(places.size, np.int8)
        wanted[[read.row for read in step.reads]] = 1
        tokens, positions = np.array(step.tokens, np.int32), np.array(step.positions, np.int32)
        if not sort:
            return cls(tokens, positions, places, wanted, np.arange(places.size))
        order = np.argsort(places, kind="stable")
        return cls(tokens[order], positions[order], places[order], wanted[order], order)

    def by_count(self) -> list["Call"]:
        """In parts of sequences that have equally many tokens here, those with one token last."""
        counts = np.bincount(self.ids)[self.ids]
        return [self.part(counts == count) for count in np.unique(counts)[::-1]]

    def part(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Call":
        """Some of the rows."""
        return Call(
            self.tokens[chosen], self.positions[chosen], self.ids[chosen], self.wanted[chosen], self.rows[chosen]
        )
