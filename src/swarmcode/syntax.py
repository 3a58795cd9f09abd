"""Source code as syntax trees: which language a file is in, its tree, and its normalised identity.

The only tree-sitter caller. Grammars come from `tree_sitter_language_pack`, which carries them in its wheel. Everything
here is pure and safe from any thread; what is asked again and again (the base of a hundred candidates) is remembered.
"""

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Final, cast

from tree_sitter import Language, Node, Parser, Point, Tree
from tree_sitter_language_pack import SupportedLanguage, get_language

LARGEST: Final = 2_000_000
"""Bytes. Longer files are data or somebody's bundle, and are never parsed."""

_BY_SUFFIX: Final = {
    **dict.fromkeys((".py", ".pyi", ".pyw"), "python"),
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx"), "javascript"),
    **dict.fromkeys((".ts", ".mts", ".cts"), "typescript"),
    **dict.fromkeys((".c", ".h"), "c"),
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".ipp"), "cpp"),
    **dict.fromkeys((".kt", ".kts"), "kotlin"),
    **dict.fromkeys((".scala", ".sc"), "scala"),
    **dict.fromkeys((".sh", ".bash"), "bash"),
    **dict.fromkeys((".pl", ".pm"), "perl"),
    **dict.fromkeys((".ex", ".exs"), "elixir"),
    **dict.fromkeys((".clj", ".cljs", ".cljc"), "clojure"),
    **dict.fromkeys((".groovy", ".gradle"), "groovy"),
    **dict.fromkeys((".f90", ".f95", ".f03", ".f"), "fortran"),
    **dict.fromkeys((".r", ".R"), "r"),
    **dict.fromkeys((".rb", ".rake", ".gemspec"), "ruby"),
    **dict.fromkeys((".php", ".phtml"), "php"),
    **dict.fromkeys((".ml",), "ocaml"),
    **{".tsx": "tsx", ".go": "go", ".rs": "rust", ".java": "java", ".cs": "csharp", ".swift": "swift"},
    **{".lua": "lua", ".erl": "erlang", ".hs": "haskell", ".jl": "julia", ".dart": "dart", ".zig": "zig"},
    **{".nim": "nim", ".m": "objc", ".sol": "solidity", ".d": "d", ".ps1": "powershell", ".pas": "pascal"},
}
_BY_NAME: Final = {"Rakefile": "ruby", "Gemfile": "ruby", "SConstruct": "python", "SConscript": "python"}

_QUOTES_ALIKE: Final = frozenset({"python", "javascript", "typescript", "tsx"})
"""Languages in which 'text' and "text" are one literal."""

_RAW: Final = ("string", "heredoc", "regex", "char")
"""Kinds of nodes whose inside is taken as written: spaces matter there."""

_PLAIN_QUOTED: Final = re.compile(rb"'([^'\"\\\n]*)'")
_TRAILING_COMMA: Final = frozenset({"argument_list", "parameters", "list", "dictionary", "set"})
"""Python's brackets in which a comma before the closing one means nothing."""

_DEEPEST: Final = 200
"""Below that, a node is told by its text: a bound on recursion for hostile sources."""
_WORTH_REMEMBERING: Final = 64
"""Bytes; shorter nodes are digested faster than looked up."""
_REMEMBERED: Final = 100_000
_digests: dict[tuple[str, str, bytes], bytes] = {}


@lru_cache(maxsize=4096)
def language_of(path: str) -> str:
    """Name of the language in the language pack; empty where it is none of those that hold code."""
    file = PurePosixPath(path)
    return _BY_NAME.get(file.name) or _BY_SUFFIX.get(file.suffix, "")


@lru_cache(maxsize=64)
def parse(path: str, source: bytes, like: bytes | None = None) -> Tree | None:
    """The syntax tree of a file's content, with error nodes where it is malformed; None where the language is
    unknown or the file is too large.

    `like`: an earlier content whose tree is at hand; what both share is not parsed again.
    """
    language = language_of(path)
    if not language or len(source) > LARGEST:
        return None
    parser = Parser(_grammar(language))
    earlier = parse(path, like) if like is not None else None
    if like is None or earlier is None or earlier.root_node.has_error:
        return parser.parse(source)
    return parser.parse(source, _edited(earlier, like, source))


