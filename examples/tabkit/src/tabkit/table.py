"""Plain text tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

ELLIPSIS = "…"


def fit(text: str, width: int) -> str:
    """Shortens text to a width, marking what was cut."""
    if width < 1:
        raise ValueError("a column is at least one character wide")
    text = " ".join(text.split())
    if len(text) >= width:
        return text[: width - 1] + ELLIPSIS
    return text


def is_number(text: str) -> bool:
    """Whether a cell should be aligned like a number: ``-1,234.5``, ``12 %``."""
    stripped = text.strip().rstrip("%").replace(",", "").strip()
    if not stripped:
        return False
    try:
        float(stripped)
    except ValueError:
        return False
    return True


@dataclass
class Column:
    """A heading and how its cells are set."""

    heading: str
    align: str = "auto"
    max_width: int = 40

    def __post_init__(self) -> None:
        if self.align not in ("auto", "left", "right"):
            raise ValueError(f"unknown alignment {self.align!r}: use auto, left or right")


@dataclass
class Table:
    """Columns and rows of text. Short rows are filled up, long ones are an error."""

    columns: list[Column]
    rows: list[list[str]] = field(default_factory=list)

    @classmethod
    def of(cls, headings: Iterable[str], rows: Iterable[Sequence[object]] = (), max_width: int = 40) -> Table:
        table = cls([Column(heading, max_width=max_width) for heading in headings])
        for row in rows:
            table.add(row)
        return table

    def add(self, cells: Sequence[object]) -> None:
        if len(cells) > len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        texts = ["" if cell is None else str(cell) for cell in cells]
        self.rows.append(texts + [""] * (len(self.columns) - len(texts)))

    def sort(self, heading: str, reverse: bool = False) -> None:
        """Sorts rows by a column, numbers by value and after text."""
        index = [column.heading for column in self.columns].index(heading)

        def key(row: list[str]) -> tuple[bool, float, str]:
            cell = row[index]
            number = is_number(cell)
            return (number, float(cell.strip(" %").replace(",", "")) if number else 0.0, cell)

        self.rows.sort(key=key, reverse=reverse)

    def _aligned_right(self, index: int) -> bool:
        column = self.columns[index]
        if column.align != "auto":
            return column.align == "right"
        filled = [row[index] for row in self.rows if row[index]]
        return bool(filled) and all(is_number(cell) for cell in filled)

    def lines(self, gap: str = "  ") -> list[str]:
        """Heading, rule and rows, without trailing blanks."""
        set_columns = []
        for index, column in enumerate(self.columns):
            cells = [fit(cell, column.max_width) for cell in [column.heading, *(row[index] for row in self.rows)]]
            width = max(len(cell) for cell in cells)
            right = self._aligned_right(index)
            padded = [cell.rjust(width) if right else cell.ljust(width) for cell in cells]
            set_columns.append([padded[0], "-" * width, *padded[1:]])
        return [gap.join(cells).rstrip() for cells in zip(*set_columns)]

    def __str__(self) -> str:
        return "\n".join(self.lines())
