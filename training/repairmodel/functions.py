"""Python source -> the functions that the model sees: dedented, without docstrings, comments and blank lines."""

import ast
import hashlib
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LINES = 60
MIN_LINES = 2
MAX_CHARACTERS = 2400


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A usable function of a file."""

    name: str
    """Qualified."""
    text: str
    """Cleaned."""
    start: int
    """Row of its `def` in the file, from 0."""
    end: int
    """Row behind its last one."""
    indent: int
    """Columns that dedenting took away."""


def functions(source: str) -> Iterator[Function]:
    """Each usable function; nested functions stay inside theirs. Raises SyntaxError and ValueError."""
    tree = ast.parse(source)
    lines = source.split("\n")
    for node, prefix in _walk(tree.body, ""):
        start, end = node.lineno - 1, node.end_lineno or node.lineno
        text = clean("\n".join(lines[start:end]), node)
        if text and MIN_LINES <= text.count("\n") + 1 <= MAX_LINES and len(text) <= MAX_CHARACTERS and text.isascii():
            yield Function(name=prefix + node.name, text=text, start=start, end=end, indent=node.col_offset)


def _walk(body: list[ast.stmt], prefix: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, prefix
        elif isinstance(node, ast.ClassDef):
            yield from _walk(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try):
            yield from _walk(node.body, prefix)


def clean(text: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    """The text without docstrings, comments and blank lines; None where a multi-line string or tabs forbid it."""
    if "\t" in text:
        return None
    drop: set[int] = set()
    for inner in ast.walk(node):
        if (
            isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and ast.get_docstring(inner, clean=False) is not None
        ):
            doc = inner.body[0]
            if len(inner.body) == 1:
                return None
            drop.update(range(doc.lineno - node.lineno, (doc.end_lineno or doc.lineno) - node.lineno + 1))
    rows = textwrap.dedent(text).split("\n")
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(rows)).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                rows[row - 1] = rows[row - 1][:column]
            elif token.type == tokenize.STRING and token.start[0] != token.end[0] and token.start[0] - 1 not in drop:
                return None
    except (tokenize.TokenError, IndentationError):
        return None
    kept = [row.rstrip() for number, row in enumerate(rows) if number not in drop and row.strip()]
    return "\n".join(kept) or None


def fingerprint(text: str) -> str:
    """Equal for functions that differ only in spaces, literals' values and quotes."""
    return hashlib.sha1(re.sub(r"\s+|'[^']*'|\"[^\"]*\"|\d+", "", text).encode()).hexdigest()[:16]
