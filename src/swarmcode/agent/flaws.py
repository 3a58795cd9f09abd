"""What is wrong with a Python function as far as its text shows it: the signs that linters go by.

Names are resolved by Python's own symbol tables. A flaw proves nothing, since correct code has some, too; but where an
edit makes or mends one, that tells of the edit. Pure.
"""

import ast
import builtins
import symtable
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from swarmcode.agent.signatures import Signatures, called, signatures

Flaw = Literal["unbound", "idle variable", "idle parameter", "unreachable", "call", "attribute", "nothing"]
"""A name that nothing binds; a variable or a parameter that nothing reads; statements behind a jump; a call that its
function does not take; an attribute of nothing in the file; an operation that does nothing, such as `a - a`."""
FLAWS: tuple[Flaw, ...] = get_args(Flaw)

_BUILTIN = frozenset((*dir(builtins), "__file__", "__class__"))
_BUILTIN_TYPES = (str, bytes, int, float, list, dict, set, frozenset, tuple, object, BaseException, type(lambda: None))
COMMON_ATTRIBUTES = frozenset(name for each in _BUILTIN_TYPES for name in dir(each))
_JUMPS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_CANCELLING = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.BitXor)
"""Operators that make a constant of a value and itself."""

_DOING = (ast.Assign, ast.Compare, ast.BinOp, ast.BoolOp)
_WITH_BLOCKS = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.For, ast.AsyncFor, ast.While, ast.With),
    *(ast.AsyncWith, ast.Try, ast.TryStar, ast.ExceptHandler, ast.match_case),
)

_NAME = "<function>"
# What Python would say of odd code is said to whoever wrote it, not to whoever runs this.
for _kind in (SyntaxWarning, DeprecationWarning):
    warnings.filterwarnings("ignore", category=_kind, module=_NAME)


Span = tuple[int, int]
"""First and last line, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """What a file offers to a function in it."""

    bound: frozenset[str] | None
    """Names that the file binds for all of it; None where any may be (`import *`)."""
    attributes: frozenset[str]
    signatures: Signatures
    functions: tuple[Span, ...]
    """The outermost ones."""
    classes: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong with a function."""

    flaws: Counter[Flaw]
    idle: frozenset[str]
    """Names that nothing reads."""
    unbound: frozenset[str]
    """Names that nothing binds."""


