"""The columns of one call of llama.cpp: rows of a step in the order in which it wants them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.step import Step

Column = Sequence[int] | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """What is computed together. All columns have the same length."""

    tokens: Column
    positions: Column
    ids: Column
    """llama.cpp's sequence ids."""
    wanted: Column
    """1 where logits are wanted."""
    rows: Column
    """Which row of the step each is."""

    @classmethod
    def whole(cls, step: Step) -> "Call":
        """All rows of a step as they are; seats are sequence ids."""
        wanted = [0] * len(step.tokens)
        for read in step.reads:
            wanted[read.row] = 1
        return cls(step.tokens, step.positions, step.seats, wanted, range(len(wanted)))

    @classmethod
    def of(cls, step: Step, ids: Sequence[int]) -> "Call":
        """All rows of a step by ascending id; `ids` are those of its rows."""
        places = np.array(ids, np.int32)
        wanted = np.zeros(places.size, np.int8)
        wanted[[read.row for read in step.reads]] = 1
        tokens, positions = np.array(step.tokens, np.int32), np.array(step.positions, np.int32)
        order = np.argsort(places, kind="stable")
        return cls(tokens[order], positions[order], places[order], wanted[order], order)

    def reads(self) -> list[int]:
        """Which rows of the step logits are wanted of, in the order of the call."""
        return list(compress(self.rows, self.wanted))

    def by_count(self) -> list["Call"]:
        """In parts of sequences that have equally many tokens here, those with one token last."""
        ids = np.asarray(self.ids)
        counts = np.bincount(ids)[ids]
        return [self.part(counts == count) for count in np.unique(counts)[::-1]]

    def part(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Call":
        """Some of the rows."""
        columns = (self.tokens, self.positions, self.ids, self.wanted, self.rows)
        return Call(*(np.asarray(column)[chosen] for column in columns))
