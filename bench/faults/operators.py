"""Operators that put a mistake into one line of Python, by its syntax tree: the mistakes that people make.

Each gives `Patch`es of a node; `edits` gives those of a whole file that stay in one line, inside functions. Left alone:
annotations, docstrings, f-strings (whose parts have no true positions before Python 3.12) and module level code, where
a fault mostly keeps the tests from being collected.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

Patch = tuple[int, int, str]
"""From and to in the text, and what comes between."""

COMPARED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", ">"),
    ast.Gt: (">", "<"),
    ast.LtE: ("<=", ">="),
    ast.GtE: (">=", "<="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
BOUNDS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.Gt: (">", ">="),
    ast.LtE: ("<=", "<"),
    ast.GtE: (">=", ">"),
}
SUMS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.Div: ("/", "//"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
SIBLINGS = (
    *(("min", "max"), ("any", "all"), ("lower", "upper"), ("startswith", "endswith"), ("find", "rfind")),
    *(("append", "extend"), ("split", "rsplit"), ("lstrip", "rstrip"), ("strip", "rstrip"), ("keys", "values")),
    *(("values", "items"), ("items", "keys"), ("floor", "ceil"), ("isdigit", "isalpha"), ("ljust", "rjust")),
    *(("pop", "get"), ("add", "discard"), ("partition", "rpartition"), ("list", "set"), ("tuple", "list")),
    *(("match", "search"), ("fullmatch", "match"), ("sorted", "list"), ("int", "float"), ("isinstance", "issubclass")),
    *(("sum", "len"), ("appendleft", "append"), ("popleft", "pop"), ("repr", "str"), ("iter", "list"), ("abs", "int")),
)
EXCEPTIONS = (
    *(("KeyError", "IndexError"), ("ValueError", "TypeError"), ("AttributeError", "KeyError")),
    *(("StopIteration", "IndexError"), ("ImportError", "AttributeError"), ("OSError", "ValueError")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One line, as it is and with a mistake in it."""

    kind: str
    line: int
    old: str
    new: str


