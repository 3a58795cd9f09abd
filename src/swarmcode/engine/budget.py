"""How much of a context memory affords, and how it is laid out: the arithmetic, without llama.cpp.

Pure. What opens a model and what tells a person beforehand whether it will fit go by the same numbers.
"""

from dataclasses import dataclass, replace
from typing import Literal

from swarmcode.engine.step import Capacity

Layout = Literal["streams", "flash", "unified"]
"""How sequences lie in the KV cache; `llama/backend.py` says what each is."""

STREAM_CONTEXT = 640
"""Longest context, in tokens, for which `streams` is chosen where answers are to be exact."""
FLASH_CONTEXT = 4096
"""Longest context, in tokens, for which `flash` is chosen. On a CPU, a hundred sequences that share nothing are several
times faster that way, and those with 64 tokens of their own no slower behind heads of up to some two thousand."""
FLASH_SHARE = 4
"""Of the memory for a context, `flash` may take this part: whatever is shared lies there once for each sequence."""
MAX_SEATS = 255
"""Sequence ids that llama.cpp can tell apart, less one."""
SPARE_SEATS = 28
"""Seats of `flash` that only keep prefixes, beside those that run: each takes as much memory as one that runs."""
PRIVATE_CELLS = 2048
"""Cells that each agent can have for itself where memory allows."""
CHUNK = 512
"""Tokens in a step. More gains nothing on a CPU, and makes decoding wait longer behind prompts."""
READS = 64
"""Rows of logits in a step that are always possible, so that a few sequences can have guessed tokens."""
LEAST_CONTEXT = 512
"""A context that is shorter for want of memory is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked of a model."""

    agents: int
    """Sequences that are computed at once: 1 to `MAX_SEATS`."""
    context: int
    """Longest sequence, in tokens."""
    cells: int = 0
    """Tokens that a `unified` cache holds; 0: the context and some thousand for each agent."""
    sharing: bool = True
    """Whether a part of a sequence can be copied and cut off; recurrent models cannot."""
    layout: Layout | None = None
    """None: by the context and by memory."""
    cpu: bool = True
    """Whether a CPU computes it all."""
    pooled: bool = False
    """Whether attention is computed tile by tile, for all who share one (`llama/attention.py`): then one pool of cells
    is as fast as streams."""
    exact: bool = True
    """Whether short sequences are to be computed as if they were alone, to the last bit, at the price of some speed."""

    def settled(self, room: int) -> "Wish":
        """With the layout that is chosen where `room` tokens are affordable."""
        brief = self.exact and self.context <= STREAM_CONTEXT
        if self.pooled and not brief:
            return self if self.layout else replace(self, layout="unified")
        roomy = (self.agents + SPARE_SEATS) * self.context <= room // FLASH_SHARE
        flash = self.sharing and self.cpu and not brief and self.context <= FLASH_CONTEXT and roomy
        return self if self.layout or not flash else replace(self, layout="flash")

    @property
    def laid_out(self) -> Layout:
        """The layout, where memory says nothing else."""
        return self.layout or ("streams" if self.sharing and self.context <= STREAM_CONTEXT else "unified")

    @property
    def pool(self) -> int:
        """Tokens that the cache must hold so that nothing is cut for want of memory; no spare seats counted."""
        if self.laid_out != "unified":
            return self.agents * self.context
        return self.cells or self.context + self.agents * min(PRIVATE_CELLS, self.context)


def affordable(memory: int, weights: int, cell_bytes: int) -> int:
    """Tokens that fit into half of the `memory` that the weights leave (all three in bytes); may be negative."""
    return (memory - weights) // 2 // cell_bytes


def capacity(wish: Wish, room: int) -> Capacity | None:
    """As much as was asked for, as far as `room` tokens allow; None where that is too little to be of use."""
    if room < min(wish.context, LEAST_CONTEXT):
        return None
    wish = wish.settled(room)
    # Where a seat costs little or nothing, there are many: a search that asks about two hundred lines reads none twice.
    seats = min(MAX_SEATS, wish.agents + SPARE_SEATS) if wish.laid_out == "flash" else MAX_SEATS
    if wish.laid_out != "unified":
        seats = max(wish.agents, min(seats, room // wish.context))
        cells = seats * wish.context
    else:
        cells = min(wish.pool, room)
    return Capacity(
        running=wish.agents,
        seats=seats,
        cells=cells,
        context=min(wish.context, cells),
        chunk=max(CHUNK, wish.agents + 2),
        sharing=wish.sharing,
        exact=wish.laid_out == "streams",
        reads=max(seats, READS),
    )


def allocated(capacity: Capacity, layout: Layout) -> int:
    """Tokens for which memory is taken: streams have one more, for a companion."""
    return capacity.cells + (layout == "streams") * capacity.context
