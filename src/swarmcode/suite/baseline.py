"""Measures how the suite stands before anything is changed.

The whole suite runs once as it is, so that its timings are true. Then, at the same time where two boxes are to be had,
the failing tests run again under the tracer, and so do as many passing ones as the time allows, those that share a file
with a failing test first. What the tracer's runs contradict is run once more without it, because a tracer may change
what a test sees: a test that then differs from its first outcome is flaky, and neither a bug nor a guard.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping

from swarmcode.errors import SuiteError
from swarmcode.flow import Baseline, SuiteRun
from swarmcode.sandbox.protocol import Limits
from swarmcode.sandbox.stacked import Boxes
from swarmcode.suite.ask import Ask
from swarmcode.suite.detect import command_name
from swarmcode.suite.probe import Spectrum
from swarmcode.suite.run import HIDDEN_PROBE, OUT_OF_MEMORY, Traced, run_suite, trace_suite

_SLOWDOWN = 4.0  # what a traced second costs, for choosing how many tests to trace
_PER_TEST = 0.005  # seconds a test costs beside its own


async def measure(boxes: Boxes, command: tuple[str, ...], limits: Limits, trace_seconds: float = 3.0) -> Baseline:
    """The baseline; `trace_seconds` bounds what tracing passing tests may cost.

    Raises `SuiteError` where the tests cannot be run or collected, or do not end in time; `SandboxLost`.
    """
    async with boxes.box() as box:
        run = await run_suite(box, command, Ask(), limits)
    _insist_on_tests(run, command)
    failing = tuple(name for name in run.tests if name in run.failing)
    if failing == (command_name(command),):
        return await _without_report(boxes, command, limits, run)
    traced = await _trace(boxes, command, limits, run, trace_seconds) if failing else []
    flaky = await _flaky(boxes, command, limits, run, _doubtful(run, traced))
    return Baseline(
        run=run,
        failing=tuple(name for name in failing if name not in flaky),
        flaky=flaky,
        passing=run.passing - flaky,
        covered=_agreeing(run, traced),
    )


def _insist_on_tests(run: SuiteRun, command: tuple[str, ...]) -> None:
    name = command_name(command)
    if run.outcome == "timeout":
        raise SuiteError(
            f"the tests did not end: {run.complaint}",
            "Give a run of them more time, SWARMCODE_LIMITS_SECONDS and twice as much with --timeout, "
            "or choose fewer tests with --test.",
        )
    if run.outcome == "broken":
        raise SuiteError(f"the tests cannot be run: {run.complaint}", _remedy(run, name))
    if not run.tests:
        raise SuiteError(f"`{name}` finds no tests", "Name a command that does with --test.")
    if all(test.outcome == "error" and "::" not in test.id for test in run.tests.values()):
        raise SuiteError(
            f"no test can be collected: {run.complaint}",
            "Install what the tests import where the test command finds it, or name another command with --test.",
        )


def _remedy(run: SuiteRun, name: str) -> str:
    if run.complaint.startswith(OUT_OF_MEMORY):
        return "Give a box more, SWARMCODE_LIMITS_MEMORY_MB, or choose fewer tests with --test."
    if run.complaint.endswith(HIDDEN_PROBE):
        return "Let it see PYTHONPATH: no -I and no -E, and where the command sets it, PYTHONPATH=src:$PYTHONPATH."
    return f"Make `{name}` work in the repository first, or name another command with --test."


async def _without_report(boxes: Boxes, command: tuple[str, ...], limits: Limits, run: SuiteRun) -> Baseline:
    """The baseline of a command that gives nothing but its exit code, and failed."""
    name = command_name(command)
    async with boxes.box() as box:
        again = await run_suite(box, command, Ask(select=(name,)), limits)
    flaky = frozenset({name}) & again.passing
    return Baseline(run=run, failing=() if flaky else (name,), flaky=flaky, passing=frozenset(), covered={})


async def _trace(boxes: Boxes, command: tuple[str, ...], limits: Limits, run: SuiteRun, seconds: float) -> list[Traced]:
    """The failing tests again, and passing ones as far as `seconds` go, each under the tracer."""

    async def trace(tests: Collection[str], seconds: float) -> Traced:
        async with boxes.box() as box:
            return await trace_suite(box, command, Ask(select=tuple(tests)), limits, seconds)

    passing = _affordable(run, seconds)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(trace(run.failing, limits.seconds))]
        if passing:
            tasks.append(group.create_task(trace(passing, seconds)))
    return [task.result() for task in tasks]


def _affordable(run: SuiteRun, seconds: float) -> list[str]:
    """Passing tests, neighbours of failing ones first, as many as can be traced in the time."""
    files = {_file(name) for name in run.failing}
    chosen = []
    for name in sorted(run.passing, key=lambda name: (_file(name) not in files, run.tests[name].seconds)):
        seconds -= run.tests[name].seconds * _SLOWDOWN + _PER_TEST
        if seconds < 0:
            break
        chosen.append(name)
    return chosen


def _file(name: str) -> str:
    return name.split("::", 1)[0]


def _doubtful(run: SuiteRun, traced: Iterable[Traced]) -> tuple[str, ...]:
    """Tests that did not end under the tracer as they had ended before."""
    ended = {name: test.outcome for each in traced for name, test in each.run.tests.items()}
    unlike = [name for name in run.failing if ended.get(name) not in ("failed", "error")]
    return (*unlike, *(name for name in run.passing if ended.get(name, "passed") != "passed"))


async def _flaky(
    boxes: Boxes, command: tuple[str, ...], limits: Limits, run: SuiteRun, doubtful: tuple[str, ...]
) -> frozenset[str]:
    """Which of the doubtful tests end otherwise than at first when they run again, untraced."""
    if not doubtful:
        return frozenset()
    async with boxes.box() as box:
        again = await run_suite(box, command, Ask(select=doubtful), limits)
    if again.outcome != "finished":
        return frozenset()  # it says nothing: each keeps its first outcome
    return frozenset(name for name in doubtful if _failed(run, name) != _failed(again, name))


def _failed(run: SuiteRun, name: str) -> bool:
    return name in run.failing


def _agreeing(run: SuiteRun, traced: Iterable[Traced]) -> Spectrum:
    """The lines of tests that ended under the tracer as they had ended before."""
    covered: dict[str, Mapping[str, frozenset[int]]] = {}
    for each in traced:
        for name, lines in each.covered.items():
            if (name in run.failing) == (name in each.run.failing):
                covered[name] = lines
    return covered
