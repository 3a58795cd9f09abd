"""Progress as a few lines that renew themselves, on a terminal.

The state is folded from events; the engine's load alone is asked for, at each refresh. Lines never wrap: what does not
fit is cut. When the view ends it leaves nothing but the warnings that it showed; the summary follows. One thread does
all the writing, so that a terminal that is held up (Ctrl-S) never holds up the run.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.text import Text

from swarmcode import events
from swarmcode.engine.protocol import Load
from swarmcode.report.progress import Progress
from swarmcode.report.terminal import one_line

REFRESHES = 4
"""A second."""
WINDOW = 3.0
"""Seconds over which the rate of tokens is taken."""


class Meter:
    """Tokens a second over the last `WINDOW` seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def rate(self, now: float, tokens: int) -> float:
        """Takes a reading of a counter; gives its rate."""
        self._samples.append((now, tokens))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()
        then, before = self._samples[0]
        return (tokens - before) / (now - then) if now > then else 0.0


class LiveView:
    """An observer that redraws. Use it in a `with`."""

    def __init__(self, console: Console, timeout: float, clock: Callable[[], float] = time.time) -> None:
        """`timeout`: seconds that the run may take; `clock` reads the time that events carry."""
        self._console = console
        self._timeout = timeout
        self._clock = clock
        self._progress = Progress()
        self._warnings: list[str] = []
        self._load: Callable[[], Load] = Load
        self._decoded, self._prefilled = Meter(), Meter()
        self._lock = threading.Lock()  # around what both threads use: progress and warnings
        self._live = Live(
            self, console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._over = threading.Event()
        self._writer = threading.Thread(target=self._write, name="live view", daemon=True)

    def __call__(self, event: events.Event) -> None:
        """Takes the next event; a warning will be printed above the view, where it stays."""
        with self._lock:
            self._progress(event)
            if isinstance(event, events.Warned):
                self._warnings.append(event.message)

    def attach(self, load: Callable[[], Load]) -> None:
        """Says where the engine's load is to be read from now on."""
        self._load = load

    def note(self, message: str) -> None:
        """Prints a warning that is no event."""
        self(events.Warned(message=message, at=self._clock()))

    def __enter__(self) -> "LiveView":
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._writer.join()

    def _write(self) -> None:
        """Draws until the end. A window that is closed ends the showing, not the run."""
        with suppress(OSError), self._live:
            while not self._over.wait(1 / REFRESHES):
                self._show_warnings()
                self._live.refresh()
            self._show_warnings()

    def _show_warnings(self) -> None:
        with self._lock:
            warnings, self._warnings = self._warnings, []
        for warning in warnings:
            self._console.print(Text(f"warning: {one_line(warning, 500)}", style="yellow"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            yield self._drawn(self._clock(), self._load())

    def _drawn(self, now: float, load: Load) -> Group:
        """The whole view, at most some thirteen lines."""
        lines = []
        for phase, state in self._progress.phases.items():
            at_work = state.since is not None
            words = f"{'›' if at_work else ' '} {phase:<11}{state.lasted(now):7.1f} s  {one_line(state.detail)}"
            lines.append(_line(words, "bold" if at_work else "dim"))
        lines += [_line(f"  {name:<11}  {words}", "cyan") for name, words in self._figures(now, load)]
        total = now - self._progress.started if self._progress.started is not None else 0.0
        lines.append(_line(f"  {total:.0f} s of at most {self._timeout:.0f}", "dim"))
        return Group(*lines)

    def _figures(self, now: float, load: Load) -> list[tuple[str, str]]:
        """What the swarm has come to, name and words; nothing before it began."""
        state = self._progress
        if "swarm" not in state.phases:
            return []
        running = min(load.running, len(state.active))
        agents = f"{running} running · {len(state.active) - running} waiting · {state.done} done"
        if state.crashed:
            agents += f" · {state.crashed} crashed"
        usage = load.usage
        decoded = self._decoded.rate(now, usage.decoded)
        prefilled = self._prefilled.rate(now, usage.prefilled)
        prompt = usage.prefilled + usage.reused
        reused = f" · {100 * usage.reused // prompt}% of prompts reused" if prompt else ""
        return [
            ("agents", agents),
            ("candidates", f"{state.tried} tried · {len(state.queued)} queued · {state.dropped} dropped"),
            ("best so far", state.best() or "-"),
            ("tokens", f"{decoded:,.0f}/s decoded · {prefilled:,.0f}/s prefilled{reused}"),
        ]


def _line(words: str, style: str) -> Text:
    return Text(words, style=style, no_wrap=True, overflow="ellipsis")
