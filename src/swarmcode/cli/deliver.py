"""Where the result goes: standard output or a file, and, only where it was asked for, the repository."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from swarmcode.branch import make_branch
from swarmcode.cli.boundary import say
from swarmcode.errors import StateError, UsageError
from swarmcode.flow import Report
from swarmcode.repo import Snapshot, write
from swarmcode.report.jsonreport import render
from swarmcode.report.patch import patch
from swarmcode.report.summary import summary
from swarmcode.report.terminal import clean, one_line


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


def write_result(text: str, output: Path | None, run: str) -> None:
    """Writes a patch or a report to its place; a file is replaced whole or not at all. Raises `StateError`."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        if output is None:
            _to_stdout(data)
        elif output.exists() and not output.is_file():
            output.write_bytes(data)  # a pipe or a device cannot be replaced
        else:
            _replace(output.resolve(), data)
    except OSError as error:
        place = output or "standard output"
        raise StateError(
            f"the result could not be written to {place}: {error.strerror}", f"it is kept: swarmcode runs {run} --patch"
        ) from error


def _to_stdout(data: bytes) -> None:
    if sys.stdout is None:
        raise BrokenPipeError(0, "it is closed")
    if sys.stdout.isatty():
        shown = clean(data.decode("utf-8", "replace")).encode()
        if shown != data:
            say("swarmcode: the patch holds characters that a terminal must not see; --output has them all")
        data = shown
    with _last_words():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@contextmanager
def _last_words() -> Iterator[None]:
    """Whatever is left in the buffer of a broken pipe must not break the interpreter's end."""
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise


def _replace(file: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(name, file.stat().st_mode & 0o777 if file.exists() else 0o666 & ~_umask())
        os.replace(name, file)
    except OSError:
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
