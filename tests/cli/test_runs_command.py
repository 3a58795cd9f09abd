"""`swarmcode runs`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from swarmcode import events, flow, runs
from swarmcode.journal import Journal

if TYPE_CHECKING:
    from conftest import Shell

DIFF = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x = 1\n+x = \udce9\n"
ISSUE = flow.Issue(title="wrong \x1b[31mx", text="wrong x", repo=Path("/r"), base="t", test=("pytest",))


def report(run: str, diff: str) -> flow.Report:
    verdict = flow.Verdict(key="k", outcome="passed") if diff else None
    suite = flow.SuiteRun(outcome="finished", exit_code=1, tests={}, output="", seconds=0.0)
    return flow.Report(
        run=run,
        issue=ISSUE,
        model="repair",
        sandbox="bwrap",
        baseline=flow.Baseline(run=suite, failing=("t",), flaky=frozenset(), passing=frozenset(), covered={}),
        plans=(),
        attempts=(),
        verdicts={},
        merge=flow.Merge(accepted=(), rejected=(), diff=diff, verdict=verdict),
        solved=("t",) if diff else (),
        unsolved=() if diff else ("t",),
        duplicates=0,
        usage=flow.Usage(),
        sandbox_seconds=0.0,
        critical_steps=0,
    )


@pytest.fixture
def kept(shell: "Shell") -> dict[str, str]:
    """Four runs: one that fixed, one that did not, one that was killed, one that failed; what it was -> its id."""
    ids: dict[str, str] = {}
    for what, diff in (("fixed", DIFF), ("unfixed", ""), ("killed", None), ("failed", None)):
        with runs.opened(shell.home) as folder, Journal(folder, pytest.fail) as journal:
            ids[what] = folder.name
            journal(events.RunStarted(run=folder.name, issue=ISSUE, model="repair", sandbox="bwrap", agents=3))
            if diff is not None:
                journal(events.RunEnded(report=report(folder.name, diff)))
            if what == "failed":
                journal(events.RunFailed(message="all 3 tests pass"))
    return ids


def test_every_run_has_a_line(shell: "Shell", kept: dict[str, str]) -> None:
    """Id, how it stands, and what it was about, without the escape sequences of an issue."""
    with runs.opened(shell.home) as living, Journal(living, pytest.fail):
        lines = shell("runs").out.splitlines()
    told = dict(line.split("  ", 1) for line in lines)
    assert told[kept["fixed"]] == "Fixed: 1 failing test now passes.  wrong x"
    assert told[kept["unfixed"]] == "Not fixed: 1 failing test still fails.  wrong x"
    assert told[kept["killed"]] == "interrupted  wrong x"
    assert told[kept["failed"]] == "failed: all 3 tests pass  wrong x"
    assert told[living.name] == "running"


def test_no_runs_is_no_error(shell: "Shell") -> None:
    """An empty state directory is said, and nothing is listed."""
    done = shell("runs")
    assert (done.code, done.out) == (0, "")
    assert "there are no runs" in done.err


def test_a_damaged_run_does_not_hide_the_others(shell: "Shell", kept: dict[str, str]) -> None:
    """The one that cannot be read is named as such."""
    (shell.home / "runs" / kept["unfixed"] / "journal.jsonl").write_text("no journal\n")
    lines = shell("runs").out.splitlines()
    assert len(lines) == 4
    assert sum("damaged at line 1" in line for line in lines) == 1


def test_the_patch_comes_again(shell: "Shell", kept: dict[str, str]) -> None:
    """Byte for byte, as it was."""
    assert shell("runs", kept["fixed"], "--patch").out == DIFF


def test_the_patch_of_a_folder_comes_again_from_the_top(shell: "Shell") -> None:
    """A run in a subfolder is told as it was then, though its repository is long gone; on the page, too."""
    with runs.opened(shell.home) as folder, Journal(folder, pytest.fail) as journal:
        about = report(folder.name, DIFF)
        journal(events.RunEnded(report=replace(about, issue=replace(about.issue, inside="lib/core"))))
    moved = DIFF.replace("/a.py", "/lib/core/a.py")
    assert shell("runs", "last", "--patch").out == moved
    page = shell("runs", "last", "--markdown").out
    assert "\n```diff\ndiff --git a/lib/core/a.py b/lib/core/a.py\n" in page
    assert "- `lib/core/a.py` (+1 -1)" in page


def test_the_report_and_the_summary_come_again(shell: "Shell", kept: dict[str, str]) -> None:
    """The report of an earlier run is that which the run itself would have printed."""
    assert json.loads(shell("runs", kept["fixed"], "--json").out)["run"] == kept["fixed"]
    assert shell("runs", kept["unfixed"]).out.startswith("Not fixed: 1 failing test still fails.")


def test_a_run_as_markdown(shell: "Shell", kept: dict[str, str]) -> None:
    """A page for a job's summary, if the run came to a report; what is no UTF-8 in the patch is none there."""
    page = shell("runs", kept["fixed"], "--markdown").out
    assert page.startswith("### Fixed: 1 failing test now passes.\n\nIssue: `wrong x`\n\n")
    assert "\n```diff\ndiff --git a/a.py b/a.py\n" in page
    assert "+x = ?\n```\n" in page
    assert shell("runs", kept["unfixed"], "--markdown").out.startswith("### Not fixed: 1 failing test still fails.\n")
    ended = shell("runs", kept["killed"], "--markdown")
    assert (ended.code, ended.out) == (2, "")
    assert "came to no report" in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("last", "--patch", "--markdown"), "--patch and --markdown exclude each other"),
        (("last", "--patch", "--json", "--markdown"), "--patch and --json and --markdown exclude each other"),
        (("--markdown",), "name one: swarmcode runs last --markdown"),
    ],
)
def test_forms_that_cannot_be_are_refused(
    shell: "Shell", kept: dict[str, str], arguments: tuple[str, ...], words: str
) -> None:
    """Two at once, or one of no run: exit code 2, and nothing on standard output."""
    done = shell("runs", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


@pytest.mark.parametrize(
    ("which", "words"),
    [("unfixed", "proved no patch"), ("killed", "came to no report"), ("nonsense", "there is no run nonsense")],
)
def test_what_is_not_there_is_a_usage_error(shell: "Shell", kept: dict[str, str], which: str, words: str) -> None:
    """No patch, no end, no run: exit code 2, and nothing on standard output."""
    done = shell("runs", kept.get(which, which), "--patch")
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert shell("runs", "--patch").code == 2
