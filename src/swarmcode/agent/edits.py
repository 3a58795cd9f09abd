"""Well-formed small edits of one line: the space in which a small model is asked for its choice.

People make the same few mistakes over and over: a comparison that is off by its boundary, a wrong operator, a plus one
too few, two arguments in the wrong order, the wrong one of two names. The list follows the fix patterns that recur in
the literature on template and mutation repair (TBar, Liu et al. 2019; PraPR, Ghanbari et al. 2019; ManySStuBs4J,
Karampatsis and Sutton 2020). Which of the edits is likely is the model's to say: this file says what is possible.

Works on the words of the line, not on a grammar, so it fits most languages of the C and Python families; what comes out
malformed is dropped before it costs a test run.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MOST_OF_A_KIND = 60
MOST_NAMES = 10

_WORDS = re.compile(
    r"""(?P<string>[rbfuRBFU]{0,2}(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))
    | (?P<number>\d[\w.]*) | (?P<name>[^\W\d]\w*) | (?P<space>\s+)
    | (?P<sign>\*\*=?|//=?|<<=?|>>=?|->|&&|\|\||[<>=!+\-*/%&|^@:]=|.)""",
    re.VERBOSE,
)
_KEYWORDS = frozenset(
    {
        *("and", "as", "assert", "async", "await", "break", "case", "class", "continue", "def", "del", "elif", "else"),
        *("except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "match", "nonlocal"),
        *("not", "or", "pass", "raise", "return", "try", "while", "with", "yield", "None", "True", "False"),
        *("const", "let", "var", "function", "new", "null", "true", "false"),
    }
)
_FAMILIES = (
    ("<", "<=", ">", ">=", "==", "!="),
    ("+", "-", "*", "/", "//", "%", "**"),
    ("=", "+=", "-=", "*=", "//="),
    ("&", "|", "^"),
    ("<<", ">>"),
    ("&&", "||"),
    ("and", "or"),
    ("True", "False"),
    ("true", "false"),
    ("min", "max"),
    ("any", "all"),
    ("break", "continue"),
    ("append", "extend"),
    ("startswith", "endswith"),
    ("strip", "lstrip", "rstrip"),
    ("find", "rfind", "index"),
    ("bisect_left", "bisect_right"),
    ("keys", "values", "items"),
    ("lower", "upper"),
    ("floor", "ceil", "round"),
)
_ALIKE = {word: tuple(other for other in family if other != word) for family in _FAMILIES for word in family}
_BINARY = frozenset("+-*/%&|^<>") | {"//", "**", "<<", ">>", "<=", ">="}
_ORDERED = frozenset({"-", "/", "//", "%", "<", ">", "<=", ">="})
_ENDS = frozenset(")],:;}") | {"", "<", "<=", ">", ">=", "==", "!=", "else", "if", "and", "or"}


@dataclass(frozen=True, slots=True)
class _Word:
    kind: str
    text: str


def edits(line: str, names: Sequence[str] = (), attributes: Sequence[str] = ()) -> tuple[tuple[str, ...], ...]:
    """New lines by kind of edit, each once, none equal to `line`; at most `MOST_OF_A_KIND` of each, no kind empty.

    `names`: variables that the line could mean instead, nearest first; `attributes`: what could stand behind a dot.
    """
    words = [_Word(match.lastgroup or "", match[0]) for match in _WORDS.finditer(line)]
    seen = {line}
    kinds = []
    for made in (_swaps(words), _one_off(words), _negations(words), _orders(words), _renames(words, names, attributes)):
        fresh = [new for new in dict.fromkeys(made) if new not in seen]
        seen.update(fresh)
        kinds.append(tuple(fresh[:MOST_OF_A_KIND]))
    return tuple(kind for kind in kinds if kind)


def names_in(text: str) -> tuple[list[str], list[str]]:
    """Variables and attributes of a piece of code, the last named first."""
    names: dict[str, None] = {}
    attributes: dict[str, None] = {}
    before = ""
    for match in reversed(list(_WORDS.finditer(text))):
        if match.lastgroup != "name" or match[0] in _KEYWORDS:
            continue
        before = text[: match.start()].rstrip()[-1:]
        called = text[match.end() :].lstrip()[:1] == "("
        if before == ".":
            attributes.setdefault(match[0])
        elif not called and match[0] not in ("self", "cls"):
            names.setdefault(match[0])
    return list(names), list(attributes)


def _with(words: Sequence[_Word], place: int, new: str, until: int | None = None) -> str:
    end = place + 1 if until is None else until
    return "".join(word.text for word in words[:place]) + new + "".join(word.text for word in words[end:])


def _near(words: Sequence[_Word], place: int, step: int) -> _Word:
    """The next word that is no space, in a direction."""
    place += step
    while 0 <= place < len(words) and words[place].kind == "space":
        place += step
    return words[place] if 0 <= place < len(words) else _Word("", "")


def _is_operand(word: _Word) -> bool:
    return word.kind in ("number", "string") or word.text in (")", "]") or _is_variable(word)


def _is_variable(word: _Word) -> bool:
    return word.kind == "name" and word.text not in _KEYWORDS


def _stands_alone(words: Sequence[_Word], place: int) -> bool:
    """A name or number that is no part of a call, a subscript or a dotted name."""
    alone = words[place].kind == "number" or _is_variable(words[place])
    return alone and _near(words, place, -1).text != "." and _near(words, place, 1).text not in (".", "(", "[")


def _is_between_names(words: Sequence[_Word], place: int) -> bool:
    """Whether an operator stands between two simple values, with a space on each side."""
    inside = 2 <= place < len(words) - 2 and words[place - 1].kind == words[place + 1].kind == "space"
    return inside and _stands_alone(words, place - 2) and _stands_alone(words, place + 2)


def _swaps(words: Sequence[_Word]) -> Iterator[str]:
    """One operator or word by another of its family."""
    depth = 0
    for place, word in enumerate(words):
        depth += (word.text in "([{") - (word.text in ")]}") if len(word.text) == 1 else 0
        others = _ALIKE.get(word.text, ())
        if word.kind == "sign" and word.text in _BINARY and not _is_operand(_near(words, place, -1)):
            others = ()
        if word.text == "=" and depth:
            others = ()
        for other in others:
            yield _with(words, place, other)


def _one_off(words: Sequence[_Word]) -> Iterator[str]:
    """Numbers one more and one less, and `+ 1` or `- 1` put behind a value or taken away."""
    for place, word in enumerate(words):
        following = _near(words, place, 1)
        if word.kind == "number" and word.text.isdecimal() and len(word.text) < 10:
            value = int(word.text)
            for other in (value + 1, value - 1, 0, 1, -1):
                if other != value and (other >= 0 or value == 0):
                    yield _with(words, place, str(other))
        if word.text in ("+", "-") and following.kind == "number" and _is_operand(_near(words, place, -1)):
            start = place - (words[place - 1].kind == "space")
            number = next(index for index in range(place + 1, len(words)) if words[index].kind == "number")
            yield _with(words, start, "", number + 1)
        if _is_operand(word) and word.kind != "string" and following.text in _ENDS:
            yield _with(words, place, f"{word.text} + 1")
            yield _with(words, place, f"{word.text} - 1")


def _negations(words: Sequence[_Word]) -> Iterator[str]:
    """`not` put in or taken away."""
    for place, word in enumerate(words):
        spaced = place + 1 < len(words) and words[place + 1].kind == "space"
        if word.text == "not" and spaced:
            yield _with(words, place, "", place + 2)
        elif word.text in ("if", "while", "elif", "and", "or", "return", "assert") and spaced:
            if _near(words, place, 1).text != "not":
                yield _with(words, place, f"{word.text} not")
        elif word.text == "in" and "for" not in {each.text for each in words} and _near(words, place, -1).text != "not":
            yield _with(words, place, "not in")
        elif word.text == "is" and _near(words, place, 1).text != "not":
            yield _with(words, place, "is not")


def _orders(words: Sequence[_Word]) -> Iterator[str]:
    """Two neighbours of a list in brackets, or the two sides of an operator, the other way round."""
    open_brackets: list[list[int]] = []
    for place, word in enumerate(words):
        if word.kind != "sign":
            continue
        if word.text in "([{":
            open_brackets.append([place])
        elif word.text == "," and open_brackets:
            open_brackets[-1].append(place)
        elif word.text in ")]}" and open_brackets:
            marks = [*open_brackets.pop(), place]
            for first, middle, last in zip(marks, marks[1:], marks[2:], strict=False):
                yield _exchanged(words, first + 1, middle, last)
        elif word.text in _ORDERED and _is_between_names(words, place):
            yield _exchanged(words, place - 2, place, place + 3)


def _exchanged(words: Sequence[_Word], start: int, middle: int, end: int) -> str:
    """What stands before and behind `middle`, exchanged; the spaces around stay where they are."""
    one = "".join(word.text for word in words[start:middle])
    two = "".join(word.text for word in words[middle + 1 : end])
    swapped = one.replace(one.strip(), two.strip(), 1) + words[middle].text + two.replace(two.strip(), one.strip(), 1)
    return _with(words, start, swapped, end)


def _renames(words: Sequence[_Word], names: Sequence[str], attributes: Sequence[str]) -> Iterator[str]:
    """A name by another that is in sight."""
    for place, word in enumerate(words):
        if not _is_variable(word):
            continue
        behind_dot = _near(words, place, -1).text == "."
        if not behind_dot and _near(words, place, 1).text == "(":
            continue
        for other in (attributes if behind_dot else names)[:MOST_NAMES]:
            if other != word.text:
                yield _with(words, place, other)
