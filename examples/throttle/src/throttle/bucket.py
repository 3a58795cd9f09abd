"""A token bucket: an average rate, with bursts up to a capacity."""

from __future__ import annotations

from .clock import Clock, SystemClock


class TokenBucket:
    """Gains ``rate`` tokens a second, holds ``capacity`` at most, and starts full."""

    def __init__(self, rate: float, capacity: float, clock: Clock | None = None) -> None:
        if rate <= 0 or capacity <= 0:
            raise ValueError("rate and capacity must be positive")
        self.rate = rate
        self.capacity = capacity
        self._clock = clock or SystemClock()
        self._tokens = float(capacity)
        self._filled = self._clock.now()

    def _fill(self) -> None:
        now = self._clock.now()
        self._tokens = min(self.capacity, self._tokens + (now - self._filled) * self.rate)
        self._filled = now

    @property
    def tokens(self) -> float:
        self._fill()
        return self._tokens

    def allow(self, calls: int = 1) -> bool:
        if calls > self.capacity:
            raise ValueError(f"{calls} calls never fit into a bucket of {self.capacity}")
        self._fill()
        if self._tokens < calls:
            return False
        self._tokens -= calls
        return True

    @property
    def retry_after(self) -> float:
        """Seconds until one token is there; 0 if there is one now."""
        self._fill()
        return max(0.0, (1 - self._tokens) / self.rate)

    @property
    def idle(self) -> bool:
        return self.tokens >= self.capacity
