"""The journal: what a run leaves, however it ends, and what a later one makes of it."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmcode import events, flow
from swarmcode.errors import StateError
from swarmcode.journal import KINDS, MESSAGE, NAME, OUTPUT, Journal, edges, recall, replay, trimmed

st.register_type_strategy(Path, st.text(st.characters(exclude_characters="\0")).map(Path))
ISSUE = flow.Issue(title="wrong sum", text="wrong sum\nby one", repo=Path("/r"), base="t1", test=("pytest", "-q"))
PASSED = flow.TestResult(id="t::a", outcome="passed")
FAILED = flow.TestResult(id="t::b", outcome="failed", message="m" * 9000)
BASELINE = flow.Baseline(
    run=flow.SuiteRun(
        outcome="finished", exit_code=1, tests={"t::a": PASSED, "t::b": FAILED}, output="o" * 99_000, seconds=1.0
    ),
    failing=("t::b",),
    flaky=frozenset(),
    passing=frozenset({"t::a"}),
    covered={"t::b": {"a.py": frozenset({1, 2})}},
)


WRITTEN = flow.Reproduction(
    path="test_new.py", changes={"test_new.py": b"x"}, diff="d", tests=("t::c",), manner="E", written=1, agreeing=1
)


def candidate(key: str) -> flow.Candidate:
    return flow.Candidate(
        attempt="1.1", subtask="1", diff="--- a\n+++ b\n", changes={"a.py": b"x = 1\n"}, key=key, score=-1.0
    )


def judged(key: str, outcome: flow.Outcome, output: str = "") -> events.CandidateJudged:
    verdict = flow.Verdict(key=key, outcome=outcome, turned=frozenset({"t::b"}), output=output)
    return events.CandidateJudged(candidate=candidate(key), verdict=verdict)


def started(run: str = "r", issue: flow.Issue = ISSUE) -> events.RunStarted:
    return events.RunStarted(run=run, issue=issue, model="repair", sandbox="memory", agents=3)


def ended() -> events.RunEnded:
    report = flow.Report(
        run="r",
        issue=ISSUE,
        model="repair",
        sandbox="memory",
        baseline=BASELINE,
        plans=(),
        attempts=(flow.Attempt(id="1.1", subtask="1", seed=0, ending="crashed", note="n" * 9000),),
        verdicts={"k": flow.Verdict(key="k", outcome="failed", output="v" * 99_000)},
        merge=None,
        solved=(),
        unsolved=("t::b",),
        duplicates=0,
        usage=flow.Usage(),
        sandbox_seconds=0.0,
        critical_steps=1,
    )
    return events.RunEnded(report=report)


def written(folder: Path, *happened: events.Event, resumes: str = "") -> Path:
    folder.mkdir(parents=True)
    with Journal(folder, pytest.fail, resumes) as journal:
        for event in happened:
            journal(event)
    return folder


def test_replay_gives_the_events_in_order(tmp_path: Path) -> None:
    """What was written is what is read, values and times alike."""
    happened = [started(), events.PhaseStarted(phase="swarm"), judged("k", "passed"), events.Warned(message="\x1b[31m")]
    assert list(replay(written(tmp_path / "r", *happened))) == happened


def test_every_line_is_there_at_once(tmp_path: Path) -> None:
    """A journal that is never closed, as in a killed run, holds every event that it was told."""
    folder = tmp_path / "r"
    folder.mkdir()
    journal = Journal(folder, pytest.fail)
    for number in range(3):
        journal(events.Warned(message=str(number)))
        assert [event.message for event in replay(folder) if isinstance(event, events.Warned)][-1] == str(number)
    journal.close()


@settings(deadline=None, max_examples=40)
@given(cut=st.integers(min_value=0, max_value=1200))
def test_a_torn_end_costs_one_event_at_most(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Wherever a killed run stopped writing, all whole lines before are read and nothing is raised."""
    happened = [started(), *(events.Warned(message=f"{number}") for number in range(10))]
    folder = written(tmp_path_factory.mktemp("run") / "r", *happened)
    whole = (folder / NAME).read_bytes()
    kept = whole[: max(0, len(whole) - cut)]
    (folder / NAME).write_bytes(kept)
    assert list(replay(folder)) == happened[: max(0, kept.count(b"\n") - 1)]


