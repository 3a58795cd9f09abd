"""A function as the fault operators see it, and what they make of it: `Edit`, `Fault`.

Text is kept as it was written (a model must cope with people's formatting), so operators change text at the positions
of syntax nodes and never print a tree. Only ASCII functions are used: columns are then both bytes and characters. Nodes
inside f-strings are left out, because their positions are unreliable before Python 3.12.
"""

import ast
import builtins
import keyword
import random
import re
from dataclasses import dataclass
from functools import cached_property

from ..prompt import AFTER_LINES, BEFORE_LINES
from .confused import confusions

BUILTINS = frozenset(dir(builtins))
KNOWN = BUILTINS | {*keyword.kwlist, "self", "cls"}
WORD = re.compile(r"[A-Za-z_]\w*")
INDENT = "    "


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A faulty function and its fix: `lines[:head] + [faulty] + lines[tail:]` is the function as the bug left it."""

    operator: str
    """Name of the operator in the catalogue."""
    head: int
    """Lines before the suspect line."""
    tail: int
    """Index in the correct function of the first line after the suspect line."""
    faulty: str
    """The suspect line."""
    fixed: str
    """What belongs in its place: a line, several joined by newlines, or nothing."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `line[start:stop]` by `new`."""

    line: int
    start: int
    stop: int
    new: str


