"""What a run has done so far, and the report that is made of it."""

from dataclasses import dataclass, field, replace

from swarmcode.events import (
    AttemptEnded,
    BaselineMeasured,
    CandidateDropped,
    CandidateJudged,
    Emit,
    Event,
    Merged,
    Planned,
    Reproduced,
)
from swarmcode.flow import (
    Attempt,
    Baseline,
    Candidate,
    Changes,
    Issue,
    Merge,
    Plan,
    Report,
    Reproduction,
    Usage,
    Verdict,
)
from swarmcode.reproduce import SUBTASK as WRITING


@dataclass(slots=True)
class Ledger:
    """Keeps what passes by, and passes it on: the first of the run's observers."""

    emit: Emit
    baseline: Baseline | None = None
    """The first, or the first with a test that had to be written: later ones stand on what was merged."""
    reproduction: Reproduction | None = None
    plans: list[Plan] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    merge: Merge | None = None
    duplicates: int = 0
    planning: Usage = field(default_factory=Usage)
    planner_steps: int = 0
    other_seconds: float = 0.0
    """Of test runs that no verdict of a candidate has: proofs, and runs of tests that were just written."""

    def __call__(self, event: Event) -> None:
        """Takes an event."""
        match event:
            case BaselineMeasured(baseline=baseline) if self.baseline is None or not self.baseline.failing:
                self.baseline = baseline
            case Reproduced(reproduction=reproduction):
                self.reproduction = reproduction
            case Planned(plan=plan):
                self.plans.append(plan)
            case AttemptEnded(attempt=attempt):
                self.attempts.append(attempt)
            case CandidateJudged(candidate=candidate, verdict=verdict):
                self.verdicts[candidate.key] = verdict
            case CandidateDropped(reason="duplicate"):
                self.duplicates += 1
            case Merged(merge=merge):
                self.merge = merge
        self.emit(event)

    @property
    def accepted(self) -> tuple[Candidate, ...]:
        """What is merged so far."""
        return self.merge.accepted if self.merge else ()

    @property
    def changes(self) -> Changes:
        """The files that stand over the base, whole: what was merged, and the test that had to be written."""
        written = self.reproduction.changes if self.reproduction else {}
        return {**written, **(self.merge.changes if self.merge else {})}

    @property
    def turned(self) -> frozenset[str]:
        """Tests that the merge turns."""
        return self.merge.verdict.turned if self.merge and self.merge.verdict else frozenset()

    def report(self, *, run: str, issue: Issue, model: str, sandbox: str, why: str, seconds: float) -> Report:
        """All of it, by id."""
        failing = self.baseline.failing if self.baseline else ()
        usage = sum((attempt.usage for attempt in self.attempts), self.planning)
        return Report(
            run=run,
            issue=issue,
            model=model,
            sandbox=sandbox,
            baseline=self.baseline,
            plans=tuple(self.plans),
            attempts=tuple(self.attempts),
            verdicts=dict(self.verdicts),
            merge=self.merge,
            solved=tuple(test for test in failing if test in self.turned),
            unsolved=tuple(test for test in failing if test not in self.turned),
            duplicates=self.duplicates,
            usage=replace(usage, seconds=seconds),
            sandbox_seconds=self.other_seconds + sum(verdict.seconds for verdict in self.verdicts.values()),
            critical_steps=self.planner_steps + self._longest_steps(),
            why=why,
            reproduction=self.reproduction,
        )

    def _longest_steps(self) -> int:
        """Sum over the plans, and the writing of a test, of the most steps that one attempt of theirs took."""
        total = 0
        for names in ({WRITING}, *({subtask.id for subtask in plan.subtasks} for plan in self.plans)):
            total += max((attempt.steps for attempt in self.attempts if attempt.subtask in names), default=0)
        return total


def joined(before: Merge | None, new: Merge) -> Merge:
    """Two merges, the later made on the ground of the earlier. Candidates of a later round carry the changes of the
    earlier ones, so the newest proof is a proof of them all."""
    if before is None or before.verdict is None:
        return replace(new, rejected=(before.rejected if before else ()) + new.rejected)
    if new.verdict is None:
        return replace(before, rejected=before.rejected + new.rejected)
    return Merge(
        accepted=before.accepted + new.accepted,
        rejected=before.rejected + new.rejected,
        diff=new.diff,
        changes=new.changes,
        verdict=replace(new.verdict, turned=before.verdict.turned | new.verdict.turned),
    )
