"""Rate limits and a small cache for services that call other services."""

from .bucket import TokenBucket
from .cache import Cache
from .clock import Clock, ManualClock, SystemClock
from .keyed import KeyedLimiter
from .limited import Throttled, throttled
from .window import WindowLimiter

__all__ = [
    "Cache",
    "Clock",
    "KeyedLimiter",
    "ManualClock",
    "SystemClock",
    "Throttled",
    "TokenBucket",
    "WindowLimiter",
    "throttled",
]
