"""Progress as plain lines, for a log, a pipe or a simple terminal: one for each thing worth knowing."""

import time
from collections.abc import Callable
from typing import TextIO

from swarmcode import events
from swarmcode.engine.protocol import Load
from swarmcode.report.progress import Progress, baseline_words, reproduced_words
from swarmcode.report.terminal import counted, one_line


def line(event: events.Event) -> str:
    """What is said of an event; empty where nothing is."""
    match event:
        case events.RunStarted():
            return f"run {event.run}: {event.model} in {event.sandbox}, up to {event.agents} agents"
        case events.PhaseEnded() if event.phase not in ("plan", "swarm", "merge"):
            return f"{event.phase} took {event.seconds:.1f} s" + (f": {event.detail}" if event.detail else "")
        case events.BaselineMeasured(baseline=baseline):
            return baseline_words(baseline)
        case events.Reproduced(reproduction=written):
            return reproduced_words(written)
        case events.Planned(plan=plan):
            return f"{plan.mode}: {plan.why}"
        case events.WaveStarted():
            return f"subtask {', '.join(event.subtasks)}: wave {event.number}, {event.width} agents"
        case events.SubtaskSolved():
            return f"subtask {event.subtask} solved by attempt {event.candidate.attempt}"
        case events.Merged(merge=merge):
            return "the combined tree passes" if merge.proven else "no combination passes"
        case events.Warned():
            return f"warning: {event.message}"
    return ""


class PlainView:
    """An observer that prints. A stream that breaks ends the printing, not the run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._progress = Progress()

    def __call__(self, event: events.Event) -> None:
        """Prints the event's line, if it has one."""
        self._progress(event)
        said = line(event)
        if said:
            self._print(event.at - (self._progress.started or event.at), said)
        if isinstance(event, events.PhaseEnded) and event.phase == "swarm":
            self._print(event.at - (self._progress.started or event.at), self._swarm_words())

    def _swarm_words(self) -> str:
        state = self._progress
        ended = f"{counted(state.done, 'attempt')} ended"
        best = f"; {state.best()}" if state.best() else ""
        return f"{ended}, {counted(state.tried, 'candidate')} tried, {state.dropped} dropped{best}"

    def attach(self, load: Callable[[], Load]) -> None:
        """The engine's load is of no use to lines."""

    def note(self, message: str) -> None:
        """Prints a warning that is no event."""
        self(events.Warned(message=message, at=time.time()))

    def _print(self, seconds: float, text: str) -> None:
        if self._stream is None:
            return
        try:
            print(f"{seconds:6.1f} s  {one_line(text, 500)}", file=self._stream, flush=True)
        except (OSError, ValueError):
            self._stream = None  # the reader is gone

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""