@pytest.mark.parametrize(
    "damage", [b"{}\n", b"[]\n", b"\0\0\0\n", b'{"event":"Vanished"}\n', b'{"event":"Warned","message":1}\n']
)
def test_damage_inside_is_named(tmp_path: Path, damage: bytes) -> None:
    """A line that cannot be read is no torn end: the run and the line are named, and nothing is made up."""
    folder = written(tmp_path / "r", started())
    with (folder / NAME).open("ab") as file:
        file.write(damage)
    with pytest.raises(StateError, match="journal of run r is damaged at line 3"):
        list(replay(folder))


def test_another_version_is_refused(tmp_path: Path) -> None:
    """A journal of a version that we do not know is not guessed at."""
    folder = written(tmp_path / "r")
    (folder / NAME).write_text(json.dumps({"journal": 99, "swarmcode": "9.9"}) + "\n")
    with pytest.raises(StateError, match=r"another version \(swarmcode 9\.9\)"):
        list(replay(folder))


def test_no_journal_is_an_error_with_a_name(tmp_path: Path) -> None:
    """A folder without a journal is not an empty run."""
    with pytest.raises(StateError, match="No such file"):
        list(replay(tmp_path))


def test_a_full_disk_ends_the_journal_and_not_the_run(tmp_path: Path) -> None:
    """The write that fails is told once; later events are let go; what was written before is still read."""
    folder = tmp_path / "r"
    folder.mkdir()
    complaints: list[str] = []
    with Journal(folder, complaints.append) as journal:
        journal(events.Warned(message="early", at=1.0))
        with at_most(2048):
            for number in range(100):
                journal(events.Warned(message=f"{number}" * 20))
    assert len(complaints) == 1
    assert "cannot be resumed" in complaints[0]
    assert next(replay(folder)) == events.Warned(message="early", at=1.0)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_journal_that_cannot_begin_is_an_error(tmp_path: Path) -> None:
    """Before the run begins, a place that cannot be written is said with its exit code."""
    with pytest.raises(StateError, match="cannot be written") as caught:
        Journal(tmp_path / "missing", pytest.fail)
    assert caught.value.exit_code == 3
    assert "SWARMCODE_HOME" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_trimming_twice_changes_nothing_more(kind: type[events.Event], data: st.DataObject) -> None:
    """Trimming is idempotent for every kind of event, so reading and writing again loses nothing further."""
    once = trimmed(data.draw(st.from_type(kind)))
    assert trimmed(once) == once


def test_long_texts_keep_their_end(tmp_path: Path) -> None:
    """Outputs, messages and notes are bounded; an end says more than a beginning."""
    folder = written(
        tmp_path / "r", events.BaselineMeasured(baseline=BASELINE), judged("k", "failed", "x" * 99_000 + "end"), ended()
    )
    baseline, verdict, report = list(replay(folder))
    assert isinstance(baseline, events.BaselineMeasured)
    assert isinstance(verdict, events.CandidateJudged)
    assert isinstance(report, events.RunEnded)
    assert len(baseline.baseline.run.output) == OUTPUT
    assert len(baseline.baseline.run.tests["t::b"].message) == MESSAGE
    assert verdict.verdict.output.endswith("end")
    assert (folder / NAME).stat().st_size < 150_000


def test_whole_files_are_kept_of_what_passed(tmp_path: Path) -> None:
    """A passing candidate can be used again as it is; of the others the diff is enough."""
    folder = written(
        tmp_path / "r", events.CandidateFound(candidate=candidate("k")), judged("k", "failed"), judged("l", "passed")
    )
    kept = [event.candidate.changes for event in replay(folder) if hasattr(event, "candidate")]
    assert kept == [{}, {}, {"a.py": b"x = 1\n"}]