class Code:
    """A function's lines and syntax tree with the look-ups that operators share.

    Raises SyntaxError for what does not parse and ValueError for what is not one ASCII function.
    """

    def __init__(self, text: str) -> None:
        if not text.isascii():
            raise ValueError("not ASCII")
        self.lines = text.split("\n")
        module = ast.parse(text)
        if len(module.body) != 1 or not isinstance(module.body[0], ast.FunctionDef | ast.AsyncFunctionDef):
            raise ValueError("not one function")
        self.function = module.body[0]
        self.parents: dict[ast.AST, ast.AST] = {}
        self.nodes: list[ast.AST] = []
        self._of: dict[tuple[type, ...], list[ast.expr]] = {}
        self._collect(self.function)

    def _collect(self, node: ast.AST) -> None:
        self.nodes.append(node)
        for child in ast.iter_child_nodes(node):
            if not isinstance(
                child, ast.JoinedStr | ast.expr_context | ast.operator | ast.cmpop | ast.boolop | ast.unaryop
            ):
                self.parents[child] = node
                self._collect(child)
            elif isinstance(child, ast.JoinedStr):
                self.parents[child] = node
                self.nodes.append(child)

    def of(self, *kinds: type) -> list[ast.expr]:
        """Nodes of these kinds that stand on one line, decorators and annotations left out."""
        if kinds not in self._of:
            self._of[kinds] = [node for node in self._active if isinstance(node, kinds)]  # type: ignore[misc]
        return self._of[kinds]

    def single(self, node: ast.AST) -> bool:
        """Whether the node stands on one line."""
        return getattr(node, "lineno", 0) == getattr(node, "end_lineno", -1)

    def passive(self, node: ast.AST) -> bool:
        """Whether the node only annotates or decorates: a fault there seldom changes what a test sees."""
        return node in self._passive

    @cached_property
    def _active(self) -> list[ast.AST]:
        return [node for node in self.nodes if self.single(node) and not self.passive(node)]

    @cached_property
    def _passive(self) -> set[ast.AST]:
        roots: list[ast.AST] = []
        for node in self.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                roots += [*node.decorator_list, *([node.returns] if node.returns else [])]
            elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
                roots.append(node.annotation)
        return {inner for root in roots for inner in ast.walk(root)}

    def text(self, node: ast.AST) -> str:
        """Source of a one-line node."""
        return self.lines[node.lineno - 1][node.col_offset : node.end_col_offset]  # type: ignore[attr-defined]

    def edit(self, node: ast.AST, new: str) -> Edit:
        """Replace a one-line node."""
        return Edit(node.lineno - 1, node.col_offset, node.end_col_offset, new)  # type: ignore[attr-defined]

    def between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> Edit | None:
        """Replace `old` in the text between two nodes of one line, where it occurs once."""
        if left.end_lineno != right.lineno:
            return None
        line = self.lines[right.lineno - 1]
        gap = line[left.end_col_offset : right.col_offset]
        if gap.count(old) != 1:
            return None
        start = left.end_col_offset + gap.index(old)  # type: ignore[operator]
        return Edit(right.lineno - 1, start, start + len(old), new)

    def keyword(self, node: ast.stmt, old: str, new: str) -> Edit | None:
        """Replace the keyword that a statement begins with."""
        line = self.lines[node.lineno - 1]
        if not line.startswith(old, node.col_offset):
            return None
        return Edit(node.lineno - 1, node.col_offset, node.col_offset + len(old), new)

    def indent(self, line: int) -> int:
        """Leading spaces."""
        return len(self.lines[line]) - len(self.lines[line].lstrip(" "))

    @cached_property
    def variables(self) -> list[str]:
        """Parameters and local names, without self and cls, in order of appearance."""
        seen: dict[str, None] = {}
        for node in self.nodes:
            if isinstance(node, ast.arg):
                seen.setdefault(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                seen.setdefault(node.id)
        return [name for name in seen if name not in ("self", "cls", "_")]

    @cached_property
    def attributes(self) -> dict[str, list[str]]:
        """Object text -> attribute names used on it."""
        found: dict[str, dict[str, None]] = {}
        for node in self.of(ast.Attribute):
            found.setdefault(self.text(node.value), {}).setdefault(node.attr)  # type: ignore[attr-defined]
        return {owner: list(names) for owner, names in found.items()}

    @cached_property
    def blocks(self) -> list[list[ast.stmt]]:
        """What stands indented under one line: bodies, else and finally branches."""
        parts = (getattr(node, name, None) for node in self.nodes for name in ("body", "orelse", "finalbody"))
        return [block for block in parts if isinstance(block, list) and block]

    @cached_property
    def conditions(self) -> list[ast.expr]:
        """Tests of if, while, conditional expressions and comprehension filters that stand on one line."""
        tests: list[ast.expr] = []
        for node in self.nodes:
            if isinstance(node, ast.If | ast.While | ast.IfExp):
                tests.append(node.test)
            elif isinstance(node, ast.comprehension):
                tests += node.ifs
        return [test for test in tests if self.single(test)]

    def visible(self, head: int, tail: int, text: str) -> bool:
        """Whether all words of a text are Python's own or stand in what the model is shown around lines head..tail."""
        words = set(WORD.findall(text)) - KNOWN
        return not words or words <= self._window(head, tail)

    def _window(self, head: int, tail: int) -> frozenset[str]:
        if (head, tail) not in self._windows:
            near = self._words[max(0, head - BEFORE_LINES) : head] + self._words[tail : tail + AFTER_LINES]
            first = self._words[0] if head else frozenset[str]()
            self._windows[head, tail] = first.union(*near)
        return self._windows[head, tail]

    @cached_property
    def _words(self) -> list[frozenset[str]]:
        return [frozenset(WORD.findall(line)) for line in self.lines]

    @cached_property
    def _windows(self) -> dict[tuple[int, int], frozenset[str]]:
        return {}

    def inferable(self, fault: Fault) -> bool:
        """Whether each word that the fix brings in can be read elsewhere, or is often mistaken for one that goes."""
        right, wrong = set(WORD.findall(fault.fixed)), set(WORD.findall(fault.faulty))
        words = (right - wrong).difference(*(confusions(word) for word in wrong - right))
        return not words or self.visible(fault.head, fault.tail, " ".join(words))

    def apply(self, edit: Edit) -> str:
        """The edited line."""
        line = self.lines[edit.line]
        return line[: edit.start] + edit.new + line[edit.stop :]

    def faulty(self, fault: Fault) -> str:
        """The whole function with the fault in it."""
        return "\n".join([*self.lines[: fault.head], fault.faulty, *self.lines[fault.tail :]])

    def valid(self, fault: Fault) -> bool:
        """Whether the faulty function still parses, and as a different program."""
        try:
            tree = ast.parse(self.faulty(fault))
        except (SyntaxError, ValueError):
            return False
        return not _same(tree.body, [self.function], fault.head)


def _same(left: object, right: object, above: int) -> bool:
    """Whether two trees, or parts of them, print alike (`ast.dump`), which is to say: mean the same to Python.

    Statements that end within the first `above` lines have one text in both and are not looked into. That, and stopping
    at the first difference, leaves little to compare: printing both trees took a third of the time of a batch.
    """
    if type(left) is not type(right):
        return False
    if isinstance(left, ast.AST):
        if isinstance(left, ast.stmt) and _span(left) == _span(right) and _span(left)[2] <= above:
            return True
        return all(_same(getattr(left, name, None), getattr(right, name, None), above) for name in left._fields)
    if isinstance(left, list):
        pairs = zip(left, right, strict=False)  # type: ignore[call-overload]
        return len(left) == len(right) and all(_same(*pair, above) for pair in pairs)  # type: ignore[arg-type]
    return repr(left) == repr(right)  # 1, 1.0 and True are equal


def _span(node: object) -> tuple[int, int, int, int]:
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]


def pick(rng: random.Random, options: list[str], *, but: str) -> str | None:
    """One of the options other than `but`."""
    rest = [option for option in options if option != but]
    return rng.choice(rest) if rest else None
