"""What every agent is to the swarm: something that knows what to try next, and tries it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from swarmcode.flow import Attempt, Subtask, Suspect


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One attempt to be made."""

    id: str
    """Unique in a run: `subtask.number`."""
    subtask: Subtask
    suspect: Suspect | None
    """The place that this attempt looks at; None: the agent sees the subtask as a whole."""
    sample: int
    """0 takes the most probable answer; later ones are drawn."""
    seed: int
    """Seed of the draw."""


class Agent(Protocol):
    """One protocol, spoken with one model, on one tree."""

    dear: bool
    """Whether an attempt costs more than a test run: then none is made that a verdict might spare."""

    def assignments(self, subtask: Subtask) -> Iterator[Assignment]:
        """What to try, best first; ends where nothing is left to try."""
        ...

    async def attempt(self, assignment: Assignment) -> Attempt:
        """Makes one attempt. Expected failures are endings of the attempt.

        Raises `EngineLost` where the engine died; anything else that it raises is a bug.
        """
        ...
