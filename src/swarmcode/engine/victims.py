"""Which seat to give up first: a heap of seats by a key that may have changed since they were put in.

Pure. Most keys only grow (a seat is wanted again, or left as the only holder of something), and such a change is
noticed when the seat comes to the top. Whoever makes a key smaller enters the seat again.
"""

from collections.abc import Callable, Set
from heapq import heapify, heappop, heappush
from typing import Any

_STALE = 8
"""Entries for each seat after which the heap is made anew."""


class Victims:
    """Seats from the smallest key up. `kept` is the owner's own set of those that can be given up: others may be in the
    heap, and are passed over."""

    def __init__(self, kept: Set[int], key: Callable[[int], Any]) -> None:
        self._kept = kept
        self._key = key
        self._heap: list[tuple[Any, int]] = []

    def enter(self, seat: int) -> None:
        """The seat is kept from now on, or its key has become smaller."""
        heappush(self._heap, (self._key(seat), seat))
        if len(self._heap) > _STALE * (len(self._kept) + 1):
            self._heap = [(self._key(kept), kept) for kept in self._kept]
            heapify(self._heap)

    def first(self, spare: int) -> int:
        """The kept seat with the smallest key, other than `spare`; -1: there is none. It stays."""
        passed: list[tuple[Any, int]] = []
        found = -1
        while self._heap and found < 0:
            entry = heappop(self._heap)
            key, seat = entry
            if seat not in self._kept:
                continue
            now = self._key(seat)
            if now != key:
                heappush(self._heap, (now, seat))
                continue
            passed.append(entry)
            found = seat if seat != spare else -1
        for entry in passed:
            heappush(self._heap, entry)
        return found
