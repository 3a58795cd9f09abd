"""What happened in a run, written down as it happens: `journal.jsonl` in the run's folder, one event a line.

Every line goes to the operating system in one write before the run goes on, so a run that is killed, however, leaves
what it had; a power cut may take the last seconds. Where the disk is full the journal stops, says so once, and the run
goes on without it. What is kept is enough to show a run again and to resume it; `trimmed` says what is cut.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from swarmcode import __version__, codec, events, flow, runs
from swarmcode.errors import StateError

SCHEMA = 1
"""Of the lines. A change that `codec` cannot read over raises it."""
NAME = "journal.jsonl"
OUTPUT = 16_000
"""Characters of a command's output that are kept, from its end."""
MESSAGE = 4_000
"""Characters of a test's message or an attempt's note that are kept, from its end."""

KINDS: Mapping[str, type[events.Event]] = {
    name: kind for name, kind in vars(events).items() if isinstance(kind, type) and issubclass(kind, events.Event)
}
"""Every event by its name in a journal."""


class Journal:
    """An observer that appends what it is told. Close it, or use it in a `with`."""

    def __init__(self, folder: Path, complain: Callable[[str], None], resumes: str = "") -> None:
        """`folder` is the run's and holds no journal yet; `complain` hears, once, that the journal had to stop;
        `resumes` names the run that this one goes on from. Raises `StateError`."""
        self._complain = complain
        try:
            self._file = os.open(folder / NAME, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
            self._append({"journal": SCHEMA, "swarmcode": __version__, "resumes": resumes})
        except OSError as error:
            raise runs.unwritable(folder / NAME, error) from error

    def __call__(self, event: events.Event) -> None:
        """Appends one event. A disk that does not take it ends the journal, not the run."""
        if self._file < 0:
            return
        try:
            self._append({"event": type(event).__name__, **codec.encode(trimmed(event))})
        except OSError as error:
            self.close()
            self._complain(f"the journal ends here, so this run cannot be resumed later: {error.strerror}")

    def _append(self, line: Mapping[str, Any]) -> None:
        data = json.dumps(line, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Ends the journal. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def trimmed(event: events.Event) -> events.Event:
    """The event as it is kept. Pure and idempotent.

    Long outputs lose their head. Whole files are kept only of candidates that passed (the others have their diff). The
    report at the end does not repeat the coverage, which an earlier line has.
    """
    match event:
        case events.BaselineMeasured():
            return replace(event, baseline=_baseline(event.baseline))
        case events.AttemptEnded():
            return replace(event, attempt=_attempt(event.attempt))
        case events.CandidateFound():
            return replace(event, candidate=replace(event.candidate, changes={}))
        case events.CandidateJudged(verdict=verdict):
            kept = event.candidate if verdict.outcome == "passed" else replace(event.candidate, changes={})
            return replace(event, candidate=kept, verdict=_verdict(verdict))
        case events.Merged():
            return replace(event, merge=_merge(event.merge))
        case events.RunEnded():
            return replace(event, report=_report(event.report))
    return event


def _tail(text: str, longest: int) -> str:
    return text if len(text) <= longest else "…" + text[len(text) - longest + 1 :]


def _attempt(attempt: flow.Attempt) -> flow.Attempt:
    return replace(attempt, note=_tail(attempt.note, MESSAGE))


def _verdict(verdict: flow.Verdict) -> flow.Verdict:
    return replace(verdict, output=_tail(verdict.output, OUTPUT))


def _baseline(baseline: flow.Baseline) -> flow.Baseline:
    tests = {key: replace(test, message=_tail(test.message, MESSAGE)) for key, test in baseline.run.tests.items()}
    return replace(baseline, run=replace(baseline.run, tests=tests, output=_tail(baseline.run.output, OUTPUT)))


def _merge(merge: flow.Merge) -> flow.Merge:
    return replace(merge, verdict=merge.verdict and _verdict(merge.verdict))


def _report(report: flow.Report) -> flow.Report:
    return replace(
        report,
        baseline=report.baseline and replace(_baseline(report.baseline), covered={}),
        attempts=tuple(_attempt(attempt) for attempt in report.attempts),
        verdicts={key: _verdict(verdict) for key, verdict in report.verdicts.items()},
        merge=report.merge and _merge(report.merge),
    )


def replay(folder: Path) -> Iterator[events.Event]:
    """The events of a run, in order. A torn last line, which a killed run leaves, is passed over.

    Raises `StateError` where there is no journal, or it is damaged or of another version.
    """
    for number, line in islice(_lines(folder), 1, None):
        yield _event(folder, number, line)


def edges(folder: Path) -> tuple[events.Event | None, events.Event | None]:
    """The `RunStarted` of a run, and its last event; None where there is none. Raises as `replay`.

    Decodes no other, so a list of runs comes quickly.
    """
    first: tuple[int, dict[str, Any]] | None = None
    last: tuple[int, dict[str, Any]] | None = None
    for number, line in islice(_lines(folder), 1, None):
        last = number, line
        if first is None and line.get("event") == events.RunStarted.__name__:
            first = last
    return (_event(folder, *first) if first else None), (_event(folder, *last) if last else None)


def _event(folder: Path, number: int, line: dict[str, Any]) -> events.Event:
    try:
        return codec.decode(KINDS[line["event"]], line)
    except (KeyError, ValueError) as error:
        raise _damaged(folder, number) from error


def resumed(folder: Path) -> str:
    """The id of the run that this one goes on from; empty where there is none. Raises as `replay`."""
    for _, line in _lines(folder):
        return str(line.get("resumes", ""))
    return ""


def _lines(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every whole line, parsed, with its number from 1; the first is a header of our version."""
    try:
        with (folder / NAME).open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.endswith(b"\n"):
                    return  # torn: the run was killed while it wrote
                line = _parsed(folder, number, raw)
                if number == 1 and line.get("journal") != SCHEMA:
                    raise StateError(
                        f"the journal of run {folder.name} is of another version (swarmcode {line.get('swarmcode')})",
                        "start a new run",
                    )
                yield number, line
    except OSError as error:
        raise StateError(f"{folder / NAME} cannot be read: {error.strerror}", "start a new run") from error


def _parsed(folder: Path, number: int, raw: bytes) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError as error:
        raise _damaged(folder, number) from error
    if not isinstance(line, dict):
        raise _damaged(folder, number)
    return line


def _damaged(folder: Path, number: int) -> StateError:
    return StateError(f"the journal of run {folder.name} is damaged at line {number}", "start a new run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What an earlier run knows that a later one need not find out again."""

    run: str
    """Id of the run."""
    issue: flow.Issue
    """What it was asked; `issue.base` is the tree that all the rest is about."""
    baseline: flow.Baseline | None = None
    """The first; None where it did not get so far."""
    reproduction: flow.Reproduction | None = None
    """The test that it had to write; None where it wrote none."""
    verdicts: Mapping[str, flow.Verdict] = field(default_factory=dict)
    """Candidate key -> verdict, for those that the tests decided. A timeout or a broken run decides nothing."""
    passed: Mapping[str, flow.Candidate] = field(default_factory=dict)
    """Candidate key -> candidate, whole files and all, for those that passed."""
    attempts: tuple[flow.Attempt, ...] = ()
    """Every attempt that ended."""

    def suits(self, issue: flow.Issue) -> bool:
        """Whether it is about the same tree, judged by the same tests."""
        return (self.issue.base, self.issue.test) == (issue.base, issue.test)

    def verdict(self, base: str, key: str) -> flow.Verdict | None:
        """What the tests said of this candidate on this tree, if they did."""
        return self.verdicts.get(key) if base == self.issue.base else None


def recall(folder: Path) -> Recall | None:
    """What the run in `folder`, and those that it went on from, can give to a new one; None where it was ended before
    its tree was known. Raises as `replay`."""
    own = _recalled(folder)
    earlier = resumed(folder)
    if own is None or not earlier < folder.name or not (folder.parent / earlier / NAME).is_file():
        return own
    older = recall(folder.parent / earlier)
    if older is None or not older.suits(own.issue):
        return own
    return replace(
        own,
        baseline=own.baseline or older.baseline,
        reproduction=own.reproduction or older.reproduction,
        verdicts={**older.verdicts, **own.verdicts},
        passed={**older.passed, **own.passed},
        attempts=older.attempts + own.attempts,
    )


def _recalled(folder: Path) -> Recall | None:
    issue: flow.Issue | None = None
    baseline: flow.Baseline | None = None
    reproduction: flow.Reproduction | None = None
    verdicts: dict[str, flow.Verdict] = {}
    passed: dict[str, flow.Candidate] = {}
    attempts: list[flow.Attempt] = []
    for event in replay(folder):
        match event:
            case events.RunStarted():
                issue = event.issue
            case events.BaselineMeasured() if baseline is None:  # later ones stand on what was merged
                baseline = event.baseline
            case events.Reproduced():
                reproduction = event.reproduction
            case events.AttemptEnded():
                attempts.append(event.attempt)
            case events.CandidateJudged(candidate=candidate, verdict=verdict):
                if verdict.outcome in ("passed", "failed"):
                    verdicts[candidate.key] = verdict
                if verdict.outcome == "passed":
                    passed[candidate.key] = candidate
    if issue is None:
        return None
    return Recall(
        run=folder.name,
        issue=issue,
        baseline=baseline,
        reproduction=reproduction,
        verdicts=verdicts,
        passed=passed,
        attempts=tuple(attempts),
    )
