"""Where a run stands, folded from its events: what both the live view and the plain lines speak of.

Time comes from the events alone, so the same events give the same state.
"""

from dataclasses import dataclass, field

from swarmcode import events
from swarmcode.events import Phase
from swarmcode.flow import Baseline, Reproduction, Verdict
from swarmcode.report.summary import fails
from swarmcode.report.terminal import counted


@dataclass(slots=True)
class PhaseState:
    """A phase, all its rounds together."""

    seconds: float = 0.0
    """Of the rounds that ended."""
    since: float | None = None
    """When the present round began; None: it is over."""
    detail: str = ""
    """What came of it."""

    def lasted(self, now: float) -> float:
        """Seconds up to now."""
        return self.seconds + (max(0.0, now - self.since) if self.since is not None else 0.0)


@dataclass(slots=True)
class Progress:
    """An observer that remembers."""

    started: float | None = None
    """Time of the first event."""
    model: str = ""
    sandbox: str = ""
    agents: int = 0
    """At once, at most."""
    phases: dict[Phase, PhaseState] = field(default_factory=dict)
    """In the order in which they began."""
    failing: int = 0
    """Tests that are to be turned."""
    subtasks: int = 0
    solved: set[str] = field(default_factory=set)
    """Subtasks."""
    active: dict[str, str] = field(default_factory=dict)
    """Attempt -> subtask, for agents at work or waiting for a seat."""
    done: int = 0
    """Attempts that ended."""
    crashed: int = 0
    """Attempts that ended in an error of ours."""
    queued: set[str] = field(default_factory=set)
    """Attempts whose candidate has no verdict yet."""
    tried: int = 0
    """Candidates that have one."""
    dropped: int = 0
    """Candidates that were never tried: duplicates, out of scope, no longer needed."""
    turned: frozenset[str] = frozenset()
    """Tests that some passing candidate turns."""
    nearest: Verdict | None = None
    """The best verdict, while none has passed."""

    def __call__(self, event: events.Event) -> None:
        """Takes the next event."""
        self.started = event.at if self.started is None else self.started
        match event:
            case events.RunStarted():
                self.model, self.sandbox, self.agents = event.model, event.sandbox, event.agents
            case events.PhaseStarted() | events.PhaseEnded():
                self._phase(event)
            case events.BaselineMeasured(baseline=baseline):
                self._baseline(baseline)
            case events.Reproduced(reproduction=written):
                self._detail("reproduce", reproduced_words(written))
            case events.Localised(suspects=suspects):
                self._detail("localise", counted(len(suspects), "suspect"))
            case events.Planned(plan=plan):
                self._detail("plan", f"{plan.mode}: {plan.why}")
                self.subtasks, self.solved = len(plan.subtasks), set()
            case events.WaveStarted():
                subtasks = ", ".join(event.subtasks)
                writing = self.phases.get("reproduce", PhaseState()).since is not None
                at_work: Phase = "reproduce" if writing else "swarm"
                self._detail(at_work, f"wave {event.number}, {counted(event.width, 'agent')}, subtask {subtasks}")
            case events.Merged(merge=merge):
                self._detail("merge", "proven" if merge.proven else "nothing proven")
            case _:
                self._attempt(event)

    def _phase(self, event: events.PhaseStarted | events.PhaseEnded) -> None:
        state = self.phases.setdefault(event.phase, PhaseState())
        state.detail = event.detail or state.detail
        if isinstance(event, events.PhaseStarted):
            state.since = event.at
        else:
            state.since = None
            state.seconds += event.seconds
            if event.phase in ("reproduce", "swarm"):
                self.active.clear()
                self.queued.clear()

    def _detail(self, phase: Phase, text: str) -> None:
        self.phases.setdefault(phase, PhaseState()).detail = text

    def _baseline(self, baseline: Baseline) -> None:
        if not self.turned:
            self.failing = len(baseline.failing)
        self._detail("baseline", baseline_words(baseline))

    def _attempt(self, event: events.Event) -> None:
        match event:
            case events.AttemptStarted():
                self.active[event.attempt] = event.subtask
            case events.AttemptEnded(attempt=attempt):
                self.active.pop(attempt.id, None)
                self.done += 1
                self.crashed += attempt.ending == "crashed"
            case events.CandidateFound(candidate=candidate):
                self.queued.add(candidate.attempt)
            case events.CandidateDropped():
                self.queued.discard(event.attempt)
                self.dropped += 1
            case events.CandidateJudged(candidate=candidate, verdict=verdict):
                self.queued.discard(candidate.attempt)
                self.tried += 1
                self._verdict(verdict)
            case events.SubtaskSolved(subtask=subtask):
                self.solved.add(subtask)
                self.active = {attempt: of for attempt, of in self.active.items() if of != subtask}

    def _verdict(self, verdict: Verdict) -> None:
        if verdict.outcome == "passed":
            self.turned |= verdict.turned
        elif self.nearest is None or _nearness(verdict) > _nearness(self.nearest):
            self.nearest = verdict

    def best(self) -> str:
        """The best so far, in words; empty before the first verdict."""
        if self.turned:
            solved = f", {len(self.solved)} of {self.subtasks} subtasks solved" if self.subtasks > 1 else ""
            return f"turns {len(self.turned)} of {counted(self.failing, 'failing test')}, breaks none{solved}"
        if self.nearest is None:
            return ""
        broke = len(self.nearest.broke)
        return f"none passes; the nearest turns {len(self.nearest.turned)}, breaks {broke or 'none'}"


def reproduced_words(written: Reproduction) -> str:
    """What came of writing a test, in a line."""
    return f"{written.path} was written and {fails(written)}: {written.manner}"


def _nearness(verdict: Verdict) -> tuple[int, int]:
    return len(verdict.turned) - len(verdict.broke), len(verdict.turned)


def baseline_words(baseline: Baseline) -> str:
    """How the suite stands, in a few words."""
    tests = len(baseline.failing) + len(baseline.flaky) + len(baseline.passing)
    flaky = f", {len(baseline.flaky)} flaky" if baseline.flaky else ""
    fail = "fails" if len(baseline.failing) == 1 else "fail"
    return f"{len(baseline.failing)} of {counted(tests, 'test')} {fail}{flaky}"
