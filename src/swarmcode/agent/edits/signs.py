"""Edits of operators, orders and bounds: another operator of its family, one more or one less, `not`, two neighbours
exchanged.
"""

from collections.abc import Iterator

from swarmcode.agent.edits.words import Line

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
    ("break", "continue"),
)
_SIBLINGS = (
    ("min", "max"),
    ("any", "all"),
    ("append", "extend", "insert", "appendleft", "add"),
    ("add", "discard", "remove"),
    ("pop", "popleft", "popitem", "get", "remove"),
    ("startswith", "endswith"),
    ("strip", "lstrip", "rstrip"),
    ("split", "rsplit", "splitlines", "partition", "rpartition"),
    ("find", "rfind", "index"),
    ("ljust", "rjust", "center", "zfill"),
    ("match", "search", "fullmatch"),
    ("bisect_left", "bisect_right"),
    ("keys", "values", "items"),
    ("lower", "upper", "title", "capitalize", "casefold"),
    ("floor", "ceil", "round", "int", "abs", "float"),
    ("sum", "len", "max"),
    ("str", "repr", "bytes"),
    ("list", "tuple", "set", "sorted", "iter", "reversed", "dict"),
    ("isinstance", "issubclass"),
    ("isdigit", "isalpha", "isalnum", "isspace"),
    ("update", "setdefault"),
    ("encode", "decode"),
    ("dump", "dumps"),
    ("load", "loads"),
    ("read", "readline", "readlines"),
    ("write", "writelines"),
    ("union", "intersection", "difference", "symmetric_difference"),
    ("permutations", "combinations", "product"),
    ("info", "debug", "warning", "error"),
)
_ALIKE = {
    word: tuple(dict.fromkeys(other for family in families for other in family if word in family and other != word))
    for families in (_FAMILIES, _SIBLINGS)
    for word in {word for family in families for word in family}
}
_BINARY = frozenset("+-*/%&|^<>") | {"//", "**", "<<", ">>", "<=", ">="}
_ORDERED = frozenset({"-", "/", "//", "%", "<", ">", "<=", ">="})
_ENDS = frozenset(")],:;}") | {"", "<", "<=", ">", ">=", "==", "!=", "else", "if", "and", "or"}


def swaps(line: Line) -> Iterator[str]:
    """One operator or word by another of its family."""
    depth = 0
    for place, word in line:
        depth += (word.text in "([{") - (word.text in ")]}") if len(word.text) == 1 else 0
        others = _ALIKE.get(word.text, ())
        if word.kind == "sign" and word.text in _BINARY and not line.near(place, -1).is_operand:
            others = ()
        if word.text == "=" and depth:
            others = ()
        for other in others:
            yield line.put(place, other)


def one_off(line: Line) -> Iterator[str]:
    """Numbers one more and one less, and `+ 1` or `- 1` put behind a value or taken away."""
    for place, word in line:
        following = line.near(place, 1)
        if word.kind == "number" and word.text.isdecimal() and len(word.text) < 10:
            value = int(word.text)
            for other in (value + 1, value - 1, 0, 1, -1):
                if other != value and (other >= 0 or value == 0):
                    yield line.put(place, str(other))
        if word.text in ("+", "-") and following.kind == "number" and line.near(place, -1).is_operand:
            start = place - (line.words[place - 1].kind == "space")
            number = next(index for index in range(place + 1, len(line.words)) if line.words[index].kind == "number")
            yield line.put(start, "", number + 1)
        if word.is_operand and word.kind != "string" and following.text in _ENDS:
            yield line.put(place, f"{word.text} + 1")
            yield line.put(place, f"{word.text} - 1")


def negations(line: Line) -> Iterator[str]:
    """`not` put in or taken away."""
    for place, word in line:
        spaced = place + 1 < len(line.words) and line.words[place + 1].kind == "space"
        if word.text == "not" and spaced:
            yield line.put(place, "", place + 2)
        elif word.text in ("if", "while", "elif", "and", "or", "return", "assert") and spaced:
            if line.near(place, 1).text != "not":
                yield line.put(place, f"{word.text} not")
        elif (
            word.text == "in" and "for" not in {each.text for each in line.words} and line.near(place, -1).text != "not"
        ):
            yield line.put(place, "not in")
        elif word.text == "is" and line.near(place, 1).text != "not":
            yield line.put(place, "is not")


def orders(line: Line) -> Iterator[str]:
    """Two neighbours of a list in brackets, or the two sides of an operator, the other way round."""
    open_brackets: list[list[int]] = []
    for place, word in line:
        if word.kind != "sign":
            continue
        if word.text in "([{":
            open_brackets.append([place])
        elif word.text == "," and open_brackets:
            open_brackets[-1].append(place)
        elif word.text in ")]}" and open_brackets:
            marks = [*open_brackets.pop(), place]
            for first, middle, last in zip(marks, marks[1:], marks[2:], strict=False):
                yield _exchanged(line, first + 1, middle, last)
        elif word.text in _ORDERED and _is_between_names(line, place):
            yield _exchanged(line, place - 2, place, place + 3)


def _exchanged(line: Line, start: int, middle: int, end: int) -> str:
    """What stands before and behind `middle`, exchanged; the spaces around stay where they are."""
    one = line.text(start, middle)
    two = line.text(middle + 1, end)
    swapped = (
        one.replace(one.strip(), two.strip(), 1) + line.words[middle].text + two.replace(two.strip(), one.strip(), 1)
    )
    return line.put(start, swapped, end)


def _is_between_names(line: Line, place: int) -> bool:
    """Whether an operator stands between two simple values, with a space on each side."""
    inside = 2 <= place < len(line.words) - 2
    spaced = inside and line.words[place - 1].kind == line.words[place + 1].kind == "space"
    return spaced and _stands_alone(line, place - 2) and _stands_alone(line, place + 2)


def _stands_alone(line: Line, place: int) -> bool:
    """A name or number that is no part of a call, a subscript or a dotted name."""
    alone = line.words[place].kind == "number" or line.words[place].is_variable
    return alone and line.near(place, -1).text != "." and line.near(place, 1).text not in (".", "(", "[")