def test_edges_show_how_a_run_began_and_ended(tmp_path: Path) -> None:
    """The beginning and the last event, without the rest."""
    first, last = edges(written(tmp_path / "r", events.Warned(message="early"), started(), ended()))
    assert isinstance(first, events.RunStarted)
    assert isinstance(last, events.RunEnded)
    assert edges(written(tmp_path / "s")) == (None, None)


def test_recall_gives_what_need_not_be_done_again(tmp_path: Path) -> None:
    """Baseline, attempts, and verdicts that tests decided; a timeout or a broken run decides nothing."""
    attempt = flow.Attempt(id="1.1", subtask="1", seed=0, ending="submitted")
    later = replace(BASELINE, failing=())
    happened = [
        started(),
        events.BaselineMeasured(baseline=BASELINE),
        events.AttemptEnded(attempt=attempt),
        judged("good", "passed"),
        judged("bad", "failed"),
        judged("slow", "timeout"),
        judged("dead", "broken"),
        events.BaselineMeasured(baseline=later),
    ]
    known = recall(written(tmp_path / "r", *happened))
    assert known is not None
    assert known.baseline is not None
    assert known.baseline.failing == ("t::b",)
    assert known.baseline.covered == BASELINE.covered
    assert known.attempts == (attempt,)
    assert set(known.verdicts) == {"good", "bad"}
    assert known.passed == {"good": candidate("good")}
    assert known.verdict("t1", "bad") == known.verdicts["bad"]
    assert known.verdict("t2", "bad") is None


@pytest.mark.parametrize(
    ("change", "suits"), [({}, True), ({"text": "other"}, True), ({"base": "t2"}, False), ({"test": ("tox",)}, False)]
)
def test_recall_suits_the_same_tree_and_tests(tmp_path: Path, change: dict[str, object], suits: bool) -> None:
    """What was learned of another tree, or by other tests, is worth nothing here."""
    known = recall(written(tmp_path / "r", started()))
    assert known is not None
    assert known.suits(replace(ISSUE, **change)) is suits  # type: ignore[arg-type]


def test_a_run_that_ended_at_once_recalls_nothing(tmp_path: Path) -> None:
    """Killed before its tree was known, a run has nothing to give."""
    assert recall(written(tmp_path / "r", events.PhaseStarted(phase="snapshot"))) is None


def test_recall_goes_back_through_resumed_runs(tmp_path: Path) -> None:
    """A resumed run hands on what the one before it knew; one that is gone, or had another tree, gives nothing."""
    written(tmp_path / "1", started(issue=replace(ISSUE, base="t0")), judged("z", "failed"))
    written(tmp_path / "2", started(), events.BaselineMeasured(baseline=BASELINE), judged("a", "failed"), resumes="1")
    known = recall(written(tmp_path / "3", started(), judged("b", "failed"), resumes="2"))
    assert known is not None
    assert set(known.verdicts) == {"a", "b"}
    assert known.baseline is not None
    lonely = recall(written(tmp_path / "4", started(), judged("c", "failed"), resumes="0-gone"))
    assert lonely is not None
    assert set(lonely.verdicts) == {"c"}


def test_recall_knows_the_test_that_was_written(tmp_path: Path) -> None:
    """Whole, and also of the run before: it is not written again."""
    written(tmp_path / "1", started(), events.Reproduced(reproduction=WRITTEN))
    known = recall(written(tmp_path / "2", started(), judged("a", "failed"), resumes="1"))
    assert known is not None
    assert known.reproduction == WRITTEN


@pytest.mark.parametrize("resumes", ["r", "z", "../../etc", "/etc/passwd"])
def test_recall_never_goes_in_circles_or_elsewhere(tmp_path: Path, resumes: str) -> None:
    """A journal that names itself, a later run, or no run at all, is read alone."""
    written(tmp_path / "runs" / "z", started(), judged("z", "failed"), resumes="r")
    known = recall(written(tmp_path / "runs" / "r", started(), judged("a", "failed"), resumes=resumes))
    assert known is not None
    assert set(known.verdicts) == {"a"}
