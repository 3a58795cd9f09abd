"""CSV as spreadsheets write it, with the line number in every error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

QUOTE = '"'


class CsvError(ValueError):
    """Text that is no CSV."""


def sniff(text: str) -> str:
    """The likeliest delimiter: the one that occurs most often in the first line."""
    first = text.split("\n", 1)[0]
    return max(",;\t|", key=first.count)


def read_csv(text: str, delimiter: str = ",") -> list[list[str]]:
    """Rows of cells. Quoted cells may hold delimiters, doubled quotes and line ends; blank lines are skipped."""
    rows: list[list[str]] = []
    row: list[str] = []
    cell: list[str] = []
    quoted = was_quoted = False
    line = 1
    text = text.replace("\r\n", "\n")
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if quoted:
            if char != QUOTE:
                cell.append(char)
                line += char == "\n"
            elif text[position : position + 1] == QUOTE:
                cell.append(QUOTE)
                position += 1
            else:
                quoted = False
        elif char == QUOTE and not cell and not was_quoted:
            quoted = was_quoted = True
        elif char == delimiter:
            row.append("".join(cell))
            cell, was_quoted = [], False
        elif char == "\n":
            if row or cell or was_quoted:
                rows.append([*row, "".join(cell)])
            row, cell, was_quoted = [], [], False
            line += 1
        elif was_quoted:
            raise CsvError(f"line {line}: {char!r} after a closing quote")
        else:
            cell.append(char)
    if quoted:
        raise CsvError(f"line {line}: a quote is never closed")
    if row or cell or was_quoted:
        rows.append([*row, "".join(cell)])
    return rows


def write_csv(rows: Iterable[Sequence[object]], delimiter: str = ",") -> str:
    """The text of rows; cells are quoted only where they must be."""
    lines = []
    for row in rows:
        lines.append(delimiter.join(_cell("" if cell is None else str(cell), delimiter) for cell in row))
    return "".join(line + "\n" for line in lines)


def _cell(text: str, delimiter: str) -> str:
    if any(char in text for char in (delimiter, QUOTE, "\n")):
        return QUOTE + text.replace(QUOTE, QUOTE * 2) + QUOTE
    return text