@dataclass(slots=True)
class Code:
    """A file and the function in it that is looked at."""

    text: str
    starts: list[int] = field(default_factory=lambda: [0])
    """Offset of each line."""
    function: ast.AST = field(default_factory=ast.Pass)
    members: dict[bool, set[str]] = field(default_factory=dict)
    """Attributes of `self` in the class around: called or not -> names."""

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node is in the text. The syntax tree counts columns in bytes."""
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword | ast.excepthandler)
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno or 0, node.end_col_offset or 0)

    def _at(self, line: int, column: int) -> int:
        start = self.starts[line - 1]
        end = self.starts[line] if line < len(self.starts) else len(self.text)
        return start + len(self.text[start:end].encode()[:column].decode())

    def of(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> Iterator[Patch]:
        """The operator between two nodes, replaced."""
        start, end = self.span(left)[1], self.span(right)[0]
        if found := re.fullmatch(rf"([\s)]*){re.escape(old)}([\s(]*)", self.text[start:end]):
            yield start + found.end(1), start + found.start(2), new

    def instead(self, node: ast.AST, new: str) -> Iterator[Patch]:
        start, end = self.span(node)
        if self.text[start:end] != new:
            yield start, end, new


def comparison(node: ast.AST, code: Code) -> Iterator[Patch]:
    return _compare(node, code, COMPARED)


def _compare(node: ast.AST, code: Code, table: dict[type[ast.cmpop], tuple[str, str]]) -> Iterator[Patch]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in table:
        yield from code.between(node.left, node.comparators[0], *table[type(node.ops[0])])


def boundary(node: ast.AST, code: Code) -> Iterator[Patch]:
    yield from _compare(node, code, BOUNDS)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub) and _is_number(node.right, 1):
        yield from code.instead(node, code.of(node.left))
    if isinstance(node, ast.Call) and code.of(node.func) in ("len", "range") and len(node.args) == 1:
        for sign in "+-":
            if code.of(node.func) == "range":
                yield from code.instead(node.args[0], f"{code.of(node.args[0])} {sign} 1")
            else:
                yield from code.instead(node, f"{code.of(node)} {sign} 1")


def arithmetic(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.BinOp) and type(node.op) in SUMS and not _is_text(node.left) and not _is_text(node.right):
        yield from code.between(node.left, node.right, *SUMS[type(node.op)])
    if isinstance(node, ast.AugAssign) and type(node.op) in SUMS:
        old, new = SUMS[type(node.op)]
        yield from code.between(node.target, node.value, f"{old}=", f"{new}=")
        yield from code.between(node.target, node.value, f"{old}=", "=")


def boolean(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.BoolOp):
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in pairwise(node.values):
            yield from code.between(left, right, *words)


def negation(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield from code.instead(node, code.of(node.operand))
    if isinstance(node, ast.If | ast.While | ast.IfExp) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
        yield from code.instead(node.test, f"not {code.of(node.test)}")


def wrong_variable(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        known = _known(code.function, node.lineno)
        if node.id in known:
            for other in sorted(known - {node.id}):
                yield from code.instead(node, other)


def _known(function: ast.AST, line: int) -> set[str]:
    """Arguments, and what is bound above the line."""
    names: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.lineno < line:
            names.add(node.id)
    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        given = function.args
        names |= {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    return names - {"self", "cls", "_"}


def wrong_attribute(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.Attribute) and code.of(node.value) == "self" and isinstance(node.ctx, ast.Load):
        for names in code.members.values():
            if node.attr in names:
                for other in sorted(names - {node.attr}):
                    yield from code.instead(node, f"self.{other}")


def wrong_constant(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.Constant) and type(node.value) is int and code.of(node).isdecimal():
        for value in (node.value + 1, node.value - 1):
            yield from code.instead(node, str(value))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        spelled = code.of(node)
        if 2 <= len(node.value) <= 12 and spelled[1:-1] == node.value and spelled[0] in "'\"":
            for word in sorted({node.value[:-1], node.value[1:], node.value.swapcase()}):
                yield from code.instead(node, f"{spelled[0]}{word}{spelled[0]}")
    if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool):
        yield from code.instead(node.value, str(not node.value.value))


def swapped_arguments(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.Call) and not any(isinstance(each, ast.Starred) for each in node.args):
        for left, right in pairwise(node.args):
            start, end = code.span(left)[0], code.span(right)[1]
            middle = code.text[code.span(left)[1] : code.span(right)[0]]
            if code.of(left) != code.of(right):
                yield start, end, f"{code.of(right)}{middle}{code.of(left)}"


def missing_argument(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.Call):
        parts = sorted([*node.args, *node.keywords], key=lambda part: code.span(part)[0])
        for before, part in pairwise(parts):
            yield code.span(before)[1], code.span(part)[1], ""


def missing_call(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        yield from code.instead(node, code.of(node.args[0]))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
        yield from code.instead(node, code.of(node.func.value))


def wrong_function(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else code.of(node.func)
        for pair in SIBLINGS:
            if name in pair:
                other = pair[1 - pair.index(name)]
                end = code.span(node.func)[1]
                yield end - len(name), end, other


def return_value(node: ast.AST, code: Code) -> Iterator[Patch]:
    if not isinstance(node, ast.Return) or node.value is None:
        return
    value = node.value
    if isinstance(value, ast.Constant) and isinstance(value.value, bool):
        yield from code.instead(value, str(not value.value))
    elif isinstance(value, ast.Tuple) and len(value.elts) == 2:
        first, second = value.elts
        start, end = code.span(first)[0], code.span(second)[1]
        yield start, end, f"{code.of(second)}, {code.of(first)}"
    else:
        yield from code.instead(value, "None")


def index(node: ast.AST, code: Code) -> Iterator[Patch]:
    if not isinstance(node, ast.Subscript):
        return
    place = node.slice
    if isinstance(place, ast.Constant) and type(place.value) is int:
        for new in (place.value + 1, place.value - 1):
            yield from code.instead(place, str(new))
    elif code.of(place) == "-1":
        yield from code.instead(place, "0")
        yield from code.instead(place, "-2")
    elif isinstance(place, ast.Slice):
        for bound in (place.lower, place.upper):
            if bound is not None:
                yield from code.instead(bound, "")
                yield from code.instead(bound, f"{code.of(bound)} + 1")


def initial_value(node: ast.AST, code: Code) -> Iterator[Patch]:
    values: list[ast.expr | None] = []
    if isinstance(node, ast.Assign | ast.AnnAssign):
        values = [node.value]
    elif isinstance(node, ast.FunctionDef):
        values = [*node.args.defaults, *node.args.kw_defaults]
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, bool):
            yield from code.instead(value, str(not value.value))
        elif isinstance(value, ast.Constant) and type(value.value) is int:
            yield from code.instead(value, "0" if value.value == 1 else str(value.value + 1))
        elif isinstance(value, ast.Constant) and value.value == "":
            yield from code.instead(value, '" "')


def wrong_exception(node: ast.AST, code: Code) -> Iterator[Patch]:
    named = node.type if isinstance(node, ast.ExceptHandler) else None
    if isinstance(node, ast.Raise):
        named = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    for pair in EXCEPTIONS:
        if isinstance(named, ast.Name) and named.id in pair:
            yield from code.instead(named, pair[1 - pair.index(named.id)])


def control(node: ast.AST, code: Code) -> Iterator[Patch]:
    if isinstance(node, ast.Break | ast.Continue):
        yield from code.instead(node, "continue" if isinstance(node, ast.Break) else "break")


OPERATORS: dict[str, Callable[[ast.AST, Code], Iterator[Patch]]] = {
    "comparison": comparison,
    "boundary": boundary,
    "arithmetic": arithmetic,
    "boolean": boolean,
    "negation": negation,
    "wrong variable": wrong_variable,
    "wrong attribute": wrong_attribute,
    "wrong constant": wrong_constant,
    "swapped arguments": swapped_arguments,
    "missing argument": missing_argument,
    "missing call": missing_call,
    "wrong function": wrong_function,
    "return value": return_value,
    "slice or index": index,
    "initial value": initial_value,
    "wrong exception": wrong_exception,
    "loop control": control,
}


def edits(text: str) -> Iterator[Edit]:
    """Every mistake that the operators can put into a file, each once, by kind and place. They may not parse."""
    lines = text.split("\n")
    code = Code(text=text)
    for line in lines[:-1]:
        code.starts.append(code.starts[-1] + len(line) + 1)
    seen: set[tuple[int, str]] = set()
    for function, around in _functions(ast.parse(text), None):
        code.function, code.members = function, _members(around)
        for node in _inside(function):
            for kind, operator in OPERATORS.items():
                for start, end, new in operator(node, code):
                    number = text.count("\n", 0, start) + 1
                    at, old = code.starts[number - 1], lines[number - 1]
                    line = old[: start - at] + new + old[end - at :]
                    if end <= at + len(old) and "\n" not in new and (number, line) not in seen:
                        seen.add((number, line))
                        yield Edit(kind=kind, line=number, old=old, new=line)


def parses(text: str, edit: Edit) -> bool:
    """Whether the file with the mistake in it is Python, and other Python than before."""
    lines = text.split("\n")
    lines[edit.line - 1] = edit.new
    try:
        return ast.dump(ast.parse("\n".join(lines))) != ast.dump(ast.parse(text))
    except SyntaxError:
        return False


def _functions(node: ast.AST, around: ast.ClassDef | None) -> Iterator[tuple[ast.AST, ast.ClassDef | None]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, around
        yield from _functions(child, child if isinstance(child, ast.ClassDef) else around)


def _inside(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of one function that say what it does; functions in it are looked at for themselves."""
    yield function
    waiting: list[ast.AST] = [*getattr(function, "body", [])]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.JoinedStr):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        yield node
        noted = node.annotation if isinstance(node, ast.AnnAssign) else None
        waiting += [child for child in ast.iter_child_nodes(node) if child is not noted]


def _members(around: ast.ClassDef | None) -> dict[bool, set[str]]:
    found: dict[bool, set[str]] = {True: set(), False: set()}
    called: set[int] = set()
    for node in ast.walk(around) if around else ():
        if isinstance(node, ast.Call):
            called.add(id(node.func))
    for node in ast.walk(around) if around else ():
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            found[id(node) in called].add(node.attr)
    return found


def _is_number(node: ast.AST, value: int) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value == value


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
