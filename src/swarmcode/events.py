"""What a run tells its observers (journal, live view), as it happens.

An event is a frozen value with a time; `emit` is any callable that takes one. Observers never answer, and a run goes
the same way whoever listens. `Attempt`, `Verdict` and the other values of `flow` travel inside, unchanged.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from swarmcode.flow import Attempt, Baseline, Candidate, Issue, Merge, Plan, Report, Reproduction, Suspect, Verdict

Phase = Literal["snapshot", "model", "sandbox", "baseline", "reproduce", "localise", "plan", "swarm", "merge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened."""

    at: float = field(default_factory=time.time)
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    run: str
    issue: Issue
    model: str
    sandbox: str
    agents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted(Event):
    phase: Phase
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEnded(Event):
    phase: Phase
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineMeasured(Event):
    baseline: Baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced(Event):
    reproduction: Reproduction


@dataclass(frozen=True, slots=True, kw_only=True)
class Localised(Event):
    suspects: tuple[Suspect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(Event):
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveStarted(Event):
    number: int
    width: int
    subtasks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(Event):
    attempt: str
    subtask: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded(Event):
    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateFound(Event):
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateDropped(Event):
    attempt: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateJudged(Event):
    candidate: Candidate
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtaskSolved(Event):
    subtask: str
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged(Event):
    merge: Merge


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned(Event):
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed(Event):
    """The run ended without a report, by an error that was told to a person."""

    message: str


Emit = Callable[[Event], None]
"""Takes an event; must not block and must not raise."""


def silent(event: Event) -> None:
    """An observer that does not care."""
