"""A cache that forgets: after a time, and when it is full."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from .clock import Clock, SystemClock

_MISSING = object()


class Cache:
    """Keeps at most ``size`` values, each for ``ttl`` seconds; the one used longest ago makes room."""

    def __init__(self, size: int, ttl: float, clock: Clock | None = None) -> None:
        if size < 1 or ttl <= 0:
            raise ValueError("size and ttl must be positive")
        self.size = size
        self.ttl = ttl
        self.hits = 0
        self.misses = 0
        self._clock = clock or SystemClock()
        self._items: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    def __len__(self) -> int:
        self._expire()
        return len(self._items)

    def __iter__(self) -> Iterator[Hashable]:
        self._expire()
        return iter(list(self._items))

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self._items.pop(key, None)
        if len(self._items) >= self.size:
            self._expire()
        while len(self._items) >= self.size:
            self._items.popitem(last=False)
        self._items[key] = (self._clock.now() + self.ttl, value)

    def get(self, key: Hashable, default: Any = None) -> Any:
        entry = self._items.get(key)
        if entry is None or entry[0] <= self._clock.now():
            self._items.pop(key, None)
            self.misses += 1
            return default
        self._items.move_to_end(key)
        self.hits += 1
        return entry[1]

    def get_or(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The cached value, else a new one, which is kept."""
        value = self.get(key, _MISSING)
        if value is _MISSING:
            value = make()
            self[key] = value
        return value

    def _expire(self) -> None:
        now = self._clock.now()
        for key in [key for key, (until, _) in self._items.items() if until <= now]:
            del self._items[key]
