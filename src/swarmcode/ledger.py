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
)
from swarmcode.flow import Attempt, Baseline, Candidate, Changes, Issue, Merge, Plan, Report, Usage, Verdict


@dataclass(slots=True)
class Ledger:
    """Keeps what passes by, and passes it on: the first of the run's observers."""

    emit: Emit
    baseline: Baseline | None = None
    """The first: later ones stand on what was merged."""
    plans: list[Plan] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    merge: Merge | None = None
    duplicates: int = 0
    planning: Usage = field(default_factory=Usage)
    planner_steps: int = 0
    proof_seconds: float = 0.0

    def __call__(self, event: Event) -> None:
        """Takes an event."""
        match event:
            case BaselineMeasured(baseline=baseline) if self.baseline is None:
                self.baseline = baseline
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
        """The merged files, whole."""
        return self.merge.changes if self.merge else {}

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
            sandbox_seconds=self.proof_seconds + sum(verdict.seconds for verdict in self.verdicts.values()),
            critical_steps=self.planner_steps + self._longest_steps(),
            why=why,
        )

    def _longest_steps(self) -> int:
        """Sum over the plans of the most steps that one attempt of theirs took."""
        total = 0
        for plan in self.plans:
            names = {subtask.id for subtask in plan.subtasks}
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
