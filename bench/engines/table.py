"""Prints what was measured. Pure."""

from collections.abc import Sequence

from engines.contest import Result
from engines.outcome import Outcome, median, quantile
from engines.shapes import Shape

HEAD = (
    f"{'work':<24}{'swarmcode':>16}{'CPU s':>8}  {'peer':<28}{'':>16}{'CPU s':>8}{'by CPU':>8}{'ratio':>8}{'goal':>7}"
)


def work(shape: Shape) -> str:
    """The sizes, in words."""
    turns = f", {shape.turns} turns with {shape.told[0]}-{shape.told[1]} told" if shape.turns > 1 else ""
    return f"{shape.agents} x ({shape.shared:,} shared + {shape.own:,} own), {shape.generated} generated{turns}"


def line(result: Result) -> str:
    """A row of the table."""
    rate = result.row.rate
    ratio, least, goal = result.ratio, result.least, result.row.goal
    times = _number(ratio, 2) if least is None else f">{least:.1f}"
    told = f"{_number(result.cpu_ratio, 2):>8}{times:>8}{goal:>7.1f}"
    ours = f"{_worth(result.ours, rate):>16}{_number(median(result.ours, lambda one: one.cpu), 1):>8}"
    cpu = None if rate else median(result.peer, lambda one: one.cpu)
    took = _worth(result.peer, rate) if least is None else f"over {result.stopped:.0f} s"
    peer = f"{result.name:<28}{took:>16}{_number(cpu, 1):>8}"
    reached = "  yes" if max(ratio or 0.0, least or 0.0) >= goal else "  NO" if ratio is not None else ""
    return f"{result.row.title:<24}{ours}  {peer}{told}{reached}"


def _worth(outcomes: Sequence[Outcome], rate: bool) -> str:
    """The median, and how far the runs lie apart."""
    values = [value for one in outcomes if (value := one.rate if rate else one.seconds) is not None]
    if not values:
        return "-"
    middle = median(outcomes, lambda one: one.rate if rate else one.seconds)
    spread = f" ±{(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
    return f"{middle:.1f}{' t/s' if rate else ' s'}{spread}"


DETAIL = f"{'':<24}{'':<28}{'computed':>10}{'generated':>10}{'first p50':>11}{'p99':>8}{'peak MiB':>10}{'Python':>8}"


def details(result: Result) -> list[str]:
    """What else was measured, a line for each engine."""
    rows = [(result.row.ours.name, result.ours), (result.name, result.peer)]
    rows += [(f"{name}: {one.seconds:.1f} s", (one,)) for name, one in result.beside]
    title = result.row.title
    lines = []
    for name, outcomes in rows:
        if outcomes:
            lines.append(f"{title:<24}{name:<28}{_detail(outcomes)}")
            title = ""
    return lines + [f"{'':<24}{note}" for note in result.notes]


def _detail(outcomes: Sequence[Outcome]) -> str:
    computed = median(outcomes, lambda one: one.prefilled)
    generated = median(outcomes, lambda one: one.generated)
    middle, late = (median(outcomes, lambda one, at=at: quantile(one.waits, at)) for at in (0.5, 0.99))
    python = median(outcomes, lambda one: one.python)
    share = f"{python:>8.1%}" if python is not None else f"{'-':>8}"
    peak = median(outcomes, lambda one: one.peak)
    return (
        f"{_number(computed):>10}{_number(generated):>10}{_number(middle, 2):>11}{_number(late, 2):>8}"
        f"{_number(peak):>10}{share}"
    )


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
