"""What flows between the stages, in the order in which it is made.

    Issue -> SuiteRun -> Baseline -> Suspect -> Plan(Subtask) -> Attempt -> Candidate -> Verdict -> Merge -> Report

and between Baseline and Suspect, where no test shows the fault, a Reproduction.

Every value is frozen and carries what the next room needs, so a hundred workers share it without locks and no stage
asks back upstream. Paths inside the repository are POSIX strings relative to its root; lines are counted from 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Mode = Literal["instant", "thinking", "agent", "swarm"]
Ending = Literal["submitted", "gave_up", "limit", "crashed"]
Outcome = Literal["passed", "failed", "timeout", "broken"]
TestOutcome = Literal["passed", "failed", "error", "skipped"]
RunOutcome = Literal["finished", "timeout", "broken"]

Changes = Mapping[str, bytes | None]
"""Path in the repository -> the file's whole new content, or None where it is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """What is to be fixed, where, and how one sees that it is."""

    title: str
    """First line of the text."""
    text: str
    """The whole text as the person wrote it."""
    images: tuple[Path, ...] = ()
    """Pictures that the text refers to."""
    repo: Path
    """Absolute path of the work tree on disk."""
    base: str
    """Git tree id of the snapshot that is fixed: what was on disk when the run began."""
    test: tuple[str, ...]
    """The test command."""
    inside: str = ""
    """Where `repo` lies below the top of its git repository; empty at the top, and outside of git."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One line of a stack, inside the repository."""

    path: str
    """File, relative to the repository."""
    line: int
    """Line, from 1."""
    function: str
    """Name of the function, as the runtime gave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """How one test ended."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    id: str
    """The runner's own id (pytest: node id)."""
    outcome: TestOutcome
    """`error` is a failure outside the test's own body: set-up, tear-down, collection."""
    seconds: float = 0.0
    """Wall time."""
    message: str = ""
    """What the runner says of the failure, shortened."""
    frames: tuple[Frame, ...] = ()
    """The stack of the failure, outermost first; repository files only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRun:
    """One run of the test command."""

    outcome: RunOutcome
    """`finished`: it ended by itself and its report is whole; `broken`: it died, or reported nothing usable."""
    exit_code: int | None
    """None where it was killed."""
    tests: Mapping[str, TestResult]
    """By test id. A command without per-test report has one, named after the command."""
    output: str
    """Tail of what it printed."""
    seconds: float
    """Wall time."""
    complaint: str = ""
    """One line: why it is broken, or which tests could not be collected."""

    @property
    def failing(self) -> frozenset[str]:
        """Ids of the tests that failed or erred."""
        return frozenset(test.id for test in self.tests.values() if test.outcome in ("failed", "error"))

    @property
    def passing(self) -> frozenset[str]:
        """Ids of the tests that passed."""
        return frozenset(test.id for test in self.tests.values() if test.outcome == "passed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """How the suite stands before anything is changed."""

    run: SuiteRun
    """The first run of the whole suite."""
    failing: tuple[str, ...]
    """Tests that failed in every run."""
    flaky: frozenset[str]
    """Tests that failed and then passed, with nothing changed."""
    passing: frozenset[str]
    """Tests that passed and must not be broken."""
    covered: Mapping[str, Mapping[str, frozenset[int]]]
    """Spectrum: test id -> path -> lines that ran. Only tests that were traced: the failing ones, and passing ones
    as far as the time allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A test that the model wrote in this run, because none of the project's own shows the fault."""

    path: str
    """The new test file."""
    changes: Changes
    """That file, whole."""
    diff: str
    """The same as a unified diff."""
    tests: tuple[str, ...]
    """Ids of its tests that fail on the code as it is."""
    manner: str
    """How they fail: the errors, and where in the project they are raised."""
    written: int
    """Attempts that wrote a test."""
    agreeing: int
    """Those whose test fails in the same manner, this one included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A place that may hold the fault."""

    path: str
    """File."""
    symbol: str
    """Qualified name of the innermost function or class around it; empty at top level."""
    start: int
    """First line."""
    end: int
    """Last line, inclusive."""
    score: float
    """Suspicion in 0..1, comparable within one run."""
    evidence: tuple[str, ...]
    """Why, in words: `in the trace of tests/test_a.py::test_x`, `spectrum 0.71`, `named in the issue`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtask:
    """One file-scoped piece of the work."""

    id: str
    """Short and readable: `1`, `2`; unique in a run."""
    goal: str
    """What is to be true afterwards, in a sentence."""
    tests: tuple[str, ...]
    """The failing tests that this subtask is to turn."""
    suspects: tuple[Suspect, ...]
    """Where to look, most suspicious first."""
    writes: frozenset[str]
    """Files that it may write."""
    reads: tuple[str, ...] = ()
    """Files that it should read."""
    depends_on: tuple[str, ...] = ()
    """Ids of subtasks that must be done first."""
    attempts: int = 0
    """Budget: how many attempts it may take in all; 0: as many as the run allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The work, split."""

    subtasks: tuple[Subtask, ...]
    """A DAG by `depends_on`; no two write one file."""
    mode: Mode
    """How each subtask is attempted."""
    widths: tuple[int, ...]
    """Agents of one subtask, wave by wave, while nothing is proven for it."""
    why: str
    """One line: why this mode and this width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What something cost."""

    prefilled: int = 0
    """Prompt tokens computed."""
    reused: int = 0
    """Prompt tokens taken from the KV cache."""
    decoded: int = 0
    """Tokens generated."""
    seconds: float = 0.0
    """Wall time."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prefilled=self.prefilled + other.prefilled,
            reused=self.reused + other.reused,
            decoded=self.decoded + other.decoded,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One agent's work on one subtask."""

    id: str
    """Unique in a run: `subtask.number`."""
    subtask: str
    """Id of its subtask."""
    seed: int
    """Seed of its sampling."""
    ending: Ending
    """How it ended; only `submitted` carries a diff."""
    diff: str = ""
    """Unified diff, or empty."""
    score: float = float("-inf")
    """Log of how likely it is right, by the model and by the suspicion of its place: the likeliest is tried first."""
    steps: int = 1
    """Model calls, one after another."""
    usage: Usage = field(default_factory=Usage)
    """Tokens and seconds."""
    note: str = ""
    """Why it ended so: what was malformed, which limit, the traceback of a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A diff that parses, applies, stays in scope and changes something."""

    attempt: str
    """Id of the attempt that it came from first."""
    subtask: str
    """Id of its subtask."""
    diff: str
    """Unified diff against the base tree, with a final newline."""
    changes: Changes
    """The same as whole new files."""
    key: str
    """Normalised identity: equal for equal syntax trees, whatever the spelling."""
    score: float
    """As in its attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the tests say of a candidate or of a combination."""

    key: str
    """Key of the candidate, or of the combination."""
    outcome: Outcome
    """`passed`: it turned tests and broke none. `failed`: it did not, or a test never ended. `timeout`: a run never
    ended outside a test. `broken`: the run died or could not collect."""
    turned: frozenset[str] = frozenset()
    """Tests that failed before and pass now."""
    still_failing: frozenset[str] = frozenset()
    """Tests that it was to turn and did not."""
    broke: frozenset[str] = frozenset()
    """Tests that passed before and do not now."""
    output: str = ""
    """Tail of the run's output."""
    complaint: str = ""
    """Why a run is `broken`, in a line; empty where none is."""
    seconds: float = 0.0
    """Wall time in the sandbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A candidate that passed alone and is not in the combination."""

    key: str
    """Its key."""
    subtask: str
    """Id of its subtask."""
    reason: str
    """Why, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """The combination. Without a passing verdict on the combined tree it is no success, whatever its parts say."""

    accepted: tuple[Candidate, ...]
    """One for each solved subtask."""
    rejected: tuple[Rejection, ...]
    """What was left out, and why."""
    diff: str
    """The combined diff against the base tree; empty if nothing was accepted."""
    changes: Changes = field(default_factory=dict)
    """The same as whole new files."""
    verdict: Verdict | None
    """The whole suite on the combined tree; None if nothing was accepted."""

    @property
    def proven(self) -> bool:
        """True only where the whole suite, on the combined tree, turned all that its parts turn and broke nothing."""
        return self.verdict is not None and self.verdict.outcome == "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole run."""

    run: str
    """Id of the run; its folder bears it."""
    issue: Issue
    """What was asked."""
    model: str
    """Name of the model."""
    sandbox: str
    """Kind of sandbox."""
    baseline: Baseline | None
    """None where the run ended before it."""
    plans: tuple[Plan, ...]
    """The first plan and every replanning, in order."""
    attempts: tuple[Attempt, ...]
    """Every attempt, in the order in which they ended."""
    verdicts: Mapping[str, Verdict]
    """Candidate key -> verdict."""
    merge: Merge | None
    """None where nothing passed."""
    solved: tuple[str, ...]
    """Failing tests that the merge turns."""
    unsolved: tuple[str, ...]
    """Failing tests that still fail."""
    duplicates: int
    """Candidates dropped because an equal one had been tried."""
    usage: Usage
    """Sum over attempts and planning; `seconds` is the wall time of the whole run."""
    sandbox_seconds: float
    """Sum of the time that test runs took, over all boxes."""
    critical_steps: int
    """Sum over stages of planner steps plus the longest attempt's steps (Kimi K2.5 report, Agent Swarm)."""
    why: str = ""
    """One line: why the run ended as it did."""
    reproduction: Reproduction | None = None
    """The test that shows the fault, where it had to be written; it is part of the merge's diff."""
    green: bool = False
    """No test failed, and that is all that was asked."""

    @property
    def fixed(self) -> bool:
        """True where a proven merge turns every failing test of the baseline."""
        return self.merge is not None and self.merge.proven and not self.unsolved
