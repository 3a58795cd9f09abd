"""The end of a run, for a person: what was fixed and how that is proven, what was not and what to try, what it cost."""

from collections import Counter
from collections.abc import Iterable, Iterator
from io import StringIO

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchedFile, PatchSet

from swarmcode.errors import DiffError
from swarmcode.flow import Baseline, Report, Reproduction
from swarmcode.report.terminal import counted, one_line
from swarmcode.unified import plain_name

LISTED = 8
"""Most tests, or files, that are named one by one."""
COMPLAINTS = 2
"""Most reasons that are told why candidates could not be judged, the most frequent first."""
FLAKY = "failed, then passed with nothing changed; not counted"
"""What is said of flaky tests."""


def summary(report: Report) -> list[str]:
    """Lines without control characters, the first of them the outcome."""
    if report.green:
        return [headline(report), *_flaky(report)]
    return [
        headline(report),
        *_fixed(report),
        *_unfixed(report),
        *_cost(report),
    ]


def headline(report: Report) -> str:
    """The outcome in a sentence."""
    solved, unsolved = len(report.solved), len(report.unsolved)
    if report.fixed:
        return f"Fixed: {counted(solved, 'failing test')} now {'passes' if solved == 1 else 'pass'}."
    if report.merge is not None and report.merge.proven:
        return f"Partly fixed: {solved} of {counted(solved + unsolved, 'failing test')} now pass."
    if report.baseline is None:
        return "Not fixed: the run ended before the tests had been run."
    if report.green:
        return f"Nothing to fix: {_green(report.baseline)}."
    if not unsolved:
        return f"Not fixed: no test shows the fault, none of {counted(len(report.baseline.passing), 'test')} fails."
    return f"Not fixed: {counted(unsolved, 'failing test')} still {'fails' if unsolved == 1 else 'fail'}."


def _green(baseline: Baseline) -> str:
    passing, flaky = len(baseline.passing), len(baseline.flaky)
    if flaky or not passing:
        return f"no test fails, {passing} pass, {flaky} flaky" if flaky else "no test fails, and none passes"
    return "the one test passes" if passing == 1 else f"all {passing} tests pass"


def _fixed(report: Report) -> Iterator[str]:
    merge = report.merge
    if merge is None or not merge.proven:
        return
    yield from _named(report.solved)
    for path, added, removed in changed(merge.diff)[:LISTED]:
        yield f"  changed  {one_line(path)} (+{added} -{removed})"
    yield f"  proof    {proof(report)}"
    yield from _written(report)
    for rejection in merge.rejected[:LISTED]:
        yield f"  left out a patch of subtask {one_line(rejection.subtask)}: {one_line(rejection.reason)}"


def _unfixed(report: Report) -> Iterator[str]:
    if report.fixed:
        return
    if report.solved:
        yield "Still failing:"
    yield from _named(report.unsolved)
    if not report.solved:
        yield from _written(report)
    if report.why:
        yield f"  why      {one_line(report.why)}"
    for step in _next_steps(report):
        yield f"  next     {step}"


def _written(report: Report) -> Iterator[str]:
    """What the whole run hangs on, where the test had to be written: a person should read it."""
    if report.reproduction is not None:
        yield f"  test     {one_line(report.reproduction.path)} was written in this run: read it first"
        yield f"           before the fix it {fails(report.reproduction)}: {one_line(report.reproduction.manner)}"


def fails(written: Reproduction) -> str:
    """Whether other tests that were written fail as this one does."""
    return f"fails, as {written.agreeing} of {written.written} do" if written.written > 1 else "fails"


def _next_steps(report: Report) -> Iterator[str]:
    if report.baseline is None:
        yield "the tests alone took that long: give them more time (--timeout), or choose fewer (--test)"
    elif not report.unsolved:
        yield "add a test that fails because of the fault, or try a larger model (--model PATH)"
    elif report.attempts:
        yield from _unjudged(report)
        if report.verdicts:
            yield "try more time (--timeout), another --seed, or a larger model (--model PATH)"
        else:
            yield "nothing that could be tried was proposed: try a larger model (--model PATH)"
        yield f"go on with the verdicts of this run: swarmcode fix ISSUE --resume {report.run}"


def _unjudged(report: Report) -> Iterator[str]:
    """What kept the tests from deciding: a right fix may be among these."""
    complaints = Counter(one_line(each.complaint) for each in report.verdicts.values() if each.complaint)
    for complaint, number in complaints.most_common(COMPLAINTS):
        yield f"{counted(number, 'candidate')} could not be judged: {complaint}"


def proof(report: Report) -> str:
    """On what ground a merge is proven."""
    passing = len(report.baseline.passing) if report.baseline else 0
    others = f": none of {counted(passing, 'passing test')} is broken" if passing else ""
    return f"the whole suite, run on the combined tree{others}"


def _cost(report: Report) -> Iterator[str]:
    work, tokens, tests = costs(report)
    yield f"  cost     {work}"
    yield f"           {tokens}"
    yield f"           {tests} ({report.sandbox}), model {one_line(report.model)}"
    yield from _flaky(report)
    yield f"  run      {report.run}"


def costs(report: Report) -> tuple[str, str, str]:
    """What was spent: on attempts, in tokens, on tests."""
    usage = report.usage
    attempts, tried = counted(len(report.attempts), "attempt"), counted(len(report.verdicts), "candidate")
    duplicates = f", {counted(report.duplicates, 'duplicate')} dropped" if report.duplicates else ""
    return (
        f"{usage.seconds:.1f} s, {attempts}, {tried} tried{duplicates}",
        f"tokens: {usage.prefilled:,} prefilled, {usage.reused:,} reused, {usage.decoded:,} decoded",
        f"{report.sandbox_seconds:.1f} s in the sandbox",
    )


def _flaky(report: Report) -> Iterator[str]:
    flaky = sorted(report.baseline.flaky) if report.baseline else []
    if flaky:
        yield f"  flaky    {_listed(flaky)}: {FLAKY}"


def changed(diff: str) -> list[tuple[str, int, int]]:
    """Path, lines added and lines removed, for each file of a unified diff; empty where it cannot be read."""
    try:
        patches = PatchSet(StringIO(diff, newline="\n"))
        return [(_path(file), file.added, file.removed) for file in patches]
    except (UnidiffParseError, ValueError, DiffError):
        return []


def _path(file: PatchedFile) -> str:
    """As the file is called, without git's quotes."""
    return plain_name(file.target_file, "b/") or plain_name(file.source_file, "a/") or ""


def _named(tests: Iterable[str]) -> Iterator[str]:
    names = list(tests)
    for name in names[:LISTED]:
        yield f"  - {one_line(name)}"
    if len(names) > LISTED:
        yield f"  - and {len(names) - LISTED} more"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(one_line(name) for name in names[:LISTED]) + more
