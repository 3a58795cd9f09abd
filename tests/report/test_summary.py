"""The end of a run in words."""

from dataclasses import replace

import pytest

from swarmcode.flow import Merge, Report, Reproduction, Verdict
from swarmcode.report.markdown import markdown
from swarmcode.report.summary import changed, headline, summary


def fixed(report: Report) -> Report:
    return replace(report, solved=report.solved + report.unsolved, unsolved=())


def of_paths(report: Report, diff: str) -> Report:
    assert report.merge is not None
    return replace(report, merge=replace(report.merge, diff=diff))


def unfixed(report: Report) -> Report:
    return replace(report, solved=(), unsolved=report.solved + report.unsolved, merge=None)


def test_headlines_say_what_is_true(report: Report) -> None:
    """Fixed only with proof of everything; a part is called a part."""
    assert headline(fixed(report)) == "Fixed: 3 failing tests now pass."
    assert headline(report) == "Partly fixed: 1 of 3 failing tests now pass."
    assert headline(unfixed(report)) == "Not fixed: 3 failing tests still fail."
    assert headline(replace(unfixed(report), baseline=None)).startswith("Not fixed: the run ended before")


@pytest.mark.parametrize(
    ("passing", "flaky", "said"),
    [
        (62, 0, ["Nothing to fix: all 62 tests pass."]),
        (1, 0, ["Nothing to fix: the one test passes."]),
        (0, 0, ["Nothing to fix: no test fails, and none passes."]),
        (
            61,
            1,
            [
                "Nothing to fix: no test fails, 61 pass, 1 flaky.",
                "  flaky    f0: failed, then passed with nothing changed; not counted",
            ],
        ),
    ],
)
def test_nothing_to_fix_is_said_in_one_line(report: Report, passing: int, flaky: int, said: list[str]) -> None:
    """How many tests pass, and no advice; a flaky test is named."""
    assert report.baseline is not None
    names = {"passing": frozenset(f"t{n}" for n in range(passing)), "flaky": frozenset(f"f{n}" for n in range(flaky))}
    baseline = replace(report.baseline, failing=(), **names)
    green = replace(report, baseline=baseline, solved=(), unsolved=(), merge=None, why="all tests pass", green=True)
    assert summary(green) == said


def test_an_unproven_merge_is_no_fix(report: Report) -> None:
    """Patches that passed alone, without a passing verdict on the combined tree, are not called a fix."""
    assert report.merge is not None
    unproven = replace(fixed(report), merge=replace(report.merge, verdict=None))
    assert headline(unproven).startswith("Not fixed")
    assert not [line for line in summary(unproven) if "proof" in line]


def test_a_fix_comes_with_its_proof_and_its_cost(report: Report) -> None:
    """What was turned, what was changed, on what ground it is proven, and what was spent."""
    text = "\n".join(summary(fixed(report)))
    for words in (
        "tests/test_b.py::test_tax",
        "changed  shop/a.py (+1 -1)",
        "the whole suite, run on the combined tree: none of 210 passing tests is broken",
        "cost     16.2 s, 3 attempts, 2 candidates tried, 1 duplicate dropped",
        "tokens: 12,034 prefilled, 80,112 reused, 5,120 decoded",
        "2.5 s in the sandbox (bwrap), model repair",
        "flaky    tests/test_d.py::test_clock",
        "run      r1",
    ):
        assert words in text
    assert "next" not in text


def test_what_was_not_fixed_comes_with_the_reason_and_the_next_step(report: Report) -> None:
    """The tests that still fail are named, with why the run ended and what to try."""
    text = "\n".join(summary(report))
    assert "Still failing:\n  - tests/test_a.py::test_sum\n  - tests/test_c.py::test_name" in text
    assert "why      the time limit was reached" in text
    assert "--timeout" in text
    assert "--resume r1" in text
    assert "--model" in "\n".join(summary(replace(unfixed(report), verdicts={})))


def test_long_lists_are_cut(report: Report) -> None:
    """A hundred failing tests do not fill the screen."""
    many = replace(unfixed(report), unsolved=tuple(f"t{number}" for number in range(100)))
    assert "  - and 92 more" in summary(many)


