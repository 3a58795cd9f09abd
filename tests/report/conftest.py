"""A run as its observers see it: three subtasks, two of them solved. Times are given, so every view of it is fixed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from swarmcode import events, flow

ISSUE = flow.Issue(title="wrong sums", text="wrong sums", repo=Path("/home/ann/shop"), base="t", test=("pytest", "-q"))
FAILING = ("tests/test_a.py::test_sum", "tests/test_b.py::test_tax", "tests/test_c.py::test_name")
DIFF = """\
diff --git a/shop/a.py b/shop/a.py
--- a/shop/a.py
+++ b/shop/a.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""
BASELINE = flow.Baseline(
    run=flow.SuiteRun(outcome="finished", exit_code=1, tests={}, output="", seconds=1.0),
    failing=FAILING,
    flaky=frozenset({"tests/test_d.py::test_clock"}),
    passing=frozenset(f"tests/test_ok.py::test_{number}" for number in range(210)),
    covered={},
)


def subtask(number: int) -> flow.Subtask:
    return flow.Subtask(
        id=str(number), goal="", tests=(FAILING[number - 1],), suspects=(), writes=frozenset({f"shop/{number}.py"})
    )


def candidate(attempt: str) -> flow.Candidate:
    return flow.Candidate(
        attempt=attempt, subtask=attempt[0], diff=DIFF, changes={"shop/a.py": b"..."}, key=f"k{attempt}", score=-1.5
    )


def verdict(attempt: str, outcome: flow.Outcome, turned: set[str], broke: set[str]) -> flow.Verdict:
    return flow.Verdict(
        key=f"k{attempt}", outcome=outcome, turned=frozenset(turned), broke=frozenset(broke), seconds=1.25, output="..."
    )


def attempt(name: str, ending: flow.Ending = "submitted") -> flow.Attempt:
    return flow.Attempt(id=name, subtask=name[0], seed=7, ending=ending, diff=DIFF if ending == "submitted" else "")


PLAN = flow.Plan(
    subtasks=(subtask(1), subtask(2), subtask(3)),
    mode="swarm",
    widths=(3, 30),
    why="3 failures in 3 files, 3 agents each",
)


@pytest.fixture
def story() -> list[events.Event]:
    """Events, a tenth of a second apart, from second 1000 on."""
    return [replace(event, at=1000.0 + number / 10) for number, event in enumerate(_untimed())]


@pytest.fixture
def written() -> flow.Reproduction:
    """A test that a run had to write."""
    return WRITTEN


@pytest.fixture
def report() -> flow.Report:
    """The end of the same run."""
    return REPORT


def _untimed() -> Iterator[events.Event]:
    yield events.PhaseStarted(phase="snapshot")
    yield events.PhaseEnded(phase="snapshot", seconds=0.1, detail="412 files")
    yield events.RunStarted(run="r1", issue=ISSUE, model="repair", sandbox="bwrap", agents=30)
    yield events.PhaseStarted(phase="baseline")
    yield events.PhaseEnded(phase="baseline", seconds=2.0)
    yield events.BaselineMeasured(baseline=BASELINE)
    yield events.PhaseStarted(phase="plan")
    yield events.PhaseEnded(phase="plan", seconds=0.0)
    yield events.Planned(plan=PLAN)
    yield events.PhaseStarted(phase="swarm")
    yield events.WaveStarted(number=1, width=3, subtasks=("1",))
    for name in ("1.1", "1.2", "1.3", "2.1", "2.2"):
        yield events.AttemptStarted(attempt=name, subtask=name[0])
    yield events.AttemptEnded(attempt=attempt("1.1"))
    yield events.CandidateFound(candidate=candidate("1.1"))
    yield events.AttemptEnded(attempt=attempt("1.2"))
    yield events.CandidateDropped(attempt="1.2", reason="duplicate")
    yield events.CandidateJudged(candidate=candidate("1.1"), verdict=verdict("1.1", "failed", {FAILING[0]}, {"x"}))
    yield events.AttemptEnded(attempt=attempt("2.1", "crashed"))
    yield events.Warned(message="the model said \x1b]0;owned\x07 something \x1b[31mred")
    yield events.AttemptEnded(attempt=attempt("2.2"))
    yield events.CandidateFound(candidate=candidate("2.2"))
    yield events.CandidateJudged(candidate=candidate("2.2"), verdict=verdict("2.2", "passed", {FAILING[1]}, set()))
    yield events.SubtaskSolved(subtask="2", candidate=candidate("2.2"))


MERGE = flow.Merge(
    accepted=(candidate("2.2"),),
    rejected=(flow.Rejection(key="k1.4", subtask="1", reason="it breaks\x1b[2J a test together with 2"),),
    diff=DIFF,
    verdict=flow.Verdict(key="all", outcome="passed", turned=frozenset({FAILING[1]})),
)
REPORT = flow.Report(
    run="r1",
    issue=ISSUE,
    model="repair",
    sandbox="bwrap",
    baseline=BASELINE,
    plans=(PLAN,),
    attempts=(attempt("1.1"), attempt("2.1", "crashed"), attempt("2.2")),
    verdicts={
        "k1.1": verdict("1.1", "failed", {FAILING[0]}, {"x"}),
        "k2.2": verdict("2.2", "passed", {FAILING[1]}, set()),
    },
    merge=MERGE,
    solved=(FAILING[1],),
    unsolved=(FAILING[0], FAILING[2]),
    duplicates=1,
    usage=flow.Usage(prefilled=12_034, reused=80_112, decoded=5_120, seconds=16.25),
    sandbox_seconds=2.5,
    critical_steps=1,
    why="the time limit was reached",
)
WRITTEN = flow.Reproduction(
    path="tests/test_new.py",
    changes={"tests/test_new.py": b"def test_new(): ..."},
    diff="diff --git a/tests/test_new.py b/tests/test_new.py\n",
    tests=("tests/test_new.py::test_new",),
    manner="KeyError in shop/a.py:total",
    written=3,
    agreeing=2,
)
