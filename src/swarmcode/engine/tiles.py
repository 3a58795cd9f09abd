"""In how many calls a step over one pool of cells is computed fastest.

llama.cpp's flash attention on a CPU computes fewer than 64 rows one by one, each with the cells of its own sequence
alone. From 64 rows on it computes tiles of 64 rows by 64 cells, all that any of those rows needs: cheap for what the
rows share, and up to 64 times too much for what they do not. So where a hundred sequences decode behind a short head,
or share nothing, two calls of fifty rows are faster than one of a hundred; behind a long head the one call is.

Pure. An estimate, from which the numbers of calls follow and nothing else: the answers are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarmcode.engine.call import Call

TILE = 64
"""Rows, and cells."""
_CHEAPER = 3.7
"""Times that a (row, cell) pair in a tile is cheaper than one by itself; measured with AVX-512."""
_MANY = 16
"""Rows of one sequence that are worth tiles in any case: the piece of a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of a model on a CPU, in seconds, roughly."""

    call: float
    """Of one more call: what is read and started again."""
    pair: float
    """Of a row with one cell by itself, over all layers."""

    @classmethod
    def of(cls, size: int, cell_bytes: int) -> "Cost":
        """Of a model whose files have `size` bytes and whose cells have `cell_bytes`: some of the weights are read
        again, at 10 GB/s; and attention, measured with four heads to each that is stored."""
        return cls(call=1e-3 + 0.3 * size / 10e9, pair=1e-9 * cell_bytes)


def split(call: Call, cells: int, cost: Cost) -> Sequence[Call]:
    """The call, or its parts in order, sequences that decode last. `cells`: how many its sequences hold, shared ones
    counted once."""
    if len(call.rows) < TILE:
        return [call]
    _, first, rows = np.unique(call.ids, return_index=True, return_counts=True)
    lengths = np.asarray(call.positions)[first + rows - 1] + 1
    shared = (lengths.sum() - cells) / (rows.size - 1) if rows.size > 1 else float(cells)
    own = np.maximum(lengths - shared, 0)
    few = rows < _MANY

    def tiled(chosen: np.typing.NDArray[np.bool_]) -> float:
        """Pairs, for some of the sequences together."""
        tiles = np.ceil(rows[chosen].sum() / TILE)
        return float(TILE * (tiles * shared + (own[chosen] * np.maximum(1, rows[chosen] / TILE)).sum()))

    singly = int((rows * lengths)[few].sum())
    parts = int(-(-rows[few].sum() // (TILE - 1)))
    more = parts if not few.all() else parts - 1
    saved = (tiled(np.ones_like(few)) - tiled(~few)) / _CHEAPER - singly
    if saved * cost.pair <= more * cost.call:
        return [call]
    narrow = np.repeat(few, rows)
    pieces = np.array_split(np.flatnonzero(narrow), parts)
    return [*([call.part(~narrow)] if not few.all() else []), *(call.part(piece) for piece in pieces)]