def test_nothing_commands_the_terminal(report: Report) -> None:
    """Names and reasons come from the repository and the model; their escape sequences do not reach the terminal."""
    hostile = replace(
        report, why="\x1b]0;owned\x07over", unsolved=("t\x1b[2J",), model="m\x9b31m", solved=("s\r\nfake line",)
    )
    text = "\n".join(summary(hostile))
    assert not [letter for letter in text if ord(letter) < 32 and letter != "\n"]
    assert "owned" not in text
    assert "\nfake" not in text


@pytest.mark.parametrize("diff", ["", "no diff", "@@ -1 +1 @@\n-a\n", "--- a\n+++ b\n@@ -1,9 +1 @@\n-a\n"])
def test_a_diff_that_cannot_be_read_changes_nothing(diff: str) -> None:
    """The statistics are an extra, and never an error."""
    assert changed(diff) == []


def test_nothing_merged_is_no_error(report: Report) -> None:
    """A merge that accepted nothing is shown as what it is."""
    empty = Merge(accepted=(), rejected=(), diff="", verdict=None)
    assert summary(replace(unfixed(report), merge=empty))[0].startswith("Not fixed")


def test_a_test_that_was_written_is_told_of(report: Report, written: Reproduction) -> None:
    """It is the run's own, so a person has to read it: beside the proof, and where nothing was fixed."""
    for ended in (fixed(report), unfixed(report)):
        lines = summary(replace(ended, reproduction=written))
        (line,) = [number for number, line in enumerate(lines) if "was written in this run: read it first" in line]
        assert "tests/test_new.py" in lines[line]
        assert "as 2 of 3 do: KeyError in shop/a.py:total" in lines[line + 1]
    alone = summary(replace(fixed(report), reproduction=replace(written, written=1, agreeing=1)))
    assert "           before the fix it fails: KeyError in shop/a.py:total" in alone


def test_where_nothing_fails_there_is_no_fix_but_advice(report: Report) -> None:
    """All tests pass, and none was found that does not."""
    assert report.baseline is not None
    passing = replace(report, solved=(), unsolved=(), merge=None)
    assert headline(passing).startswith("Not fixed: no test shows the fault, none of ")
    text = "\n".join(summary(passing))
    assert "add a test that fails because of the fault" in text
    assert "--resume" not in text


def test_what_kept_the_tests_from_deciding_is_told(report: Report) -> None:
    """A right fix may be among candidates that could not be judged: the most frequent reasons come first."""
    said = ["`pytest && lint` ended with 1", "`pytest && lint` ended with 1", "out of memory", "rare"]
    verdicts = {str(n): Verdict(key=str(n), outcome="broken", complaint=each) for n, each in enumerate(said)}
    lines = [line for line in summary(replace(unfixed(report), verdicts=verdicts)) if "could not be judged" in line]
    assert lines == [
        "  next     2 candidates could not be judged: `pytest && lint` ended with 1",
        "  next     1 candidate could not be judged: out of memory",
    ]


def test_advice_fits_how_far_the_run_came(report: Report) -> None:
    """Before the tests had been run no model is at fault; where nothing was tried there is nothing to go on with."""
    early = "\n".join(summary(replace(unfixed(report), baseline=None, unsolved=(), attempts=(), verdicts={})))
    assert "the tests alone took that long" in early
    assert "--model" not in early
    assert "--resume" not in early
    untried = "\n".join(summary(replace(unfixed(report), attempts=(), verdicts={}, why="no code but their own")))
    assert "why      no code but their own" in untried
    assert "next" not in untried


QUOTED = """\
diff --git "a/gr\\303\\266\\303\\237e \\"1\\".py" "b/gr\\303\\266\\303\\237e \\"1\\".py"
--- "a/gr\\303\\266\\303\\237e \\"1\\".py"\t
+++ "b/gr\\303\\266\\303\\237e \\"1\\".py"\t
@@ -1 +1,2 @@
-x
+y
+z
diff --git "a/\\303\\244.py" "b/\\303\\244.py"
deleted file mode 100644
--- "a/\\303\\244.py"
+++ /dev/null
@@ -1 +0,0 @@
-x
"""


def test_files_have_the_names_that_people_gave_them(report: Report) -> None:
    """Git's quotes and octal digits are for git; a file that is deleted is named, too."""
    assert changed(QUOTED) == [('größe "1".py', 2, 1), ("ä.py", 0, 1)]
    lines = summary(of_paths(report, QUOTED))
    assert '  changed  größe "1".py (+2 -1)' in lines
    assert '- `größe "1".py` (+2 -1)' in markdown(of_paths(report, QUOTED))
