"""The end of a run as Markdown: what is said, and that nothing from outside is more than text in it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from swarmcode.flow import Rejection, Report, Reproduction
from swarmcode.report.markdown import LONGEST_LINE, LONGEST_PATCH, code, markdown

HOSTILE = (
    "@someone and #1",
    "[here](https://example.org) ![](https://example.org/x.png) https://example.org www.example.org",
    "<img src=x onerror=y> <!-- </details> &lt; :tada: ~~a~~ **b** _c_ $x$ | a | \\`",
    "a\n\n# heading\n\n- item\r```\n\u2028/close\n",
    "`",
    "``` `` `",
    "` [x](y) `` @someone",
    " leading and trailing ",
    "\\",
    "",
    "\x1b]0;owned\x07\x1b[31m\u202e",
    "\udce9",
)
GITHUB_COMMENT = 65_536
"""Characters."""


def tokens(page: str) -> Iterator[Token]:
    """All of a page, blocks and what is in them, tables and strikethrough included."""
    for block in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page):
        yield block
        yield from block.children or ()


def shape(page: str) -> list[str]:
    return [token.type for token in tokens(page)]


def plain(page: str) -> str:
    """What stands in the page outside of code."""
    return "\n".join(token.content for token in tokens(page) if token.type == "text")


def everywhere(report: Report, text: str) -> Report:
    """The report with the same text wherever it holds one from outside, but for the patch."""
    assert report.merge is not None
    assert report.baseline is not None
    return replace(
        report,
        run=text,
        issue=replace(report.issue, title=text),
        model=text,
        sandbox=text,
        why=text or "x",
        solved=(text,),
        unsolved=(text, text),
        baseline=replace(report.baseline, flaky=frozenset({text})),
        merge=replace(report.merge, rejected=(Rejection(key=text, subtask=text, reason=text),)),
    )


def patched(report: Report, diff: str) -> Report:
    assert report.merge is not None
    return replace(report, merge=replace(report.merge, diff=diff))


def test_a_page_says_what_a_summary_says(report: Report) -> None:
    """Outcome, tests, files, proof, patch, why, and cost."""
    page = markdown(report)
    for words in (
        "### Partly fixed: 1 of 3 failing tests now pass.\n\nIssue: `wrong sums`\n",
        "Now passing:\n\n- `tests/test_b.py::test_tax`\n",
        "Changed:\n\n- `shop/a.py` (+1 -1)\n",
        "Proof: the whole suite, run on the combined tree: none of 210 passing tests is broken.\n",
        "Left out:\n\n- a patch of subtask `1`: `it breaks a test together with 2`\n",
        "```diff\ndiff --git a/shop/a.py b/shop/a.py\n",
        "+    return a + b\n```\n",
        "Still failing:\n\n- `tests/test_a.py::test_sum`\n- `tests/test_c.py::test_name`\n",
        "Why: `the time limit was reached`\n",
        "Cost: 16.2 s, 3 attempts, 2 candidates tried, 1 duplicate dropped; tokens: 12,034 prefilled, 80,112 reused, ",
        "Flaky (failed, then passed with nothing changed; not counted):\n\n- `tests/test_d.py::test_clock`\n",
        "swarmcode run `r1`, model `repair`, sandbox `bwrap`\n",
    ):
        assert words in page
    assert "Left out of what is shown" not in page


def test_what_is_not_proven_is_not_shown(report: Report) -> None:
    """No patch, no file, no test that is said to pass."""
    page = markdown(replace(report, merge=None, solved=(), unsolved=report.solved + report.unsolved))
    assert page.startswith("### Not fixed: 3 failing tests still fail.\n")
    assert not [words for words in ("Now passing", "Changed", "Proof", "diff") if words in page]


def test_nothing_to_fix_is_one_line_and_the_run(report: Report) -> None:
    """Where all tests pass there is no issue, no cost, and no advice."""
    assert report.baseline is not None
    baseline = replace(report.baseline, failing=(), flaky=frozenset())
    green = replace(report, baseline=baseline, solved=(), unsolved=(), merge=None, green=True)
    assert markdown(green) == (
        "### Nothing to fix: all 210 tests pass.\n\nswarmcode run `r1`, model `repair`, sandbox `bwrap`\n"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_from_outside_is_markup(report: Report, text: str) -> None:
    """Names, reasons and titles change neither the build of the page nor its words outside of code."""
    page, harmless = markdown(everywhere(report, text)), markdown(everywhere(report, "x"))
    assert shape(page) == shape(harmless)
    assert plain(page) == plain(harmless)
    page.encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text("`~ \n\r\t\\<>[]()!@#*_|&$:-=+.ax\x1b\u2028", max_size=30))
def test_nothing_from_outside_is_markup_whatever_it_is(report: Report, text: str) -> None:
    """The same for any text of telling characters, and of a patch of them: it stays between its fences."""
    page, harmless = markdown(everywhere(report, text)), markdown(everywhere(report, "x"))
    assert shape(page) == shape(harmless)
    assert plain(page) == plain(harmless)
    page = markdown(patched(report, f"+{text}"))
    assert [token.info for token in tokens(page) if token.type == "fence"] == ["diff"]
    assert "<" not in plain(page)
    assert "@" not in plain(page)


@pytest.mark.parametrize("text", ["a", "a`b", "``", "` a", "a `", "\\", "@a"])
def test_a_code_span_holds_its_text(text: str) -> None:
    """Whatever backticks it has itself."""
    (span,) = (token for token in tokens(f"- {code(text)} (+1 -1)") if token.type == "code_inline")
    assert span.content == text


def test_a_patch_with_fences_stays_in_its_own(report: Report) -> None:
    """A patch of a Markdown file, say: the fence around it is longer than any of its own."""
    diff = "--- a/README.md\n+++ b/README.md\n@@ -1 +1,3 @@\n ```\n+`````\r````` @someone\n+~~~~\n"
    (fence,) = (token for token in tokens(markdown(patched(report, diff))) if token.type == "fence")
    assert fence.markup == "``````"
    assert fence.content == diff.replace("\r", "\n")


def test_a_long_patch_is_cut_and_that_is_said(report: Report) -> None:
    """Lines, and the ends of long ones, are left out; the page fits into a comment; the whole can be had."""
    lines = "".join(f"+{number} {'`' * 2 * LONGEST_LINE}\n" for number in range(1_000))
    page = markdown(everywhere(patched(report, lines), "`" * 500))
    assert LONGEST_PATCH < len(page) < GITHUB_COMMENT
    assert "Left out of what is shown: 921 of 1,000 lines, the ends of lines of more than 500 characters." in page
    assert "The whole: `swarmcode runs r1 --patch`\n" in markdown(patched(report, lines))


def test_what_hides_in_a_patch_is_left_out_and_that_is_said(report: Report) -> None:
    """Escape sequences, and what reorders letters; line ends of Windows are no such thing."""
    page = markdown(patched(report, "+a\u202e\x1b[2Jb\n"))
    assert "\n+ab\n" in page
    assert "Left out of what is shown: control characters." in page
    assert "control characters" not in markdown(patched(report, "+a\r\n"))


def test_long_lists_are_cut(report: Report) -> None:
    """A hundred tests do not fill the page."""
    assert "\n- `t7`\n- and 92 more\n" in markdown(replace(report, unsolved=tuple(f"t{n}" for n in range(100))))


def test_a_test_that_was_written_is_told_of(report: Report, written: Reproduction) -> None:
    """The proof hangs on it, so a person has to read it; where nothing was fixed it is all that there is."""
    said = (
        "Test: `tests/test_new.py` was written in this run, so read it first; "
        "before the fix it fails, as 2 of 3 do: `KeyError in shop/a.py:total`"
    )
    for solved, unsolved in ((report.solved, ()), ((), report.unsolved)):
        ended = replace(report, solved=solved, unsolved=unsolved, reproduction=written)
        assert markdown(replace(ended, merge=report.merge if solved else None)).count(said) == 1
