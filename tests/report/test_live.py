"""The live view, drawn on a terminal that is a string."""

import io
import re

import pytest
from rich.console import Console

from swarmcode import events
from swarmcode.engine.protocol import Load
from swarmcode.flow import Usage
from swarmcode.report.live import LiveView, Meter


def drawn(story: list[events.Event], width: int = 100, load: Load | None = None) -> str:
    """The view after the events, 20 seconds after the first, as text."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True)
    view = LiveView(console, timeout=600, clock=lambda: 1020.0)
    view.attach(lambda: load or Load())
    for event in story:
        view(event)
    with console.capture() as captured:
        console.print(view)
    return captured.get()


def test_it_shows_where_the_run_stands(story: list[events.Event]) -> None:
    """Phases with seconds, agents by state, candidates, the best so far, the time."""
    text = drawn(story, load=Load(running=1, usage=Usage(prefilled=25, reused=75)))
    for words in (
        r"snapshot +0\.1 s  412 files",
        r"baseline +2\.0 s  3 of 214 tests fail, 1 flaky",
        r"plan +0\.0 s  swarm: 3 failures in 3 files, 3 agents each",
        r"› swarm +19\.1 s  wave 1, 3 agents, subtask 1",
        r"agents +1 running · 0 waiting · 4 done · 1 crashed",
        r"candidates +2 tried · 0 queued · 1 dropped",
        r"best so far +turns 1 of 3 failing tests, breaks none, 1 of 3 subtasks solved",
        r"tokens +0/s decoded · 0/s prefilled · 75% of prompts reused",
        r"20 s of at most 600",
    ):
        assert re.search(words, text), f"{words} is not in\n{text}"


def test_nothing_of_the_swarm_is_shown_before_it_begins(story: list[events.Event]) -> None:
    """While the baseline runs there are no agents to speak of."""
    assert "agents" not in drawn(story[:4])


@pytest.mark.parametrize("width", [20, 40, 60, 79])
def test_it_fits_a_narrow_terminal(story: list[events.Event], width: int) -> None:
    """Lines are cut, not wrapped: there are as many as on a wide one, and none is longer than the terminal."""
    lines = drawn(story, width).splitlines()
    assert max(len(line) for line in lines) <= width
    assert len(lines) == len(drawn(story, 200).splitlines())


def test_warnings_stay_and_cannot_command_the_terminal(story: list[events.Event]) -> None:
    """A warning is printed above the view; what a model put into it is shown as text, not obeyed."""
    stream = io.StringIO()
    with LiveView(Console(file=stream, width=100, force_terminal=True, color_system=None), timeout=600) as view:
        for event in story:
            view(event)
        view.note("from outside")
    assert "warning: the model said something red" in stream.getvalue()
    assert "warning: from outside" in stream.getvalue()
    assert "owned" not in stream.getvalue()
    assert "\x1b]0" not in stream.getvalue()


def test_markup_in_a_detail_is_text(story: list[events.Event]) -> None:
    """Square brackets of a test id are no markup."""
    ended = events.PhaseEnded(phase="model", seconds=1.0, detail="[bold red]test[a-b][/]", at=1001.0)
    assert "[bold red]test[a-b][/]" in drawn([*story, ended])


class Gone(io.StringIO):
    """A terminal whose window was closed."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_closed_window_does_not_end_the_run(story: list[events.Event]) -> None:
    """The view goes on taking events, and ends, without an error."""
    with LiveView(Console(file=Gone(), width=100, force_terminal=True), timeout=600) as view:
        for event in story:
            view(event)


def test_the_meter_takes_the_last_seconds() -> None:
    """The rate is over a few seconds: early speed is forgotten, and the first reading gives none."""
    meter = Meter()
    assert meter.rate(0.0, 0) == 0
    assert meter.rate(1.0, 100) == 100
    for second in range(2, 10):
        rate = meter.rate(float(second), 100 + 10 * (second - 1))
    assert rate == 10
