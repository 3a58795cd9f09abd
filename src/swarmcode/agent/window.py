"""What a small model sees of a file: one line, and the code lines around it, within its function.

Comments, docstrings and blank lines are left out and the function is dedented, as in the model's training data; a new
line is put back with the indentation and the trailing comment of the old one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tree_sitter import Node

from swarmcode.syntax import parse, walk

_FUNCTIONS = ("function_definition", "function_declaration", "function_item", "method_definition", "method_declaration")
_MORE_FUNCTIONS = ("arrow_function", "function_expression", "constructor_declaration", "method", "singleton_method")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A line with its surroundings."""

    above: tuple[str, ...]
    """Code lines above, the nearest last; where the function begins further up, its first line stands first."""
    headed: bool
    """Whether that is so."""
    line: str
    """The line's code, dedented with its function, without trailing comment and line end."""
    below: tuple[str, ...]
    """Code lines below."""
    number: int
    """Of the line in the file, from 1."""
    indent: str
    """What dedenting took away."""
    trailing: str
    """Space and comment behind the code."""

    def replaced(self, text: str, new: str) -> str:
        """The whole file with the line replaced; a new line without code deletes it, one with newlines adds lines."""
        lines = text.split("\n")
        carriage = "\r" if lines[self.number - 1].endswith("\r") else ""
        lines[self.number - 1 : self.number] = [line + carriage for line in self.lines(new)]
        return "\n".join(lines)

    def lines(self, new: str) -> list[str]:
        """What stands in the file for a new line, without line ends."""
        kept = [self.indent + piece.rstrip() for piece in new.split("\n") if piece.strip()]
        return [*kept[:-1], kept[-1] + self.trailing] if kept else []


def cut(path: str, text: str, number: int, *, before: int = 8, after: int = 5) -> Window | None:
    """The window around line `number`, with so many code lines before and after it; None where that line holds no code,
    or nobody can parse the file.

    Where there are more, up to half of those before are left out, so that windows of neighbouring lines begin alike:
    what they share is computed once.
    """
    source = text.encode()
    tree = parse(path, source)
    lines = text.split("\n")
    if tree is None or not 1 <= number <= len(lines):
        return None
    function = _function_around(tree.root_node, number - 1)
    first, last = (function.start_point.row, function.end_point.row) if function else (0, len(lines) - 1)
    code = code_lines(path, source)
    if number - 1 not in code:
        return None
    indent = _indent(lines[first]) if function else ""
    rows = [row for row in code if first <= row <= last]
    place = rows.index(number - 1)
    stride = max(1, before // 2)
    start = -(-max(0, place - before) // stride) * stride
    above = rows[start:place]
    headed = function is not None and rows[0] < (above[0] if above else rows[place])
    if headed:
        above.insert(0, rows[0])
    below = rows[place + 1 : place + 1 + after]
    suspect = code[number - 1]
    return Window(
        above=tuple(code[row].removeprefix(indent) for row in above),
        headed=headed,
        line=suspect.removeprefix(indent),
        below=tuple(code[row].removeprefix(indent) for row in below),
        number=number,
        indent=indent if suspect.startswith(indent) else "",
        trailing=lines[number - 1].removesuffix("\r")[len(suspect) :],
    )


def _function_around(root: Node, row: int) -> Node | None:
    """The innermost function that holds the row."""
    found: Node | None = None
    node: Node | None = root
    while node is not None:
        if node.type in _FUNCTIONS or node.type in _MORE_FUNCTIONS:
            found = node
        node = next((child for child in node.children if child.start_point.row <= row <= child.end_point.row), None)
    return found


@lru_cache(maxsize=32)
def code_lines(path: str, source: bytes) -> dict[int, str]:
    """Row -> its text without comments and trailing space, for the rows of the file that hold code, in order."""
    tree = parse(path, source)
    rows = source.split(b"\n")
    code = dict(enumerate(rows))
    for node in walk(tree.root_node) if tree else ():
        if "comment" in node.type:
            for row, start, end in _extent(node, rows):
                if end >= len(rows[row].rstrip()):
                    code[row] = code.get(row, b"")[:start]
        elif _is_docstring(node):
            for row, _, _ in _extent(node, rows):
                code.pop(row, None)
    decoded = {row: line.decode(errors="replace").rstrip() for row, line in code.items()}
    return {row: line for row, line in decoded.items() if line}


def _extent(node: Node, rows: list[bytes]) -> Iterator[tuple[int, int, int]]:
    """Row, first and last column of each row that a node covers."""
    start, end = node.start_point, node.end_point
    for row in range(start.row, end.row + 1):
        yield (
            row,
            start.column if row == start.row else 0,
            end.column if row == end.row else len(rows[row]),
        )


def _is_docstring(node: Node) -> bool:
    """A statement that is nothing but a string (grammars differ in whether they wrap it)."""
    if node.type == "expression_statement":
        return node.child_count == 1 and node.children[0].type == "string"
    return node.type == "string" and node.parent is not None and node.parent.type in ("block", "module")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
