"""What a source file is made of: its functions and classes, and the lines that hold code.

By the shape of tree-sitter's syntax trees, whose grammars name alike what is alike, so one table serves all languages.
Syntax errors cost only the part around them; odd bytes are no trouble. What has no grammar has no symbols, and its
lines are told by their text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from tree_sitter import Node

from swarmcode.syntax import parse, walk

Kind = Literal["function", "class"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A named piece of code."""

    name: str
    """Qualified by what is around it: `Parser.parse`."""
    kind: Kind
    """`class` stands for all that holds members: structs, interfaces, modules, namespaces, implementations."""
    start: int
    """First line, from 1."""
    end: int
    """Last line, inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """The lines of a file."""

    code: frozenset[int]
    """Those that hold code: not blank, comment, docstring, lone bracket or keyword."""
    statement: Mapping[int, int]
    """Line -> first line of the statement (or of the head of the compound statement) that it continues."""


_FUNCTION: Final = re.compile(
    r"(generator_|local_|singleton_)?(function|method|constructor|destructor|subroutine|procedure|func|fn)"
    r"(_(definition|declaration|item|statement|declaration_statement))?"
)
_CLASS: Final = re.compile(
    r"(abstract_|internal_)?"
    r"(class|struct|enum|trait|interface|record|object|module|namespace|impl|protocol|union|mod|extension|type)"
    r"(_(definition|declaration|item|specifier|spec))?"
)
_NOT_DEFINITIONS: Final = frozenset({"type", "object", "type_declaration", "type_item", "type_definition"})
_VALUE_FUNCTION: Final = frozenset(
    {"arrow_function", "function_expression", "function", "lambda", "generator_function"}
)
_BLOCK: Final = re.compile(
    r".*(block|body)(_.*)?|.*_body|module|program|source_file|translation_unit|compound_statement|declaration_list|"
    r"field_declaration_list|statements|compilation_unit|statement_list|then|do|else|suite"
)
_EMPTY: Final = re.compile(rb"[\s(){}\[\];,:]*((else|try|finally|begin|end|do|then|fi|done|pass)\b[\s(){}\[\];,:]*)*")
_COMMENT: Final = re.compile(rb"\s*(#|//|/\*|\*|--|;|%|<!--)")


@lru_cache(maxsize=512)
def outline(path: str, source: bytes) -> tuple[Symbol, ...]:
    """Functions and classes in the order in which they begin."""
    tree = parse(path, source)
    if tree is None:
        return ()
    found: list[Symbol] = []
    waiting: list[tuple[Node, str]] = [(tree.root_node, "")]
    while waiting:
        node, around = waiting.pop()
        kind, name = _definition(node)
        if kind and name:
            around = f"{around}.{name}" if around else name
            span = node.parent if node.parent is not None and node.parent.type == "decorated_definition" else node
            found.append(Symbol(name=around, kind=kind, start=span.start_point.row + 1, end=_last_row(node) + 1))
        waiting.extend((child, around) for child in reversed(node.children) if child.child_count)
    return tuple(found)


@lru_cache(maxsize=512)
def owners(path: str, source: bytes) -> Mapping[int, Symbol]:
    """Line -> the innermost symbol around it; lines at top level are not in it."""
    # What is inside comes later in the outline, and takes its lines over.
    return {line: symbol for symbol in outline(path, source) for line in range(symbol.start, symbol.end + 1)}


def shares(path: str, source: bytes) -> list[tuple[Symbol | None, list[int]]]:
    """Code lines by the innermost symbol that they belong to."""
    around = owners(path, source)
    found: dict[Symbol | None, list[int]] = {}
    for line in sorted(lines(path, source).code):
        found.setdefault(around.get(line), []).append(line)
    return list(found.items())


def innermost(path: str, source: bytes, line: int) -> Symbol | None:
    """The smallest symbol around a line."""
    return owners(path, source).get(line)


@lru_cache(maxsize=256)
def rows(source: bytes) -> list[bytes]:
    """The lines of a file, without their ends."""
    return source.split(b"\n")


def statement_lines(path: str, source: bytes) -> frozenset[int]:
    """Lines that hold code: not blank, comment, docstring, or a lone closing bracket, `else`, `try` or `pass`."""
    return lines(path, source).code


@lru_cache(maxsize=512)
def lines(path: str, source: bytes) -> Lines:
    """Which lines hold code, and which statement each continues."""
    texts = rows(source)
    tree = parse(path, source)
    if tree is None:
        code = frozenset(
            number for number, text in enumerate(texts, 1) if not _EMPTY.fullmatch(text) and not _COMMENT.match(text)
        )
        return Lines(code=code, statement={})
    found: set[int] = set()
    statement: dict[int, int] = {}
    waiting = [tree.root_node]
    while waiting:
        node = waiting.pop()
        kind, count = node.type, node.child_count
        if "comment" in kind or ("string" in kind and _is_documentation(node)):
            continue
        if not count:
            found.add(node.start_point.row)
            continue
        first, last = node.start_point.row, node.end_point.row
        children = node.children
        if last == first:
            found.add(first)
        elif "string" in kind:
            # Lines inside a literal are no code, but what is interpolated there is.
            found.add(first)
            waiting += [child for child in children if child.named_child_count]
        else:
            statement.update(_continued(node))
            waiting += children
    code = frozenset(row + 1 for row in found if row < len(texts) and not _EMPTY.fullmatch(_bare(texts[row])))
    return Lines(code=code, statement=statement)


def _definition(node: Node) -> tuple[Kind | None, str]:
    if not node.is_named:
        return None, ""
    kind = node.type
    if kind == "variable_declarator" or kind == "pair":
        value = node.child_by_field_name("value")
        is_function = value is not None and value.type in _VALUE_FUNCTION
        return (
            ("function", _text(node.child_by_field_name("name" if kind != "pair" else "key")))
            if is_function
            else (None, "")
        )
    if _FUNCTION.fullmatch(kind):
        return "function", _receiver(node) + _name(node)
    if _CLASS.fullmatch(kind) and kind not in _NOT_DEFINITIONS:
        # `struct point p` names a type and defines none.
        if kind.endswith("specifier") and node.child_by_field_name("body") is None:
            return None, ""
        return "class", _name(node)
    return None, ""


def _name(node: Node) -> str:
    if node.type == "impl_item":
        return _text(node.child_by_field_name("type"))
    named = node.child_by_field_name("name")
    if named is None:
        named = node.child_by_field_name("declarator")
        # C hides the name inside pointers, references and the parameter list.
        while named is not None and (inner := named.child_by_field_name("declarator")) is not None:
            named = inner
    if named is None:
        named = next((child for child in node.named_children[:3] if child.type.endswith("identifier")), None)
    return _text(named)


def _receiver(node: Node) -> str:
    """Go's methods stand outside of their type."""
    receiver = node.child_by_field_name("receiver")
    if receiver is None:
        return ""
    named = next((part for part in walk(receiver) if part.type == "type_identifier"), None)
    return f"{_text(named)}." if named is not None else ""


