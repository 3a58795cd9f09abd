"""Tables on the terminal, and the numbers in them as people read them."""

from collections.abc import Sequence

from swarmcode.cli.output import answer
from swarmcode.report.terminal import one_line

LONGEST_CELL = 4096
"""Characters: that of a path."""


def show_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Prints the rows. Columns are as wide as they must be; the last is free, and so is the last cell of a row that is
    shorter."""
    shown = [tuple(one_line(cell, LONGEST_CELL) for cell in row) for row in rows]
    whole = [row for row in shown if len(row) == len(shown[0])]
    widths = [max(len(row[column]) for row in whole) for column in range(len(shown[0]))]
    widths[1] = max(len(row[1]) for row in shown) if len(widths) > 2 else widths[1]
    for row in shown:
        cells = [cell if at == len(row) - 1 else cell.ljust(widths[at]) for at, cell in enumerate(row)]
        answer("  ".join(cells).rstrip())


def short_count(number: int) -> str:
    """`1.0T`, `32B`, `12M`."""
    for unit, one in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= one:
            return f"{number / one:.3g}{unit}"
    return str(number)


def byte_size(number: float) -> str:
    """`13.1 MB`: powers of a thousand, as publishers count."""
    for unit, one in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= one:
            return f"{number / one:.1f} {unit}"
    return f"{number:.0f} B"
