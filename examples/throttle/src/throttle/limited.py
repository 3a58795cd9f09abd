"""A decorator that refuses calls beyond a limit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from .keyed import KeyedLimiter, Limiter

Function = TypeVar("Function", bound=Callable[..., Any])


class Throttled(RuntimeError):
    """The limit is reached. ``retry_after`` says for how many seconds."""

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(f"{name} is throttled, try again in {retry_after:.1f} s")
        self.retry_after = retry_after


def throttled(limiter: Limiter | KeyedLimiter, key: Callable[..., Any] | None = None) -> Callable[[Function], Function]:
    """Counts each call of a function; ``key`` picks the key of a keyed limiter from the arguments."""
    if isinstance(limiter, KeyedLimiter) != (key is not None):
        raise TypeError("a keyed limiter needs a key function, and only a keyed one")

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if key is not None:
                chosen = key(*args, **kwargs)
                if not limiter.allow(chosen):
                    raise Throttled(f"{function.__name__} for {chosen!r}", limiter.retry_after(chosen))
            elif not limiter.allow():
                raise Throttled(function.__name__, limiter.retry_after)
            return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    return decorate