def _text(node: Node | None) -> str:
    if node is None or node.text is None or len(node.text) > 200:
        return ""
    return node.text.decode(errors="replace").replace("::", ".").replace(":", ".").strip()


def _last_row(node: Node) -> int:
    """A node that ends at the very start of a line does not reach into it."""
    return node.end_point.row - (node.end_point.column == 0 and node.end_point.row > node.start_point.row)


def _continued(node: Node) -> dict[int, int]:
    """Lines of a statement's head, if the node is a statement of several lines."""
    if node.parent is None or not _BLOCK.fullmatch(node.parent.type) or _BLOCK.fullmatch(node.type):
        return {}
    inner = next((part for part in _blocks(node)), None)
    last = _last_row(node) if inner is None else max(node.start_point.row, inner.start_point.row - 1)
    first = node.start_point.row + 1
    return {row + 1: first for row in range(node.start_point.row + 1, last + 1)}


def _blocks(node: Node) -> Sequence[Node]:
    """Blocks right below a statement, or below its direct parts (`if` in a decorated or exported definition)."""
    return [part for child in node.children for part in (child, *child.children) if _BLOCK.fullmatch(part.type)]


def _is_documentation(node: Node) -> bool:
    """Whether a string stands alone as a statement."""
    parent = node.parent
    if parent is not None and parent.type == "expression_statement":
        return parent.named_child_count == 1
    return parent is not None and _BLOCK.fullmatch(parent.type) is not None


def _bare(text: bytes) -> bytes:
    """A line without what is a comment for sure: only whole-line comments matter here."""
    return b"" if _COMMENT.match(text) and not text.lstrip().startswith((b"*", b"-", b"%", b"#")) else text
