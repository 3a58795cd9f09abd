"""At most so many calls in a stretch of time."""

from __future__ import annotations

from .clock import Clock, SystemClock


class WindowLimiter:
    """Allows at most ``limit`` calls in any ``per`` seconds."""

    def __init__(self, limit: int, per: float, clock: Clock | None = None) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        if per <= 0:
            raise ValueError("per must be positive")
        self.limit = limit
        self.per = per
        self._clock = clock or SystemClock()
        self._window = self._current()
        self._count = 0

    def _current(self) -> int:
        return int(self._clock.now() // self.per)

    def _roll(self) -> None:
        window = self._current()
        if window != self._window:
            self._window = window
            self._count = 0

    def allow(self, calls: int = 1) -> bool:
        """Whether ``calls`` may be made now; if so they are counted. All of them or none."""
        if calls < 1:
            raise ValueError("calls must be at least 1")
        self._roll()
        if self._count + calls > self.limit:
            return False
        self._count += calls
        return True

    @property
    def remaining(self) -> int:
        """Calls that could be made right now."""
        self._roll()
        return self.limit - self._count

    @property
    def retry_after(self) -> float:
        """Seconds until at least one call is possible; 0 if one is possible now."""
        self._roll()
        if self._count < self.limit:
            return 0.0
        return (self._window + 1) * self.per - self._clock.now()

    def reset(self) -> None:
        """Forgets all calls."""
        self._window = self._current()
        self._count = 0

    @property
    def idle(self) -> bool:
        """Whether nothing that was counted matters any more, so the limiter could be dropped."""
        self._roll()
        return self._count == 0
