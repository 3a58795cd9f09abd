"""What one engine did with some work, once."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run. What an engine does not tell is None."""

    seconds: float
    """From the first question to the last token; loading the model is not in it."""
    cpu: float
    """Seconds of processor time in the engine's process."""
    peak: float
    """Most memory that the process ever held, in MiB, the model's mapped file included."""
    generated: int
    prefilled: int | None = None
    """Prompt tokens computed."""
    waits: tuple[float, ...] = ()
    """Seconds from each question to its first token."""
    rate: float | None = None
    """Tokens a second while all sequences decode."""
    python: float | None = None
    """Share of the time that was spent outside llama.cpp."""
    variant: str = ""
    """Which of the engine's settings this was."""


def median(outcomes: Sequence[Outcome], field: Callable[[Outcome], float | None]) -> float | None:
    """Over the runs that know it; None: none does."""
    known = [value for value in map(field, outcomes) if value is not None]
    return statistics.median(known) if known else None


def quantile(waits: Sequence[float], share: float) -> float | None:
    """The wait that `share` of all do not exceed (nearest rank)."""
    if not waits:
        return None
    rank = math.ceil(round(share * len(waits), 9))
    return sorted(waits)[max(0, rank - 1)]
