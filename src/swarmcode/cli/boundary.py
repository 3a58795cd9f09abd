"""Between the product and the shell: errors become lines and exit codes, signals become one orderly end.

An expected error is one line of what was wrong and one of what to do. Anything else is a fault of ours: its traceback
goes to a file in the run's folder (to the terminal with `SWARMCODE_DEBUG=1`), and the exit code is 70, as in
sysexits.h.
"""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from swarmcode.errors import SwarmcodeError
from swarmcode.report.terminal import clean

INTERNAL = 70
INTERRUPTED = 130

T = TypeVar("T")


def say(text: str) -> None:
    """A line on standard error, fit for a terminal. Nobody there to read it is no error."""
    try:
        print(clean(text), file=sys.stderr, flush=True)
    except OSError:
        pass


def tell(error: SwarmcodeError) -> None:
    """What was wrong, and what to do about it."""
    say(f"swarmcode: {error.message}")
    for line in error.hint.splitlines():
        say(f"  {line}")


def tell_fault(error: BaseException) -> None:
    """A fault of ours that the program survives; the whole traceback with `SWARMCODE_DEBUG=1`."""
    say(f"swarmcode: an error inside swarmcode itself: {traceback.format_exception_only(error)[-1].strip()}")
    if os.environ.get("SWARMCODE_DEBUG"):
        say("".join(traceback.format_exception(error)))


class Interrupted(Exception):
    """Somebody asked the run to end, and it has ended in good order."""


async def interruptible(work: Coroutine[Any, Any, T], note: Callable[[str], None] = say) -> T:
    """Awaits the work; the first SIGINT, SIGTERM or SIGHUP cancels it, later ones change nothing. `note` tells so.

    Raises `Interrupted` once the work has cleaned up after itself, or what the work raises.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    asked = False

    def ask() -> None:
        nonlocal asked
        note("still cleaning up" if asked else "interrupted: cleaning up")
        if not asked:
            asked = True
            task.cancel()

    handled = [number for number in endings() if signal.getsignal(number) is not signal.SIG_IGN]
    for number in handled:
        loop.add_signal_handler(number, ask)
    try:
        return await task
    except asyncio.CancelledError:
        if asked:
            raise Interrupted from None
        raise
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def endings() -> tuple[signal.Signals, ...]:
    """The signals that ask a program to end."""
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class CrashHook:
    """The last resort, in place of `sys.excepthook`: keeps the traceback where it can be found, and says so."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        """Where the traceback goes: the folder of the run, once there is one."""

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            raise SystemExit(INTERRUPTED)
        what = traceback.format_exception_only(kind, error)[-1].strip()
        say(f"swarmcode: an error inside swarmcode itself: {what}")
        whole = "".join(traceback.format_exception(kind, error, trace))
        if os.environ.get("SWARMCODE_DEBUG"):
            say(whole)
        else:
            say(f"  {self._keep(whole)}")
        raise SystemExit(INTERNAL)

    def _keep(self, whole: str) -> str:
        """Writes the traceback down; what a person is told of it."""
        again = "run it again with SWARMCODE_DEBUG=1 to see the traceback, and please report it"
        if self.folder is None:
            return again
        try:
            (self.folder / "crash.txt").write_text(whole, encoding="utf-8", errors="backslashreplace")
        except OSError:
            return again
        return f"please report it, with {self.folder / 'crash.txt'}"


crash = CrashHook()
"""The one that is installed."""


def install() -> None:
    """Prepares the process: crash hook, SIGTERM like Ctrl-C, somewhere to write where standard error is closed."""
    sys.excepthook = crash
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    if sys.stderr is None:
        # Without this, `print(file=None)` would write progress into the patch on standard output.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
