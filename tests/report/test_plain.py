"""Plain lines."""

import io

from swarmcode import events, flow
from swarmcode.report.plain import PlainView


def printed(story: list[events.Event]) -> list[str]:
    stream = io.StringIO()
    with PlainView(stream) as view:
        for event in story:
            view(event)
    return stream.getvalue().splitlines()


def test_one_line_for_what_is_worth_knowing(story: list[events.Event]) -> None:
    """Phases, baseline, plan, waves, warnings and solved subtasks are said with their time; single attempts are not."""
    ending = [events.PhaseEnded(phase="swarm", seconds=9.0, at=1010.0)]
    assert printed([*story, *ending]) == [
        "   0.1 s  snapshot took 0.1 s: 412 files",
        "   0.2 s  run r1: repair in bwrap, up to 30 agents",
        "   0.4 s  baseline took 2.0 s",
        "   0.5 s  3 of 214 tests fail, 1 flaky",
        "   0.8 s  swarm: 3 failures in 3 files, 3 agents each",
        "   1.0 s  subtask 1: wave 1, 3 agents",
        "   2.2 s  warning: the model said something red",
        "   2.6 s  subtask 2 solved by attempt 2.2",
        "  10.0 s  4 attempts ended, 2 candidates tried, 1 dropped; "
        "turns 1 of 3 failing tests, breaks none, 1 of 3 subtasks solved",
    ]


def test_a_test_that_was_written_is_said(written: flow.Reproduction) -> None:
    """Where it stands, how it fails, and how many agree."""
    (line,) = printed([events.Reproduced(reproduction=written, at=0.0)])
    assert line.endswith("tests/test_new.py was written and fails, as 2 of 3 do: KeyError in shop/a.py:total")


def test_a_merge_is_said_as_it_is(report: flow.Report) -> None:
    """Proven or not is told apart."""
    assert report.merge is not None
    unproven = flow.Merge(accepted=(), rejected=(), diff="", verdict=None)
    lines = printed([events.Merged(merge=report.merge, at=0.0), events.Merged(merge=unproven, at=0.0)])
    assert [line.split("s  ")[1] for line in lines] == ["the combined tree passes", "no combination passes"]


def test_a_reader_that_goes_does_not_end_the_run(story: list[events.Event]) -> None:
    """A closed pipe silences the view."""
    stream = io.StringIO()
    view = PlainView(stream)
    stream.close()
    for event in story:
        view(event)
