"""How a setting is declared: key, meaning, check, and whether a project file may set it.

A declaration is a dataclass field (`setting(...)`), so default, type and check of a value stand in one line. A check
takes what a TOML file, an environment variable or a flag holds, and gives the value or raises `ValueError` with what
would have been right.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

T = TypeVar("T")

ENVIRONMENT = "SWARMCODE_"
LONGEST_NUMBER = 30
"""Characters; Python itself refuses to read numbers of thousands of digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is known of a setting before anyone sets it."""

    key: str
    """As in a file; a dot stands for a table."""
    what: str
    """Its meaning, in a line."""
    default: Any
    parse: Callable[[object], Any]
    """Raises `ValueError` with what would be right."""
    project: Callable[[Any], bool]
    """Whether a project file may set it to this value."""

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT + self.key.upper().replace(".", "_")


def anything(value: object) -> bool:
    """A project file may set it as it likes."""
    return True


def nothing(value: object) -> bool:
    """A project file may not set it."""
    return False


def setting(
    key: str, default: T, what: str, parse: Callable[[object], T], project: Callable[[T], bool] = anything
) -> T:
    """A dataclass field that is a setting."""
    declared = Setting(key=key, what=what, default=default, parse=parse, project=project)
    return field(default=default, metadata={"setting": declared})


def whole(low: int, high: int) -> Callable[[object], int]:
    """A whole number from `low` to `high`, or its spelling."""

    def parse(raw: object) -> int:
        if isinstance(raw, str) and raw.strip().isdecimal() and len(raw) <= LONGEST_NUMBER:
            raw = int(raw)
        if isinstance(raw, bool) or not isinstance(raw, int) or not low <= raw <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return raw

    return parse


def automatic(parse: Callable[[object], T]) -> Callable[[object], T | Literal["auto"]]:
    """The word `auto`, or what `parse` takes."""

    def either(raw: object) -> T | Literal["auto"]:
        if raw == "auto":
            return "auto"
        try:
            return parse(raw)
        except ValueError as error:
            raise ValueError(f"auto, or {error}") from error

    return either


def number(low: float, high: float) -> Callable[[object], float]:
    """A number from `low` to `high`, or its spelling."""

    def parse(raw: object) -> float:
        try:
            value = float(raw) if isinstance(raw, str | int | float) and not isinstance(raw, bool) else float("nan")
        except (ValueError, OverflowError):
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return parse


def choice(*choices: T) -> Callable[[object], T]:
    """One of some words."""

    def parse(raw: object) -> T:
        for each in choices:
            if raw == each:
                return each
        raise ValueError("one of " + ", ".join(str(each) for each in choices))

    return parse


def text(raw: object) -> str:
    """Any text without control characters."""
    if not isinstance(raw, str) or any(ord(character) < 32 or ord(character) == 127 for character in raw):
        raise ValueError("a text on one line")
    return raw.strip()


def command(raw: object) -> str:
    """A command line as one would type it in a shell, or a list of its words."""
    expected = 'a command, "pytest -q", or a list of its words'
    if isinstance(raw, list) and raw and all(isinstance(word, str) for word in raw):
        return text(shlex.join(raw))
    line = text(raw) if isinstance(raw, str) else ""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(f"{expected} ({error})") from error
    if not words:
        raise ValueError(expected)
    return line
