"""Processes of the bench's own: each ends with what started it, however that ends.

Linux only: what a process used is read from /proc, and the kernel kills it when its parent is gone.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from swarmcode.errors import SurroundingsError

Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class Lost(SurroundingsError):
    """A process ended that should not have."""


@contextlib.contextmanager
def running(argv: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs, with all that it starts, until the block ends; what it prints goes to the end of `log`."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def aside(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a module's function in a fresh process. Raises what it raises, and `Lost` where the process died."""
    fresh = multiprocessing.get_context("spawn")
    ours, theirs = fresh.Pipe()
    process = fresh.Process(target=_call, args=(theirs, os.getpid(), function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        good, value = ours.recv()
    except EOFError:
        process.join()
        raise Lost(f"{function.__module__} ended with {process.exitcode}", "see what it printed above") from None
    finally:
        process.kill()
        process.join()
    if not good:
        raise value
    return value


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used, its ended children not counted."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid: int) -> float:
    """Most memory that a process has held, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise Lost(f"process {pid} has ended", "see its log")


def ended(process: "subprocess.Popen[bytes]", limit: float | None) -> tuple[float, float]:
    """Waits for the end of a program: seconds of processor time, and most memory in MiB, that it used.

    Raises `TimeoutError` after `limit` seconds.
    """
    give_up = time.monotonic() + (limit or float("inf"))
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        if time.monotonic() > give_up:
            raise TimeoutError
        time.sleep(0.05)


def free_port() -> int:
    """A port of the loopback interface that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_on_signals() -> None:
    """Has a polite kill end the command as Ctrl-C does: through its clean-up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))


def end_with_parent() -> None:
    """Has the kernel kill the calling process when its parent is gone."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _call(answer: Connection, parent: int, function: Callable[..., Any], arguments: Sequence[object]) -> None:
    end_with_parent()
    if os.getppid() != parent:  # it was gone before it could be told
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    try:
        found = True, function(*arguments)
    except Exception as error:
        found = False, error
    answer.send(found)
