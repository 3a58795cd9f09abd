"""Candidate -> Verdict: what the project's own tests say, in a sandbox.

A candidate counts only if it turns failing tests and breaks none. The failing tests come first, because most candidates
end there; then those that passed, until the first that does not any more. A test that broke is run once more before it
is held against the candidate, and a test that was not seen to pass again counts as broken, so that skipping, deleting
or hiding a test is no way through. A test that never ends fails where it hangs, so that the others are heard, and its
candidate has `failed`; a `timeout` is a run that could not be ended so (a loop while a file is loaded, say). Not
covered: code in scope that lies to its own tests (a module that recognises that it is being tested); the diff is there
to be read.

Candidates are tried in copies of a test runner that has started before any candidate was there (`warm_up`): a short run
costs a fraction of a start. What is merged is proven in a runner of its own.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from swarmcode.flow import Baseline, Candidate, Changes, Outcome, SuiteRun, Verdict
from swarmcode.roles import steers_tests
from swarmcode.sandbox.protocol import Box, Limits
from swarmcode.sandbox.stacked import Boxes
from swarmcode.suite.ask import Ask
from swarmcode.suite.run import Traced, run_suite, trace_suite, warm_up

GRACE = 10.0
SLACK = 5.0
"""A run of the whole suite may take so many seconds, and so many times what it took before."""
FIRST_GRACE = 3.0
FIRST_SLACK = 10.0
"""The same of a run of the failing tests alone: wrong edits of loops are many, and each that never ends holds a box."""
MANY, FEW = 24, 12
"""Of more failing tests than the first, as many as the second are asked first: a candidate that turns none of those,
taken evenly from all, is not tried any further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What judging needs."""

    boxes: Boxes
    command: tuple[str, ...]
    baseline: Baseline
    limits: Limits
    """Of one run of the suite."""

    @classmethod
    def of(cls, boxes: Boxes, command: tuple[str, ...], baseline: Baseline, limits: Limits) -> "Bench":
        """A candidate that never returns must not hold a box for long: it gets some times what the suite took."""
        seconds = min(limits.seconds, GRACE + SLACK * baseline.run.seconds)
        return cls(boxes=boxes, command=command, baseline=baseline, limits=replace(limits, seconds=seconds))


async def judge(bench: Bench, candidate: Candidate, wanted: Iterable[str]) -> Verdict:
    """Tries a candidate against the tests that it is to turn, then against the rest. Raises `SandboxLost`."""
    wanted = frozenset(wanted)
    async with bench.boxes.box() as box:
        for asked in _first(wanted):
            ask = Ask(select=asked)
            first = await _run(bench, box, candidate.changes, ask, seconds=_patience(bench, asked))
            if first.outcome != "finished" or not first.passing & wanted:
                return _verdict(candidate.key, (first,), wanted=wanted, turned=frozenset(), broke=frozenset())
        others = frozenset(bench.baseline.failing) - wanted
        rest = bench.baseline.passing | others
        if not rest:
            return _verdict(candidate.key, (first,), wanted=wanted, turned=first.passing & wanted, broke=frozenset())
        ask = Ask(
            select=tuple(sorted(rest)),
            first=_nearest(bench.baseline, candidate.changes),
            stop_on=bench.baseline.passing,
        )
        second = await _run(bench, box, candidate.changes, ask)
        runs, broke = await _confirmed(bench, box, candidate.changes, second)
        turned = (first.passing & wanted) | (second.passing & others)
        return _verdict(candidate.key, (first, *runs), wanted=wanted, turned=turned, broke=broke)


async def look(bench: Bench, changes: Changes, tests: Sequence[str]) -> SuiteRun:
    """Some tests on a changed tree, or all where none is named, for an agent that wants to see: no verdict. Raises
    `SandboxLost`."""
    async with bench.boxes.box() as box:
        return await _run(bench, box, changes, Ask(select=tuple(tests)))


async def watch(bench: Bench, changes: Changes) -> Traced:
    """New test files, run alone and traced on the tree as it is, for one who wants to see whether they show a fault: no
    verdict. Raises `SandboxLost`."""
    async with bench.boxes.box() as box:
        await box.apply(changes)
        return await trace_suite(box, bench.command, Ask(select=tuple(changes)), bench.limits, bench.limits.seconds)


async def prove(bench: Bench, key: str, changes: Changes, expected: Iterable[str]) -> Verdict:
    """The whole suite, as the project runs it, on a combined tree. It passes only if it turns all that is `expected`
    and breaks nothing. Raises `SandboxLost`."""
    expected = frozenset(expected)
    async with bench.boxes.box() as box:
        # All of it; what is expected goes first, so that a file which could not be collected before is told of by name.
        whole = await _run(bench, box, changes, Ask(first=tuple(sorted(expected))), warm=False)
        runs, broke = await _confirmed(bench, box, changes, whole, warm=False)
    turned = whole.passing & frozenset(bench.baseline.failing)
    return _verdict(key, runs, wanted=expected, turned=turned, broke=broke, whole=True)


def _first(wanted: Collection[str]) -> list[tuple[str, ...]]:
    """What is asked of a candidate, one after another: all that it is to turn, but of many a few before."""
    every = tuple(sorted(wanted))
    return [every[:: -(-len(every) // FEW)], every] if len(every) > MANY else [every]


def _patience(bench: Bench, tests: Iterable[str]) -> float:
    """Seconds that these tests may take. A failing test often ends early, so the longest of all is counted too."""
    known = bench.baseline.run.tests
    own = sum(known[test].seconds for test in tests if test in known)
    longest = max((test.seconds for test in known.values()), default=0.0)
    start = max(0.0, bench.baseline.run.seconds - sum(test.seconds for test in known.values()))
    return min(bench.limits.seconds, FIRST_GRACE + start + FIRST_SLACK * (own + longest))


async def _run(
    bench: Bench, box: Box, changes: Changes, ask: Ask, *, warm: bool = True, seconds: float | None = None
) -> SuiteRun:
    """One run of the suite on a tree that nothing has touched but the changes; `seconds`: shorter than the limit."""
    limits = bench.limits if seconds is None else replace(bench.limits, seconds=seconds)
    await box.reset()
    warm = warm and not any(map(steers_tests, changes)) and await warm_up(box, bench.command, bench.limits)
    await box.apply(changes)
    return await run_suite(box, bench.command, ask, limits, warm=warm)


async def _confirmed(
    bench: Bench, box: Box, changes: Changes, run: SuiteRun, *, warm: bool = True
) -> tuple[tuple[SuiteRun, ...], frozenset[str]]:
    """The runs made, and the tests that are broken in both: what breaks once and passes next is flaky."""
    lost = bench.baseline.passing - run.passing
    seen_to_fail = lost & frozenset(run.tests)
    if run.outcome != "finished" or not lost:
        return (run,), lost
    # A run that was stopped at a broken test has not seen the rest, so all that is missing is run again.
    ask = Ask(select=tuple(sorted(lost)), first=tuple(sorted(seen_to_fail)), stop_on=lost)
    again = await _run(bench, box, changes, ask, warm=warm)
    return (run, again), lost - again.passing


def _nearest(baseline: Baseline, changes: Changes) -> tuple[str, ...]:
    """Passing tests that run lines of a changed file: the likeliest to break."""
    near = [
        test for test, files in baseline.covered.items() if test in baseline.passing and files.keys() & changes.keys()
    ]
    return tuple(sorted(near))


def _verdict(
    key: str,
    runs: tuple[SuiteRun, ...],
    *,
    wanted: frozenset[str],
    turned: frozenset[str],
    broke: frozenset[str],
    whole: bool = False,
) -> Verdict:
    still_failing = wanted - turned
    outcome: Outcome = "passed" if turned and not broke and not (whole and still_failing) else "failed"
    complaint = ""
    for run in runs:
        if run.outcome != "finished":
            outcome = "timeout" if run.outcome == "timeout" else "broken"
            complaint = run.complaint if outcome == "broken" else ""
    return Verdict(
        key=key,
        outcome=outcome,
        turned=turned,
        still_failing=still_failing,
        broke=broke,
        output=runs[-1].output or runs[-1].complaint,
        complaint=complaint,
        seconds=sum(run.seconds for run in runs),
    )