def first_error(path: str, source: bytes, like: bytes | None = None) -> int | None:
    """Line of the first syntax error, from 1; None where there is none or nobody can tell. `like` as for `parse`."""
    tree = parse(path, source, like)
    if tree is None or not tree.root_node.has_error:
        return None
    node = tree.root_node
    while not (node.is_error or node.is_missing):
        inner = next((child for child in node.children if child.has_error or child.is_missing), None)
        if inner is None:
            break
        node = inner
    return node.start_point.row + 1


def fingerprint(path: str, source: bytes, like: bytes | None = None) -> str:
    """Identity of a file's content: equal for equal syntax trees, whatever the spacing, comments, redundant
    parentheses and (where they are alike) quotes. A file that does not parse is told by its words and indentation.

    Computed like a Merkle tree, and subtrees are remembered, so of an edited file only the way from the root to the
    edit is computed anew. `like` as for `parse`: it costs nothing but time to leave it out.
    """
    tree = parse(path, source, like)
    if tree is None or tree.root_node.has_error:
        return hashlib.blake2b(_squeezed(source), digest_size=16).hexdigest()
    if len(_digests) > _REMEMBERED:
        _digests.clear()
    return _digest(tree.root_node, source, language_of(path)).hex()


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, in the order of the source; deep trees are no trouble."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(current.children))


@lru_cache(maxsize=64)
def _grammar(language: str) -> Language:
    return get_language(cast(SupportedLanguage, language))


def _edited(tree: Tree, old: bytes, new: bytes) -> Tree:
    """A copy of the tree of `old` that knows which stretch of it `new` has replaced."""
    start = _shared(old, new)
    rest = min(len(old), len(new)) - start
    end = _shared(old[::-1][:rest], new[::-1][:rest])
    old_end, new_end = len(old) - end, len(new) - end
    copy = tree.copy()
    copy.edit(start, old_end, new_end, _point(old, start), _point(old, old_end), _point(new, new_end))
    return copy


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes from the start are equal, by bisection: comparing slices is faster than comparing bytes."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _point(source: bytes, place: int) -> Point:
    return Point(source.count(b"\n", 0, place), place - source.rfind(b"\n", 0, place) - 1)


def _squeezed(source: bytes) -> bytes:
    """Lines with their indentation, words one space apart; blank lines left out."""
    lines = []
    for line in source.splitlines():
        if words := line.split():
            lines.append(line[: len(line) - len(line.lstrip())] + b" ".join(words))
    return b"\n".join(lines)


def _digest(node: Node, source: bytes, language: str, depth: int = 0) -> bytes:
    text = source[node.start_byte : node.end_byte]
    kind = node.type
    if not node.child_count or depth > _DEEPEST or any(word in kind for word in _RAW):
        return _hashed(kind, _plain(text, language))
    if len(text) < _WORTH_REMEMBERING:
        return _inner(node, source, language, depth)
    known = (language, kind, hashlib.blake2b(text, digest_size=16).digest())
    if known not in _digests:
        _digests[known] = _inner(node, source, language, depth)
    return _digests[known]


def _inner(node: Node, source: bytes, language: str, depth: int) -> bytes:
    """Digest of a node by its children, and by what the grammar leaves unnamed between them."""
    children = node.children
    telling = [child for child in children if not _is_spacing(child, source)]
    if node.type == "parenthesized_expression" and len(telling) == 3 and b"?." not in (node.text or b""):
        return _digest(telling[1], source, language, depth + 1)
    if language == "python" and node.type in _TRAILING_COMMA and len(telling) > 2 and telling[-2].type == ",":
        del telling[-2]
    told = {child.id: _digest(child, source, language, depth + 1) for child in telling}
    parts: list[bytes] = []
    end = node.start_byte
    for child in children:
        parts += (source[end : child.start_byte].strip(), told.get(child.id, b""))
        end = child.end_byte
    parts.append(source[end : node.end_byte].strip())
    return _hashed(node.type, b"\0".join(part for part in parts if part))


def _is_spacing(node: Node, source: bytes) -> bool:
    if "comment" in node.type or node.type == "line_continuation":
        return True
    return not node.child_count and not source[node.start_byte : node.end_byte].strip()


def _plain(text: bytes, language: str) -> bytes:
    """A literal in double quotes, where the quotes make no difference."""
    if language in _QUOTES_ALIKE and (quoted := _PLAIN_QUOTED.fullmatch(text)):
        return b'"' + quoted[1] + b'"'
    return text


def _hashed(kind: str, content: bytes) -> bytes:
    return hashlib.blake2b(kind.encode() + b"\0" + content, digest_size=16).digest()
