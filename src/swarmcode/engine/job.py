"""A request on its way through an engine."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from swarmcode.engine.answer import Answer
from swarmcode.engine.protocol import Completion, Request
from swarmcode.errors import SwarmcodeError

Outcome = tuple[Completion, ...] | SwarmcodeError


@dataclass(eq=False, slots=True)
class Job:
    """A request, and who waits for its outcome."""

    request: Request
    prompt: tuple[int, ...]
    answers: tuple[Answer, ...]
    deliver: Callable[[Outcome], None]
    """Called once, in the owner's thread."""
    tell: Callable[[], None] | None = None
    """Called there after each step that an answer has gained something from, and before `deliver`."""
    began: float = field(default_factory=time.monotonic)
    sequences: tuple[int, ...] = ()
    """The scheduler's, one an answer."""
    completions: dict[int, Completion] = field(default_factory=dict)
    """By index of the answer."""
    fault: SwarmcodeError | None = None
