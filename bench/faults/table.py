"""What the trials come to: shares with Wilson intervals, and the tables that are printed."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence

from faults.trial import Trial

WIDTHS = (1, 10, 50, 100, 200, 400)
"""N of pass@N."""


def wilson(hits: int, of: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95% interval of a share (Wilson, 1927), from 0 to 1."""
    if of == 0:
        return 0.0, 1.0
    share, bend = hits / of, z * z / of
    middle = (share + bend / 2) / (1 + bend)
    reach = z * math.sqrt(share * (1 - share) / of + bend / (4 * of)) / (1 + bend)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def within(trials: Sequence[Trial], tried: int) -> float:
    """pass@N: the share that was solved by one of the first `tried` candidates."""
    return sum(trial.solved and trial.rank is not None and trial.rank <= tried for trial in trials) / len(trials)


def tables(trials: Sequence[Trial]) -> Iterator[str]:
    """The lines of the report; trials in which no test failed count nowhere but in their own line."""
    counted = [trial for trial in trials if trial.counts]
    if len(counted) < len(trials):
        yield f"{len(trials) - len(counted)} of {len(trials)} not counted: here, no test notices them, or none runs"
    if not counted:
        return
    yield from _rows("package", counted, lambda trial: f"{trial.package} ({trial.use})")
    yield from _rows("kind", counted, lambda trial: trial.kind)
    yield from _rows("made by", counted, lambda trial: trial.by)
    yield from _totals(counted)


def _rows(name: str, trials: Sequence[Trial], key: Callable[[Trial], str]) -> Iterator[str]:
    yield f"\n{name:26}{'solved':>10}{'share':>8}{'median s':>10}{'tried':>8}"
    for each in sorted({key(trial) for trial in trials}):
        group = [trial for trial in trials if key(trial) == each]
        solved = [trial for trial in group if trial.solved]
        share = f"{len(solved)} of {len(group)}"
        seconds = _median(trial.seconds for trial in solved)
        yield f"{each:26}{share:>10}{len(solved) / len(group):8.0%}{seconds:>10}{_median(t.tried for t in group):>8}"


def _totals(trials: Sequence[Trial]) -> Iterator[str]:
    solved = [trial for trial in trials if trial.solved]
    low, high = wilson(len(solved), len(trials))
    yield f"\nsolved: {len(solved)} of {len(trials)}, {len(solved) / len(trials):.1%} (95%: {low:.1%} to {high:.1%})"
    yield f"of these, {sum(trial.restored for trial in solved)} restore the original line exactly"
    yield f"median seconds of the solved: {_median(trial.seconds for trial in solved)}"
    yield f"median candidates tried: {_median(trial.tried for trial in trials)}"
    yield f"mean@1: {within(trials, 1):.1%}"
    yield "pass@N: " + ", ".join(f"{width}: {within(trials, width):.1%}" for width in WIDTHS)
    if failed := [trial for trial in trials if trial.exit_code not in (0, 1)]:
        codes = sorted({str(trial.exit_code) for trial in failed})
        yield f"{len(failed)} runs ended neither with 0 nor with 1 but {', '.join(codes)}: counted as unsolved"


def _median(values: Iterable[float]) -> str:
    found = list(values)
    return f"{statistics.median(found):.1f}" if found else "-"
