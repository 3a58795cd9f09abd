"""Durations and sizes as people write them."""

from __future__ import annotations

import re

_DURATION_FACTORS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SIZE_FACTORS = {
    "": 1,
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|d|h|m|s)")
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$")


def parse_duration(text: str) -> float:
    """Seconds in ``"90s"``, ``"1.5h"``, ``"1h30m"``, ``"250ms"``. Raises ValueError for anything else."""
    total = 0.0
    position = 0
    for match in _PART.finditer(text):
        if match.start() != position:
            break
        amount, unit = match.groups()
        total = float(amount) * _DURATION_FACTORS[unit]
        position = match.end()
    if position == 0 or text[position:].strip():
        raise ValueError(f"not a duration: {text!r}")
    return total


def format_duration(seconds: float) -> str:
    """Two units at most: ``"1h 30m"``, ``"2d 3h"``, ``"4.2s"``."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    rest = round(seconds)
    parts = []
    for unit in ("d", "h", "m", "s"):
        amount, rest = divmod(rest, int(_DURATION_FACTORS[unit]))
        if amount or parts:
            parts.append((amount, unit))
    return " ".join(f"{amount}{unit}" for amount, unit in parts[:2] if amount)


def parse_size(text: str) -> int:
    """Bytes in ``"10 MB"``, ``"1.5GiB"``, ``"512"``. Raises ValueError for anything else."""
    match = _SIZE.match(text)
    if match is None or match[2] not in _SIZE_FACTORS:
        raise ValueError(f"not a size: {text!r}")
    return int(float(match[1]) * _SIZE_FACTORS[match[2]])


def format_size(size: int) -> str:
    """Binary units with one digit: ``"1.5 KiB"``."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
