"""Whether an edit makes sense in its function: what it mends and what it breaks there, before any test runs.

A small model sees a window of a function, and some of its answers name what nothing binds or leave a parameter that
nothing reads; a person would see at a glance that they cannot be right. Python alone; of other languages nothing is
said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarmcode.agent.flaws import FLAWS, Flaw, Found, Module, around, flaws, module
from swarmcode.syntax import language_of

MOST = 2
"""Flaws of a kind that count."""
LONGEST = 500
"""Lines of a function that is looked at: half a millisecond for 20 of them, for each edit."""


@dataclass(frozen=True, slots=True)
class Weight:
    """Nats that an edit costs for each flaw that it makes, and gains for each that it mends."""

    made: float
    mended: float


WEIGHTS: Mapping[Flaw, Weight] = {
    "unbound": Weight(1.1, 1.8),
    "idle variable": Weight(1.1, 1.6),
    "idle parameter": Weight(1.0, 1.5),
    "unreachable": Weight(0.9, 1.5),
    "call": Weight(0.8, 0.6),
    "attribute": Weight(0.2, 0.0),
    "nothing": Weight(0.6, 0.8),
}
"""About the mean of two fits to faults in training projects (`bench/calibrate.py`); of seldom flaws they vary much."""
MOST_MENDED = WEIGHTS["unbound"].mended + WEIGHTS["idle variable"].mended
"""Nats that an edit gains at most, but for the seldom one that mends still more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sense:
    """A line in its function."""

    number: int
    """Of the line in the file, from 1."""
    rows: tuple[str, ...]
    """Of the function, as they stand in the file."""
    row: int
    """Index of the line among them."""
    module: Module
    found: Found
    """What is wrong with the function as it is."""

    def home(self, text: str) -> str:
        """The class of the function, out of the file's text; empty where it has none."""
        span = around(self.module.classes, self.number)
        return "\n".join(text.split("\n")[span[0] - 1 : span[1]]) if span else ""

    def changes(self, lines: Sequence[str]) -> Mapping[Flaw, int] | None:
        """How many flaws of each kind more there are (fewer: below 0) with some lines in place of this one; None where
        that is no Python."""
        text = "\n".join((*self.rows[: self.row], *lines, *self.rows[self.row + 1 :]))
        then = flaws(text, self.module)
        if then is None:
            return None
        return {flaw: more for flaw in FLAWS if (more := then.flaws[flaw] - self.found.flaws[flaw])}

    def cost(self, lines: Sequence[str]) -> float | None:
        """Nats that those lines cost, below 0 where they mend more than they break; None where they are no Python."""
        changes = self.changes(lines)
        return None if changes is None else sum(_cost(WEIGHTS[flaw], more) for flaw, more in changes.items())


def sense(path: str, text: str, number: int) -> Sense | None:
    """Of line `number` of a file; None where it is in no function, or in a very long one, or the file is no Python."""
    within = module(text) if language_of(path) == "python" else None
    span = around(within.functions, number) if within else None
    if within is None or span is None or span[1] - span[0] >= LONGEST:
        return None
    rows = tuple(text.split("\n")[span[0] - 1 : span[1]])
    found = flaws("\n".join(rows), within)
    return None if found is None else Sense(number=number, rows=rows, row=number - span[0], module=within, found=found)


def _cost(weight: Weight, more: int) -> float:
    return weight.made * min(more, MOST) if more > 0 else weight.mended * max(more, -MOST)
