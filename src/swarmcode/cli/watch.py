"""Who watches a run: its journal, and the person at the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from swarmcode.errors import SwarmcodeError
from swarmcode.events import Event, RunFailed, RunStarted
from swarmcode.journal import Journal

if TYPE_CHECKING:
    from swarmcode.report.live import LiveView
    from swarmcode.report.plain import PlainView


class Watch:
    """The observers of one run."""

    def __init__(self, journal: Journal, view: "LiveView | PlainView") -> None:
        self._journal = journal
        self._view = view
        self.attach = view.attach
        """Takes where the engine's load is to be read."""
        self.note = view.note
        """Shows a person a line that is no event."""
        self.resumable = False
        """Whether the journal holds enough to go on from."""

    def emit(self, event: Event) -> None:
        """Tells everyone."""
        self._journal(event)
        self._view(event)
        self.resumable = self.resumable or isinstance(event, RunStarted)

    def failed(self, error: SwarmcodeError) -> None:
        """Writes down why there will be no report; the person is told when the view is gone."""
        self._journal(RunFailed(message=error.message))


@contextmanager
def watched(folder: Path, timeout: float, resumes: str) -> Iterator[Watch]:
    """Observers for the run in `folder`, until the end of the block. Raises `StateError`."""
    with _view(timeout) as view, Journal(folder, view.note, resumes) as journal:
        yield Watch(journal, view)


def _view(timeout: float) -> "LiveView | PlainView":
    """Lines that renew themselves on a terminal that can; else plain ones."""
    able = os.environ.get("TERM", "dumb") not in ("dumb", "unknown") and not os.environ.get("NO_COLOR")
    if able and sys.stderr.isatty():
        from rich.console import Console

        from swarmcode.report.live import LiveView

        return LiveView(Console(stderr=True, markup=False, emoji=False, highlight=False), timeout)
    from swarmcode.report.plain import PlainView

    return PlainView(sys.stderr)
