"""All that a run is given, beside the model and the boxes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from swarmcode.flow import Baseline, Issue, Reproduction, Verdict
from swarmcode.plan import Effort
from swarmcode.repo import Snapshot
from swarmcode.sandbox.protocol import Limits

IfGreen = Literal["write", "refuse", "done"]
"""Where no test fails: have one written that shows the fault, say that there must be one, or be done with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run to be made."""

    run: str
    """Id of the run."""
    issue: Issue
    snapshot: Snapshot
    effort: Effort
    limits: Limits
    """Of one run of the suite."""
    seconds: float
    """Budget for the whole story."""
    workers: int
    """Candidates tried at the same time."""
    seed: int
    sandbox: str
    """Kind of sandbox, for the report."""
    if_green: IfGreen = "write"
    """What is done where no test fails."""
    known_baseline: Baseline | None = None
    """Of a run that is resumed."""
    known_reproduction: Reproduction | None = None
    """Of a run that is resumed."""
    known: Mapping[str, Verdict] = field(default_factory=dict)
    """Verdicts of a run that is resumed, by candidate key."""
