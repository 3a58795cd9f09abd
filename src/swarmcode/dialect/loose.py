"""JSON objects as models write them: raw line ends in strings, trailing commas, Python's words, single quotes, fences.

Nothing is ever evaluated. What is certain to be meant is taken; what is not is a `ValueError` that says where.
"""

import json
import math
import re
from typing import Any, NoReturn

DEEPEST = 64
"""Levels of nesting."""
_SPACE = re.compile(r"\s*")
_FENCE = re.compile(r"\A\s*```[\w-]*[ \t]*\n?(?P<inner>.*?)\n?[ \t]*```\s*\Z", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,400})(?:\.\d{1,400})?(?:[eE][+-]?\d{1,4})?")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_WORD = re.compile(r"[A-Za-z_]\w*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'", "\n": ""}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_LEFT_OVER = re.compile(r"[\s}\];,]*\Z")
"""What may stand behind an object: closers too many."""


def json_object(text: str) -> dict[str, Any]:
    """The one object that `text` is; an empty text is an empty one. Raises `ValueError`, a phrase of what is wrong."""
    inner = fenced(text).strip()
    if not inner:
        return {}
    try:
        value = json.loads(inner, strict=False, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        value, end = value_at(inner)
        if not _LEFT_OVER.match(inner, end):
            raise ValueError(f"something follows the JSON object: {inner[end : end + 20].strip()!r}") from None
    if isinstance(value, str) and value.lstrip()[:1] == "{":  # an object that was encoded twice
        return json_object(value)
    if not isinstance(value, dict):
        # The mistake is in the text, not in the type of what the caller gave.
        raise ValueError(f"a JSON object is wanted, and this is {_kind(value)}")  # noqa: TRY004
    cleaned: dict[str, Any] = _whole(value)
    return cleaned


def fenced(text: str) -> str:
    """What is inside a Markdown fence, if the whole text is one."""
    found = _FENCE.match(text)
    return found["inner"] if found else text


def value_at(text: str, at: int = 0) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends. Raises `ValueError`."""
    return _Reader(text).value(at, 0)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        at = self._skip(at)
        sign = self._text[at : at + 1]
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        if sign == "{":
            return self._object(at + 1, depth)
        if sign == "[":
            return self._array(at + 1, depth)
        if sign in ('"', "'") and sign:
            return self._string(at)
        if number := _NUMBER.match(self._text, at):
            return self._number(number[0]), number.end()
        word = _WORD.match(self._text, at)
        if word and word[0] in _WORDS:
            return _WORDS[word[0]], word.end()
        raise self._wrong(at, "a value is missing")

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        made: dict[str, Any] = {}
        while True:
            at = self._skip(at)
            if self._text[at : at + 1] == "}":
                return made, at + 1
            if self._text[at : at + 1] not in ('"', "'"):
                raise self._wrong(at, "a name in quotes is missing")
            name, at = self._string(at)
            at = self._skip(at)
            if self._text[at : at + 1] != ":":
                raise self._wrong(at, "a colon is missing")
            made[name], at = self.value(at + 1, depth + 1)
            at = self._after(at, "}")

    def _array(self, at: int, depth: int) -> tuple[list[Any], int]:
        made: list[Any] = []
        while True:
            at = self._skip(at)
            if self._text[at : at + 1] == "]":
                return made, at + 1
            item, at = self.value(at, depth + 1)
            made.append(item)
            at = self._after(at, "]")

    def _after(self, at: int, closer: str) -> int:
        """Behind the comma; a closer is left for who waits for it."""
        at = self._skip(at)
        if self._text[at : at + 1] == ",":
            return at + 1
        if self._text[at : at + 1] == closer:
            return at
        raise self._wrong(at, f"a comma or {closer} is missing")

    def _string(self, at: int) -> tuple[str, int]:
        quote, start, pieces = self._text[at], at, []
        at += 1
        plain = re.compile(rf"[^\\{quote}]*")
        while True:
            run = plain.match(self._text, at)
            assert run, "an empty run matches"
            pieces.append(run[0])
            at = run.end()
            if self._text[at : at + 1] == quote:
                return "".join(pieces), at + 1
            if at + 1 >= len(self._text):
                raise self._wrong(start, "a string is not closed")
            piece, at = self._escape(at + 1)
            pieces.append(piece)

    def _escape(self, at: int) -> tuple[str, int]:
        """What stands for the escape whose sign is at `at`; one that JSON does not know means both its characters."""
        sign = self._text[at]
        digits = _HEX.match(self._text, at + 1) if sign == "u" else None
        if digits:
            return chr(int(digits[0], 16)), digits.end()
        return _ESCAPES.get(sign, "\\" + sign), at + 1

    def _number(self, digits: str) -> int | float:
        return int(digits) if digits.lstrip("-").isdigit() else _finite(digits)

    def _skip(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        assert space, "an empty run matches"
        return space.end()

    def _wrong(self, at: int, what: str) -> ValueError:
        if at >= len(self._text):
            return ValueError("the JSON ends too early")
        return ValueError(f"{what} at character {at + 1}: {self._text[at : at + 20]!r}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _whole(value: Any, depth: int = 0) -> Any:
    """With halves of surrogate pairs, which no file can hold, replaced. Raises `ValueError` where it is too deep."""
    if depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(name): _whole(item, depth + 1) for name, item in value.items()}
    return [_whole(item, depth + 1) for item in value] if isinstance(value, list) else value


def _kind(value: Any) -> str:
    kinds = {str: "a string", list: "a list", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
