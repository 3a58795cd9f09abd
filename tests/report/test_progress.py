"""Where a run stands, as its events tell it."""

from swarmcode import events, flow
from swarmcode.report.progress import Progress


def told(story: list[events.Event]) -> Progress:
    progress = Progress()
    for event in story:
        progress(event)
    return progress


def test_agents_are_counted_by_what_they_do(story: list[events.Event]) -> None:
    """Who began and has not ended is at work; who crashed is counted among the ended, and apart."""
    progress = told(story)
    assert set(progress.active) == {"1.3"}
    assert (progress.done, progress.crashed) == (4, 1)


def test_agents_of_a_solved_subtask_are_called_off(story: list[events.Event]) -> None:
    """The moment a subtask is solved, nobody works on it any more, though no attempt of theirs ever ends."""
    solved = events.SubtaskSolved(subtask="1", candidate=story[-1].candidate)  # type: ignore[attr-defined]
    assert not told([*story, solved]).active


def test_candidates_are_queued_then_tried_or_dropped(story: list[events.Event]) -> None:
    """Every candidate is in one of the three."""
    found = next(event for event in story if isinstance(event, events.CandidateFound))
    before = told(story[: story.index(found) + 1])
    assert (len(before.queued), before.tried, before.dropped) == (1, 0, 0)
    after = told(story)
    assert (len(after.queued), after.tried, after.dropped) == (0, 2, 1)
    dropped = told([*story[: story.index(found) + 1], events.CandidateDropped(attempt="1.1", reason="solved")])
    assert (len(dropped.queued), dropped.dropped) == (0, 1)


def test_the_best_so_far_is_what_passes_else_what_comes_near(story: list[events.Event]) -> None:
    """A candidate that breaks something is only near; one that passes is named with what it turns."""
    judged = next(number for number, event in enumerate(story) if isinstance(event, events.CandidateJudged))
    assert told(story[:judged]).best() == ""
    assert told(story[: judged + 1]).best() == "none passes; the nearest turns 1, breaks 1"
    assert told(story).best() == "turns 1 of 3 failing tests, breaks none, 1 of 3 subtasks solved"


def test_phases_add_up_over_rounds() -> None:
    """A phase that comes again goes on in its place, and its seconds add up."""
    progress = told(
        [
            events.PhaseStarted(phase="plan", at=0.0),
            events.PhaseEnded(phase="plan", seconds=2.0, at=2.0),
            events.PhaseStarted(phase="plan", at=5.0, detail="again"),
        ]
    )
    assert list(progress.phases) == ["plan"]
    assert progress.phases["plan"].lasted(6.5) == 3.5
    assert progress.phases["plan"].detail == "again"


def test_what_waits_ends_with_the_swarm(story: list[events.Event]) -> None:
    """After the swarm nobody works and nothing is queued, whatever was called off."""
    progress = told([*story, events.PhaseEnded(phase="swarm", seconds=1.0)])
    assert (progress.active, progress.queued) == ({}, set())


def test_writing_a_test_is_a_phase_of_its_own(written: flow.Reproduction) -> None:
    """Its agents are none of the swarm's, and when it ends none is left."""
    writing = [
        events.PhaseStarted(phase="reproduce"),
        events.WaveStarted(number=1, width=3, subtasks=("test",)),
        events.AttemptStarted(attempt="test.0", subtask="test"),
    ]
    assert told(writing).phases["reproduce"].detail == "wave 1, 3 agents, subtask test"
    progress = told(
        [*writing, events.Reproduced(reproduction=written), events.PhaseEnded(phase="reproduce", seconds=1)]
    )
    assert list(progress.phases) == ["reproduce"]
    assert progress.phases["reproduce"].detail.startswith("tests/test_new.py was written and fails")
    assert not progress.active


def test_the_baseline_is_put_in_words(story: list[events.Event]) -> None:
    """How many of how many fail, flaky ones apart."""
    assert told(story).phases["baseline"].detail == "3 of 214 tests fail, 1 flaky"


def test_later_baselines_do_not_change_what_was_to_be_turned(story: list[events.Event], report: flow.Report) -> None:
    """On the combined tree fewer tests fail; the count of what was to be done stays that of the beginning."""
    assert report.baseline is not None
    again = events.BaselineMeasured(
        baseline=flow.Baseline(
            run=report.baseline.run, failing=("one",), flaky=frozenset(), passing=frozenset(), covered={}
        )
    )
    assert "of 3 failing tests" in told([*story, again]).best()
