"""What an endpoint says of its rate limits: `Retry-After`, and the `x-ratelimit-*` family."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_KINDS = ("requests", "tokens")


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds for which an endpoint that refused a request asks to be left alone; None where it does not say."""
    exact = _number(headers.get("retry-after-ms", ""))
    if exact is not None:
        return exact / 1000
    said = headers.get("retry-after", "")
    seconds = _number(said) if said else None
    if seconds is None and said:
        seconds = _until(said, now or datetime.now(UTC))
    return seconds if seconds is not None else _reset(headers, _KINDS)


def spent(headers: Mapping[str, str]) -> float | None:
    """Seconds until more may be asked of an endpoint that answered and says that nothing is left; else None."""
    empty = [kind for kind in _KINDS if headers.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0"]
    return _reset(headers, empty)


def _reset(headers: Mapping[str, str], kinds: list[str] | tuple[str, ...]) -> float | None:
    found = [_duration(headers.get(f"x-ratelimit-reset-{kind}", "")) for kind in kinds]
    return max((seconds for seconds in found if seconds is not None), default=None)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*\d{1,9}(\.\d{1,9})?\s*", text, re.ASCII) else None


def _duration(text: str) -> float | None:
    """`1m30s`, `20ms`, `7`."""
    if not _DURATION.fullmatch(text.strip()):
        return _number(text)
    return math.fsum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def _until(text: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
