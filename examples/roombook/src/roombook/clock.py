"""Times of day as minutes since midnight."""

from __future__ import annotations

import re

DAY = 24 * 60

_TIME = re.compile(r"^(\d{1,2}):(\d{2})$")


def minutes(text: str) -> int:
    """``"08:30"`` -> 510. ``"24:00"`` is the end of the day. Raises ValueError for what is no time."""
    match = _TIME.match(text.strip())
    if match is None:
        raise ValueError(f"not a time of day: {text!r}")
    hour, minute = int(match[1]), int(match[2])
    value = hour * 60 + minute
    if minute >= 60 or value > DAY:
        raise ValueError(f"not a time of day: {text!r}")
    return value


def text(value: int) -> str:
    """510 -> ``"08:30"``."""
    if not 0 <= value <= DAY:
        raise ValueError(f"not within a day: {value} minutes")
    return f"{value // 60:02d}:{value % 60:02d}"


def duration(value: int) -> str:
    """90 -> ``"1 h 30 min"``."""
    hours, rest = divmod(value, 60)
    parts = []
    if hours:
        parts.append(f"{hours} h")
    if rest or not hours:
        parts.append(f"{rest} min")
    return " ".join(parts)


def round_up(value: int, step: int) -> int:
    """The first multiple of ``step`` that is not before ``value``."""
    return -(-value // step) * step
