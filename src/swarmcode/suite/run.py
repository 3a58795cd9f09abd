"""Runs the test command in a box, and says what happened as values.

The probe's report and the exit code must agree: a report that is not whole, or that tells of no failure while the
command failed, makes the run `broken`, never passed. A command in which pytest does not run (`cargo test`, `make test`)
has one pseudo test, named after the command, that passes where the exit code is 0; that way is open only to commands
and asks that never speak of pytest or of its tests, so that losing the report does not lead there.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from swarmcode.flow import RunOutcome, SuiteRun, TestResult
from swarmcode.sandbox.protocol import Box, Command, CommandResult, Limits
from swarmcode.suite import probe
from swarmcode.suite.ask import Ask
from swarmcode.suite.detect import command_name
from swarmcode.suite.probe import PLUGIN, Reading, Request, Spectrum

_REQUEST = "request.json"
_REPORT = "report.jsonl"

# The shell puts the probe in front of what the toolchain has set already, and knows where the tree lies in this box.
_WITH_PROBE = """\
export SWARMCODE_ROOT="$PWD"
export PYTHONPATH="$1${PYTHONPATH:+:$PYTHONPATH}"
export PYTEST_PLUGINS="swarmcode_probe${PYTEST_PLUGINS:+,$PYTEST_PLUGINS}"
shift
exec "$@"
"""
_ENV = {
    # A compiled file is taken for fresh by the second and the size of its source: two candidates can share both.
    "PYTHONDONTWRITEBYTECODE": "1",
    # Equal trees are to give equal verdicts.
    "PYTHONHASHSEED": "0",
    "NO_COLOR": "1",
    "PY_COLORS": "0",
}
_OWN_PATH = re.compile(r"""(?<![\w$])PYTHONPATH=(?:"[^"]*"|'[^']*'|[^\s;&|<>()"'])*""")
_LAST_WORDS = (
    r"^E\s{2,}(\S.*)",
    r"^INTERNALERROR> (\S.*)",
    r"(?i)^(.*error: .*)",
    r"^(\S*(?:Error|Exception): .*)",
    r"(\S.*)",
)
OUT_OF_MEMORY = "out of memory"
HIDDEN_PROBE = "its Python does not see what is to report its tests"
"""How complaints begin, or end, that have a remedy of their own."""
_MESSAGE_CHARS = 2000
_HANGING = 1 / 3  # of the run's time: a test that takes longer fails, so that one endless loop does not hide the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A run, and which lines each of its tests executed."""

    run: SuiteRun
    covered: Spectrum
    """Only tests that ended, and began within the time for tracing; empty where the run did not finish."""


async def warm_up(box: Box, command: tuple[str, ...], limits: Limits) -> bool:
    """Has the test runner started and wait, so that later runs with these limits begin where pytest is loaded and
    nothing of the project is; whether it waits. Files that pytest reads by itself must not change until they have run.
    Raises `SandboxLost`."""
    return _is_pytest(command) and await box.warm(_command(command, limits, warm=True))


async def run_suite(box: Box, command: tuple[str, ...], ask: Ask, limits: Limits, *, warm: bool = False) -> SuiteRun:
    """Runs the test command once, as the box's tree stands; `warm`: from a runner that `warm_up` has started, if one
    waits, and without much output. Raises `SandboxLost`."""
    return (await _run(box, command, ask, limits, None, warm=warm)).run


async def trace_suite(box: Box, command: tuple[str, ...], ask: Ask, limits: Limits, seconds: float) -> Traced:
    """As `run_suite`, recording lines until `seconds` of tests have been traced. Its timings are not true."""
    return await _run(box, command, ask, limits, seconds)


async def _run(
    box: Box, command: tuple[str, ...], ask: Ask, limits: Limits, seconds: float | None, *, warm: bool = False
) -> Traced:
    if ask.ids == {command_name(command)}:
        result = await box.run(Command(argv=command, env=_ENV, limits=limits))
        return Traced(run=_pseudo(command, result, limits), covered={})
    request = Request(
        ask=ask,
        report=_REPORT,
        trace_seconds=seconds,
        test_seconds=limits.seconds * _HANGING,
        once=_is_pytest(command),
        terse=warm,
    )
    # The report of an earlier run in this box must not stand before this one.
    inputs = {_REQUEST: request.encode(), _REPORT: b""}
    result = await box.run(replace(_command(command, limits, warm=warm), inputs=inputs, collect=(_REPORT,)))
    reading = probe.read_report(result.files.get(_REPORT), request.key)
    run = _decide(command, ask, result, reading, limits)
    return Traced(run=run, covered=reading.covered if run.outcome == "finished" else {})


