"""Where the result goes: standard output or a file, and, only where it was asked for, the repository."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from swarmcode.branch import make_branch
from swarmcode.cli.boundary import say
from swarmcode.cli.output import write_result
from swarmcode.errors import StateError, UsageError
from swarmcode.flow import Report
from swarmcode.repo import Snapshot, write
from swarmcode.report.jsonreport import render
from swarmcode.report.patch import patch
from swarmcode.report.summary import summary
from swarmcode.report.terminal import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is to be done with a result."""

    apply: bool = False
    """Write the patch into the work tree."""
    branch: str = ""
    """Commit the patch to a new branch of this name; empty: no."""
    output: Path | None = None
    """File in place of standard output."""
    json: bool = False
    """The whole report instead of the patch."""

    def check(self) -> None:
        """Raises `UsageError` or `StateError` for what cannot go well, before anything is spent on a run."""
        if self.apply and self.branch:
            raise UsageError("--apply and --branch exclude each other", "give one of them")
        if self.output is None:
            return
        folder = self.output.parent
        if self.output.is_dir() or not folder.is_dir():
            raise UsageError(f"--output {self.output}: no file can be there", "name a file in a folder that exists")
        if not os.access(self.output if self.output.exists() else folder, os.W_OK):
            raise StateError(f"--output {self.output} cannot be written", "choose a place that can be written")

    @property
    def may_ask(self) -> bool:
        """Whether a person sits there, and has not said yet what is to become of the patch."""
        decided = self.apply or self.branch or self.output or self.json
        return not decided and all(
            stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run gave."""

    report: Report
    snapshot: Snapshot
    """The tree that the patch is against."""


def deliver(outcome: Outcome, repo: Path, delivery: Delivery) -> int:
    """Prints the result and the summary, and changes the repository where that was asked for; the exit code."""
    report = outcome.report
    result = render(report) if delivery.json else patch(report)
    try:
        if result:
            write_result(result, delivery.output, report.run)
    finally:
        for line in summary(report):
            say(line)
    if patch(report):
        _into_repository(outcome, repo, delivery)
    return 0 if report.fixed or report.green else 1


def _into_repository(outcome: Outcome, repo: Path, delivery: Delivery) -> None:
    """A part of a fix is only written where a person, asked, says so."""
    report = outcome.report
    assert report.merge is not None
    if (delivery.apply or delivery.branch) and not report.fixed:
        say(f"  nothing was written, because only a part is fixed; the patch: swarmcode runs {report.run} --patch")
    elif delivery.branch:
        commit = make_branch(repo, outcome.snapshot, delivery.branch, patch(report), _message(report))
        say(f"  branch   {delivery.branch}, commit {commit[:12]}")
    elif delivery.apply or (delivery.may_ask and _agreed(report, repo)):
        write(repo, outcome.snapshot, report.merge.changes)
        say(f"  written  into {repo}")


def _agreed(report: Report, repo: Path) -> bool:
    what = "the patch" if report.fixed else "this part of a fix"
    try:
        return typer.confirm(f"Write {what} into {repo}?", default=False, err=True)
    except typer.Abort:  # Ctrl-C or Ctrl-D: a no, and the fix that was printed is one all the same
        say("")
        return False


def _message(report: Report) -> str:
    """Of the commit: the issue's title, and what is proven."""
    tests = "\n".join(f"- {one_line(test)}" for test in report.solved)
    return (
        f"Fix: {one_line(report.issue.title, 66)}\n\nThese tests failed and now pass; none other is broken:\n{tests}\n"
    )
