"""One fault, one run of `swarmcode fix` on it, and what the run's report says.

The issue says nothing but which tests fail and with what: what a person would paste. The run has a copy of the package,
a state folder and settings of its own, and is killed where it goes on long after its time.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.fault import Fault, inject
from faults.shelf import UNFIT, BenchError, Package, Shelf, command, copied, end, run_suite

GRACE = 60.0
"""Seconds after its time limit that a run may take to start and to end."""
NAMED = 5
"""Failing tests that the issue names, at most."""
LONGEST = 200
"""Characters of a test's message in the issue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """How `swarmcode fix` is run."""

    sandbox: str
    agents: int
    seconds: float
    python: Path
    """Of the environment that runs the tests, where a sandbox may look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What became of one fault."""

    package: str
    use: str
    """As in `Package`."""
    path: str
    line: int
    kind: str
    by: str
    failing: int
    """Tests that fail with the fault in."""
    counts: bool
    """False where no test failed here, or the tests did not run: then there was nothing to solve."""
    exit_code: int | None
    """Of swarmcode; None where it was killed or was not started."""
    solved: bool
    """Exit code 0: proven."""
    restored: bool
    """Whether the patched file is what its authors wrote."""
    seconds: float
    """Wall time of the whole command."""
    tried: int
    """Candidates that were judged."""
    rank: int | None
    """Place of the accepted one among all that its subtask proposed, in the order of proposing; the last, where several
    were needed. (Verdicts come in another order: while the whole suite runs on what looks right, others fail fast.)"""
    said: str
    """Why it ended as it did."""
    diff: str
    """The patch, or empty."""


def attempt(shelf: Shelf, package: Package, fault: Fault, given: Given, skip: tuple[str, ...]) -> Trial:
    """Injects the fault into a copy and lets swarmcode try. `skip`: tests that fail here even without the fault."""
    with tempfile.TemporaryDirectory(prefix="fault-") as scratch:
        tree = copied(shelf.tree(package), Path(scratch) / package.name)
        original = (tree / fault.path).read_bytes()
        inject(fault, tree)
        argv = command(given.python, package, skip)
        ran = run_suite(argv, tree, shelf.patience(package))
        if why := UNFIT.get(ran.outcome):
            return _trial(package, fault, failing=0, counts=False, said=why)
        began = time.monotonic()
        code, out, err = _fix(issue(ran.failing), tree, argv, given, Path(scratch))
        seconds = time.monotonic() - began
        restored = code == 0 and (tree / fault.path).read_bytes() == original
    return _trial(
        package,
        fault,
        failing=len(ran.failing),
        counts=True,
        exit_code=code,
        solved=code == 0,
        restored=restored,
        seconds=seconds,
        **told(out, err),
    )


def _trial(package: Package, fault: Fault, **result: Any) -> Trial:
    nothing = {"exit_code": None, "solved": False, "restored": False, "seconds": 0.0, "tried": 0, "rank": None}
    place = {"path": fault.path, "line": fault.line, "kind": fault.kind, "by": fault.by}
    return Trial(package=package.name, use=package.use, **{**nothing, "diff": "", **place, **result})


def issue(failing: Mapping[str, str]) -> str:
    """One paragraph: the failing tests and their messages, the first few by name."""
    named = [f"{test} ({message[:LONGEST]})" for test, message in list(failing.items())[:NAMED]]
    more = f", and {len(failing) - NAMED} more" if len(failing) > NAMED else ""
    return f"Failing tests: {', '.join(named)}{more}."


def _fix(text: str, tree: Path, argv: list[str], given: Given, scratch: Path) -> tuple[int | None, bytes, bytes]:
    """Exit code (None: killed), standard output, standard error. A fix is written into the tree."""
    note = scratch / "issue.txt"
    note.write_text(text, encoding="utf-8", errors="backslashreplace")
    flags = {"repo": tree, "test": shlex.join(argv), "sandbox": given.sandbox, "timeout": f"{given.seconds:g}"}
    call = [_program(), "fix", str(note), "--json", "--apply", f"--agents={given.agents}"]
    call += [f"--{name}={value}" for name, value in flags.items()]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SWARMCODE_", "PYTEST_"))}
    env |= {"SWARMCODE_HOME": str(scratch / "home"), "XDG_CONFIG_HOME": str(scratch / "settings")}
    child = subprocess.Popen(
        call, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        out, err = child.communicate(timeout=given.seconds + GRACE)
    except subprocess.TimeoutExpired:
        return None, b"", b"it went on long after its time limit, and was killed"
    else:
        return child.returncode, out, err
    finally:
        _stop(child)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """Ends the run: asked first, so that it takes its boxes down."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            child.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            pass  # it has had its chance
    end(child)


def _program() -> str:
    place = Path(sys.executable).with_name("swarmcode")
    if not place.exists():
        raise BenchError(f"there is no {place}: run this with the Python that swarmcode is installed for")
    return str(place)


def told(out: bytes, err: bytes) -> dict[str, Any]:
    """What the report says: candidates tried, the place of the accepted, why, and the patch."""
    try:
        report = json.loads(out)
    except ValueError:
        lines = [line for line in err.decode(errors="replace").splitlines() if line.strip()]
        return {"said": " / ".join(lines[-2:]) or "it said nothing"}
    merge = report["merge"] or {"accepted": (), "diff": ""}
    places = [int(each["attempt"].rpartition(".")[2]) + 1 for each in merge["accepted"]]
    tried = len(report["verdicts"])
    return {"tried": tried, "rank": max(places, default=None), "said": report["why"], "diff": merge["diff"]}
