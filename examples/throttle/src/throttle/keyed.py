"""One limiter for each key: a user, an address, an API key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol


class Limiter(Protocol):
    def allow(self, calls: int = 1) -> bool: ...

    @property
    def retry_after(self) -> float: ...

    @property
    def idle(self) -> bool: ...


class KeyedLimiter:
    """Makes limiters as keys turn up, and keeps at most ``max_keys`` of them.

    Idle limiters are dropped first. If all are busy, the one that was used longest ago goes, and its key starts over.
    """

    def __init__(self, make: Callable[[], Limiter], max_keys: int = 10_000) -> None:
        if max_keys < 1:
            raise ValueError("max_keys must be at least 1")
        self._make = make
        self._max_keys = max_keys
        self._limiters: OrderedDict[Hashable, Limiter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._limiters)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._limiters

    def allow(self, key: Hashable, calls: int = 1) -> bool:
        return self._get(key).allow(calls)

    def retry_after(self, key: Hashable) -> float:
        limiter = self._limiters.get(key)
        return limiter.retry_after if limiter is not None else 0.0

    def _get(self, key: Hashable) -> Limiter:
        limiter = self._limiters.get(key)
        if limiter is None:
            if len(self._limiters) >= self._max_keys:
                self._make_room()
            limiter = self._limiters[key] = self._make()
        self._limiters.move_to_end(key)
        return limiter

    def _make_room(self) -> None:
        for key in [key for key, limiter in self._limiters.items() if limiter.idle]:
            del self._limiters[key]
        while len(self._limiters) >= self._max_keys:
            self._limiters.popitem(last=False)
