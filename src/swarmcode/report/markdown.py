"""The end of a run as Markdown, for a CI job's summary or a comment at a pull request.

What comes from outside (names of tests and files, the issue, the model, the patch) stands in code alone, between rows
of backticks that are longer than any of its own. There it is nothing but text: no markup, HTML, link, picture, emoji,
mention or reference. Escapes would not do: GitHub looks for mentions after they are gone. Not covered: words that lie.
"""

import re
from collections.abc import Iterable, Iterator

from swarmcode.flow import Report
from swarmcode.report.patch import patch
from swarmcode.report.summary import FLAKY, LISTED, changed, costs, fails, headline, proof
from swarmcode.report.terminal import clean, one_line

LONGEST_PATCH = 40_000
"""Characters that are shown: the whole page fits into a comment, which at GitHub has up to 65,536."""
LONGEST_LINE = 500
"""Characters of one line of it."""


def markdown(report: Report) -> str:
    """The page, with a final newline: the outcome, what proves it, the patch, and the cost."""
    parts = (f"### {headline(report)}", *_told(report), _run(report))
    # What was no UTF-8 on disk is none here either, and a page must be.
    return ("\n\n".join(parts) + "\n").encode("utf-8", "replace").decode()


def _told(report: Report) -> Iterator[str]:
    if not report.green:
        yield f"Issue: {code(report.issue.title)}"
        yield from _proven(report)
        yield from _missing(report)
        yield f"Cost: {'; '.join(costs(report))}."
    if report.baseline and report.baseline.flaky:
        yield _listed(f"Flaky ({FLAKY})", map(code, sorted(report.baseline.flaky)))


def _proven(report: Report) -> Iterator[str]:
    merge = report.merge
    if merge is None or not merge.proven:
        return
    yield _listed("Now passing", map(code, report.solved))
    files = [f"{code(path)} (+{added} -{removed})" for path, added, removed in changed(patch(report))]
    if files:
        yield _listed("Changed", files)
    yield f"Proof: {proof(report)}."
    yield from _written(report)
    if merge.rejected:
        reasons = (f"a patch of subtask {code(each.subtask)}: {code(each.reason)}" for each in merge.rejected)
        yield _listed("Left out", reasons)
    yield from _patch(report, patch(report))


def _written(report: Report) -> Iterator[str]:
    if (written := report.reproduction) is not None:
        yield (
            f"Test: {code(written.path)} was written in this run, so read it first; "
            f"before the fix it {fails(written)}: {code(written.manner)}"
        )


def _missing(report: Report) -> Iterator[str]:
    if report.fixed:
        return
    if not report.solved:
        yield from _written(report)
    if report.unsolved:
        yield _listed("Still failing", map(code, report.unsolved))
    if report.why:
        yield f"Why: {code(report.why)}"


def _patch(report: Report, diff: str) -> Iterator[str]:
    plain = clean(diff)
    lines = plain.removesuffix("\n").split("\n")
    kept = list(_fitting(lines))
    body = "\n".join(kept)
    fence = "`" * max(3, _longest_row(body) + 1)
    yield f"{fence}diff\n{body}\n{fence}"
    lost = []
    if len(kept) < len(lines):
        lost.append(f"{len(lines) - len(kept):,} of {len(lines):,} lines")
    if any(len(line) > LONGEST_LINE for line in lines):
        lost.append(f"the ends of lines of more than {LONGEST_LINE} characters")
    if plain != diff.replace("\r\n", "\n"):
        lost.append("control characters")
    if lost:
        yield f"Left out of what is shown: {', '.join(lost)}. The whole: {code(f'swarmcode runs {report.run} --patch')}"


def _fitting(lines: Iterable[str]) -> Iterator[str]:
    room = LONGEST_PATCH
    for line in lines:
        shown = line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"
        room -= len(shown) + 1
        if room < 0:
            return
        yield shown


def _run(report: Report) -> str:
    return f"swarmcode run {code(report.run)}, model {code(report.model)}, sandbox {code(report.sandbox)}"


def _listed(title: str, items: Iterable[str]) -> str:
    """A list under its title; of long ones the first."""
    names = list(items)
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return "\n".join([f"{title}:", "", *(f"- {item}" for item in (*names[:LISTED], *more))])


def code(text: str) -> str:
    """A text from outside on one line, as a code span."""
    line = one_line(text) or "?"
    row = "`" * (_longest_row(line) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{row}{space}{line}{space}{row}"


def _longest_row(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
