"""The words of a line of code, and what else is in sight around it: enough for most languages of the C and Python
families, without a grammar.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

_WORDS = re.compile(
    r"""(?P<string>[rbfuRBFU]{0,2}(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))
    | (?P<number>\d[\w.]*) | (?P<name>[^\W\d]\w*) | (?P<space>\s+)
    | (?P<sign>\*\*=?|//=?|<<=?|>>=?|->|&&|\|\||[<>=!+\-*/%&|^@:]=|.)""",
    re.VERBOSE,
)
_ERROR = re.compile(r"(?!_)\w*(?:Error|Exception|Warning|Iteration)")
KEYWORDS = frozenset(
    {
        *("and", "as", "assert", "async", "await", "break", "case", "class", "continue", "def", "del", "elif", "else"),
        *("except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "match", "nonlocal"),
        *("not", "or", "pass", "raise", "return", "try", "while", "with", "yield", "None", "True", "False"),
        *("const", "let", "var", "function", "new", "null", "true", "false"),
    }
)
OPENING, CLOSING = "([{", ")]}"
LONGEST_STRING = 40
"""Characters of a literal that may stand for another."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or the space between two."""

    kind: str
    """`string`, `number`, `name`, `space`, `sign`; empty beyond the ends of the line."""
    text: str

    @property
    def is_variable(self) -> bool:
        """A name that the language has not taken."""
        return self.kind == "name" and self.text not in KEYWORDS

    @property
    def is_operand(self) -> bool:
        """What may stand on the left of a binary operator."""
        return self.kind in ("number", "string") or self.text in (")", "]") or self.is_variable


@dataclass(frozen=True, slots=True)
class Line:
    """A line of code as words."""

    words: tuple[Word, ...]

    @classmethod
    def of(cls, text: str) -> "Line":
        return cls(tuple(Word(match.lastgroup or "", match[0]) for match in _WORDS.finditer(text)))

    def __iter__(self) -> Iterator[tuple[int, Word]]:
        return iter(enumerate(self.words))

    def put(self, start: int, new: str, end: int | None = None) -> str:
        """The text with words `start` to `end` (one word where none is given) replaced."""
        stop = start + 1 if end is None else end
        return self.text(0, start) + new + self.text(stop)

    def text(self, start: int, end: int | None = None) -> str:
        """The text of some words."""
        return "".join(word.text for word in self.words[start:end])

    def near(self, place: int, step: int) -> Word:
        """The next word that is no space, in a direction."""
        at = self.beside(place, step)
        return self.words[at] if 0 <= at < len(self.words) else Word("", "")

    def beside(self, place: int, step: int) -> int:
        """Index of `near`; beyond the ends where there is none."""
        place += step
        while 0 <= place < len(self.words) and self.words[place].kind == "space":
            place += step
        return place

    def owner(self, place: int) -> str:
        """The name before the dot before a word; empty where there is none."""
        before = self.near(self.beside(place, -1), -1)
        return before.text if before.kind == "name" and self.near(place, -1).text == "." else ""

    def closing(self, place: int) -> int:
        """Index of the bracket that closes the one at `place`; -1 where the line does not close it."""
        depth = 0
        for at in range(place, len(self.words)):
            text = self.words[at].text
            depth += (text in OPENING) - (text in CLOSING) if len(text) == 1 else 0
            if not depth:
                return at
        return -1

    def arguments(self, place: int) -> list[tuple[int, int]]:
        """Where the parts between commas lie, from and to, of the bracket that opens at `place`; empty where it does
        not close, or holds nothing."""
        end = self.closing(place)
        if end < 0 or not self.text(place + 1, end).strip():
            return []
        cuts, depth = [place], 0
        for at in range(place + 1, end):
            text = self.words[at].text
            depth += (text in OPENING) - (text in CLOSING) if len(text) == 1 else 0
            if text == "," and not depth:
                cuts.append(at)
        return [(one + 1, two) for one, two in zip(cuts, [*cuts[1:], end], strict=True)]


Member = tuple[str, bool]
"""The name before the dot, and whether what stands behind it is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Words that a line could mean instead of its own, nearest first."""

    names: Sequence[str] = ()
    """Variables."""
    attributes: Sequence[str] = ()
    """What stands behind a dot and is not called."""
    functions: Sequence[str] = ()
    """Names that are called."""
    methods: Sequence[str] = ()
    """What stands behind a dot and is called."""
    errors: Sequence[str] = ()
    """Kinds of exception."""
    strings: Sequence[str] = ()
    """Short literals, with their quotes."""
    numbers: Sequence[str] = ()
    members: Mapping[Member, Sequence[str]] = field(default_factory=dict)
    """Attributes and methods by the name that they stand behind."""

    def behind(self, owner: str, *, called: bool) -> tuple[str, ...]:
        """What could stand behind a name and a dot: what stands behind it elsewhere, then what stands behind others."""
        return _both(self.members.get((owner, called), ()), self.methods if called else self.attributes)

    def __or__(self, further: "Sight") -> "Sight":
        """Both, what is in the first nearer."""
        return Sight(
            names=_both(self.names, further.names),
            attributes=_both(self.attributes, further.attributes),
            functions=_both(self.functions, further.functions),
            methods=_both(self.methods, further.methods),
            errors=_both(self.errors, further.errors),
            strings=_both(self.strings, further.strings),
            numbers=_both(self.numbers, further.numbers),
            members={
                member: _both(self.members.get(member, ()), further.members.get(member, ()))
                for member in (*self.members, *further.members)
            },
        )


def _both(one: Sequence[str], two: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *two)))


@lru_cache(maxsize=64)
def sight(text: str) -> Sight:
    """What a piece of code names, the last named first."""
    words = Line.of(text)
    found: dict[str, dict[str, None]] = {}
    members: dict[Member, dict[str, None]] = {}
    for place in range(len(words.words) - 1, -1, -1):
        word = words.words[place]
        if kind := _kind(words, place, word):
            found.setdefault(kind, {}).setdefault(word.text)
        if kind in ("attributes", "methods") and (owner := words.owner(place)):
            members.setdefault((owner, kind == "methods"), {}).setdefault(word.text)
    return Sight(
        **{kind: tuple(texts) for kind, texts in found.items()},
        members={member: tuple(texts) for member, texts in members.items()},
    )


def _kind(words: Line, place: int, word: Word) -> str:
    """The field of `Sight` that a word belongs to."""
    if word.kind == "string" and len(word.text) <= LONGEST_STRING:
        return "strings"
    if word.kind == "number":
        return "numbers"
    if not word.is_variable or word.text in ("self", "cls"):
        return ""
    if _ERROR.fullmatch(word.text):
        return "errors"
    called = words.near(place, 1).text == "("
    if words.near(place, -1).text == ".":
        return "methods" if called else "attributes"
    return "functions" if called else "names"