@lru_cache(maxsize=16)
def module(text: str) -> Module | None:
    """Of a whole file; None where it is no Python."""
    try:
        tree = ast.parse(text, filename=_NAME)
        table = symtable.symtable(text, _NAME, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes = list(ast.walk(tree))
    stars = any(alias.name == "*" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names)
    return Module(
        bound=None if stars else frozenset(_module_names(table)),
        attributes=frozenset(name for node in nodes for name in _attributes(node)),
        signatures=signatures(tree.body),
        functions=tuple(_outermost(tree, (ast.FunctionDef, ast.AsyncFunctionDef))),
        classes=tuple(_outermost(tree, (ast.ClassDef,))),
    )


def flaws(text: str, within: Module) -> Found | None:
    """Those of a function, whose lines may be indented; None where it is no Python."""
    source = f"if 1:\n{text}" if text[:1].isspace() else text
    try:
        nodes = list(ast.walk(ast.parse(source, filename=_NAME)))
        table = symtable.symtable(source, _NAME, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found: Counter[Flaw] = Counter(flaw for node in nodes for flaw in _of_node(node, within))
    scopes = _Scopes(within)
    scopes.enter(table)
    found["unbound"] += len(scopes.unbound)
    found["idle variable"] += len(scopes.variables)
    found["idle parameter"] += len(scopes.parameters)
    idle = frozenset(name for _, name in (*scopes.variables, *scopes.parameters))
    return Found(found, idle, frozenset(scopes.unbound))


class _Scopes:
    """Goes through the symbol tables of a function."""

    def __init__(self, within: Module) -> None:
        self._bound = within.bound
        self.unbound: set[str] = set()
        self.variables: set[tuple[int, str]] = set()
        """(line of the scope, name)."""
        self.parameters: set[tuple[int, str]] = set()

    def enter(self, table: symtable.SymbolTable) -> set[str]:
        """Notes what is wrong in a scope and those inside it; the names that they read from outside."""
        inner = {name for child in table.get_children() for name in self.enter(child)}
        symbols = table.get_symbols()
        if table.get_type() != "module":
            self.unbound.update(each.get_name() for each in symbols if self._is_unbound(each))
        if table.get_type() == "function":
            for each in symbols:
                if _is_idle(each) and each.get_name() not in inner:
                    (self.parameters if each.is_parameter() else self.variables).add(
                        (table.get_lineno(), each.get_name())
                    )
        own = {each.get_name() for each in symbols if each.is_local()}
        return {each.get_name() for each in symbols if each.is_free()} | inner - own

    def _is_unbound(self, symbol: symtable.Symbol) -> bool:
        name = symbol.get_name()
        return bool(
            symbol.is_global()
            and symbol.is_referenced()
            and self._bound is not None
            and name not in self._bound
            and name not in _BUILTIN
        )


def _is_idle(symbol: symtable.Symbol) -> bool:
    name = symbol.get_name()
    if symbol.is_referenced() or name.startswith(("_", ".")) or name in ("self", "cls"):
        return False
    return symbol.is_parameter() or (symbol.is_local() and symbol.is_assigned())


def _module_names(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that a file binds for all of it: at its outermost level, or by `global`."""
    outermost = table.get_type() == "module"
    for each in table.get_symbols():
        if (outermost or each.is_declared_global()) and (each.is_assigned() or each.is_imported()):
            yield each.get_name()
    for child in table.get_children():
        yield from _module_names(child)


def _attributes(node: ast.AST) -> Iterator[str]:
    """Names that may stand behind a dot because of a piece of code."""
    match node:
        case ast.Attribute(attr=name):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.keyword(arg=str(name)) | ast.arg(arg=name):
            yield name
        case ast.ClassDef(name=name, body=body):
            yield name
            for line in body:
                yield from (each.id for each in ast.walk(line) if isinstance(each, ast.Name))
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (each.asname or each.name.partition(".")[0] for each in names)


def _outermost(tree: ast.AST, kinds: tuple[type[ast.stmt], ...]) -> Iterator[Span]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, kinds):
            yield node.lineno, node.end_lineno or node.lineno
        elif isinstance(node, ast.stmt | ast.excepthandler):
            yield from _outermost(node, kinds)


def around(spans: Iterable[Span], number: int) -> Span | None:
    """The one that a line is in."""
    return next((each for each in spans if each[0] <= number <= each[1]), None)


def _of_node(node: ast.AST, within: Module) -> Iterator[Flaw]:
    if isinstance(node, ast.Call):
        signature = within.signatures.get(called(node))
        if signature and not signature.takes(node):
            yield "call"
    elif isinstance(node, ast.Attribute):
        if node.attr not in within.attributes and node.attr not in COMMON_ATTRIBUTES:
            yield "attribute"
    elif isinstance(node, _DOING) and _does_nothing(node):
        yield "nothing"
    elif isinstance(node, _WITH_BLOCKS):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if block and any(isinstance(line, _JUMPS) for line in block[:-1]):
                yield "unreachable"


def _does_nothing(node: ast.AST) -> bool:
    match node:
        case ast.Assign(targets=targets, value=value):
            return any(_alike(target, value) for target in targets)
        case ast.Compare(left=left, comparators=others):
            return any(_alike(left, other) for other in others)
        case ast.BinOp(left=left, op=operator, right=right):
            return isinstance(operator, _CANCELLING) and _alike(left, right)
        case ast.BoolOp(values=values):
            return any(_alike(one, two) for number, one in enumerate(values) for two in values[:number])
    return False


def _alike(one: object, two: object) -> bool:
    """Whether two pieces of code are the same."""
    if type(one) is not type(two):
        return False
    if isinstance(one, ast.AST):
        return all(_alike(getattr(one, each, None), getattr(two, each, None)) for each in one._fields if each != "ctx")
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_alike, one, two))
    return one == two