def _command(command: tuple[str, ...], limits: Limits, *, warm: bool) -> Command:
    return Command(
        argv=("sh", "-c", _WITH_PROBE, "sh", str(probe.folder()), *map(_seeing, command)),
        env={**_ENV, "SWARMCODE_PROBE": f"{{scratch}}/{_REQUEST}"},
        limits=limits,
        warm=warm,
    )


def _speaks_of_pytest(command: tuple[str, ...]) -> bool:
    """Whether a program, a file or an option of the command is named after it; the folders that they lie in are not
    meant."""
    names = [part.rpartition("/")[2] for word in command for part in re.split(r"[\s;&|()<>'\"=]+", word)]
    return any("pytest" in name or "py.test" in name for name in names)


def _seeing(word: str) -> str:
    """A word of the command, or a script in it, with the probe behind each PYTHONPATH that it sets."""
    return _OWN_PATH.sub(lambda found: f"{found[0]}:{shlex.quote(str(probe.folder()))}", word)


def _is_pytest(command: tuple[str, ...]) -> bool:
    """Whether the command is pytest itself, once, and nothing else."""
    program = PurePosixPath(command[0]).name
    return program in ("pytest", "py.test") or (program.startswith("python") and command[1:3] == ("-m", "pytest"))


def _decide(command: tuple[str, ...], ask: Ask, result: CommandResult, reading: Reading, limits: Limits) -> SuiteRun:
    name = command_name(command)
    where = f", in {reading.running}" if reading.running else ""
    if result.killed == "timeout":
        return _ended("timeout", result, f"no end after {limits.seconds:g} s{where}", reading.tests)
    if result.killed == "memory":
        return _ended("broken", result, f"{OUT_OF_MEMORY} ({limits.memory_mb} MB){where}")
    if result.exit_code in (126, 127):
        return _ended("broken", result, f"`{name}` cannot be started: {last_words(result.output)}")
    if not reading.opened:
        if ask.ids or _speaks_of_pytest(command):
            said = f"`{name}` ended with {result.exit_code} and no report: {last_words(result.output)}"
            if f"No module named '{PLUGIN}'" in result.output:
                said = f"`{name}` ended with {result.exit_code}: {HIDDEN_PROBE}"
            return _ended("broken", result, said)
        return _pseudo(command, result, limits)
    if reading.flaw:
        return _ended("broken", result, f"{reading.flaw}: {last_words(result.output)}")
    failed = any(test.outcome in ("failed", "error") for test in reading.tests.values())
    if result.exit_code != 0 and reading.tests and not failed:
        said = f"no test failed, yet `{name}` ended with {result.exit_code}: {last_words(result.output)}"
        return _ended("broken", result, said)
    return _ended("finished", result, _complaint(reading), reading.tests)


def _complaint(reading: Reading) -> str:
    if reading.uncollected:
        first, *others = reading.uncollected
        more = f" (and {len(others)} more)" if others else ""
        return f"{first} could not be collected: {last_words(reading.tests[first].message)}{more}"
    if not reading.tests:
        return "no tests were collected" + (f": {', '.join(sorted(reading.unknown))}" if reading.unknown else "")
    return ""


def _pseudo(command: tuple[str, ...], result: CommandResult, limits: Limits) -> SuiteRun:
    name = command_name(command)
    if result.killed == "timeout":
        return _ended("timeout", result, f"no end after {limits.seconds:g} s")
    if result.killed == "memory":
        return _ended("broken", result, f"{OUT_OF_MEMORY} ({limits.memory_mb} MB)")
    if result.exit_code is None or result.exit_code in (126, 127):
        return _ended("broken", result, f"`{name}` cannot be started: {last_words(result.output)}")
    test = TestResult(
        id=name,
        outcome="passed" if result.exit_code == 0 else "failed",
        seconds=result.seconds,
        message="" if result.exit_code == 0 else result.output[-_MESSAGE_CHARS:].strip(),
    )
    return _ended("finished", result, "", {name: test})


def _ended(
    outcome: RunOutcome, result: CommandResult, complaint: str, tests: Mapping[str, TestResult] | None = None
) -> SuiteRun:
    return SuiteRun(
        outcome=outcome,
        exit_code=result.exit_code,
        tests=tests or {},
        output=result.output,
        seconds=result.seconds,
        complaint=complaint,
    )


def last_words(output: str) -> str:
    """The line that most probably says what went wrong, for a person to read."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    for pattern in _LAST_WORDS:
        found = [match for line in lines if (match := re.search(pattern, line))]
        if found:
            return found[-1][1].strip()[:300]
    return "it printed nothing"
