"""A window shows the code around a line, and puts a new line back where the old one was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.agent.window import cut

SOURCE = '''\
import os


class Shop:
    """Sells."""

    def total(self, items, rate=0.1):
        """Sum.

        Of all.
        """
        # a comment
        s = 0
        for item in items:  # each

            if item.price > 0 and item.count >= 1:  # in stock
                s -= item.price
        return s


LIMIT = 3
'''


def test_only_code_of_the_function_is_shown() -> None:
    """Docstring, comments and blank lines are left out, and the method is dedented."""
    window = cut("shop.py", SOURCE, 16)
    assert window is not None
    assert window.above == ("def total(self, items, rate=0.1):", "    s = 0", "    for item in items:")
    assert not window.headed
    assert window.line == "        if item.price > 0 and item.count >= 1:"
    assert window.below == ("            s -= item.price", "    return s")


def test_a_replacement_keeps_indentation_and_comment() -> None:
    """Only the code of the line changes."""
    window = cut("shop.py", SOURCE, 16)
    assert window is not None
    assert window.replaced(SOURCE, window.line.replace(">=", ">")) == SOURCE.replace(
        "item.count >= 1", "item.count > 1"
    )


def test_an_empty_replacement_deletes_the_line_and_several_lines_insert() -> None:
    """Deletions and insertions are edits like any other."""
    window = cut("shop.py", SOURCE, 13)
    assert window is not None
    assert window.replaced(SOURCE, "") == SOURCE.replace("        s = 0\n", "")
    assert window.replaced(SOURCE, "    s = 0\n    n = 1") == SOURCE.replace(
        "        s = 0\n", "        s = 0\n        n = 1\n"
    )


def test_the_head_of_a_long_function_stays_in_sight() -> None:
    """The first line is shown even where it is further up than the lines before."""
    source = "def f(a):\n" + "".join(f"    x{number} = a\n" for number in range(20))
    window = cut("f.py", source, 16)
    assert window is not None
    assert window.headed
    assert (window.above[0], len(window.above), len(window.below)) == ("def f(a):", 8, 5)
    wide = cut("f.py", source, 16, before=16, after=8)
    assert wide is not None
    assert (wide.headed, len(wide.above), len(wide.below)) == (False, 15, 5)


@pytest.mark.parametrize("number", [0, 2, 8, 12, 15, 99])
def test_lines_without_code_have_no_window(number: int) -> None:
    """Blank lines, comments, docstrings and lines that are not there."""
    assert cut("shop.py", SOURCE, number) is None


def test_unknown_languages_have_no_window() -> None:
    """What cannot be parsed is not shown to a model that was trained on code."""
    assert cut("notes.txt", "a\nb\n", 1) is None


def test_other_languages_have_one() -> None:
    """Nothing here is for Python alone."""
    source = "// adds\nfunction add(a, b) {\n  // sum\n  return a - b; // here\n}\n"
    window = cut("add.js", source, 4)
    assert window is not None
    assert (*window.above, window.line, window.trailing) == ("function add(a, b) {", "  return a - b;", " // here")


def test_carriage_returns_and_form_feeds_survive() -> None:
    """Line ends are kept, and what only Python takes for a line end splits nothing."""
    source = "def f(a):\r\n    b = 'x\x0cy'\r\n    return a - b\r\n"
    window = cut("f.py", source, 3)
    assert window is not None
    assert window.replaced(source, window.line.replace("-", "+")) == source.replace("-", "+")


@given(st.text(alphabet="def f():\n\t\r\x0c\"'#\\ax=1é\ud7ff", max_size=200), st.integers(1, 30))
def test_putting_the_same_line_back_changes_nothing(source: str, number: int) -> None:
    """For any text, a window's own line is the identity (but for trailing space)."""
    window = cut("f.py", source, number)
    if window is not None:
        assert window.replaced(source, window.line) == source


def test_windows_of_neighbours_begin_alike() -> None:
    """So what they share is computed once; and every line sees at least half of what it may."""
    source = "def f(a):\n" + "".join(f"    x{number} = a\n" for number in range(60))
    windows = [cut("f.py", source, number, before=16, after=8) for number in range(20, 60)]
    seconds = [window.above[1] for window in windows if window]
    assert len(seconds) == 40
    assert len(set(seconds)) <= 6
    assert min(len(window.above) for window in windows if window) >= 9
