"""What an agent is shown is numbered as tracebacks are, bounded, and found in time linear in what is searched."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.agent import look

TEXT = "".join(f"line {number}\n" for number in range(1, 1001))


def test_a_file_is_shown_in_ranges() -> None:
    """With the numbers that a person would use; what is left out is said."""
    assert look.lines("a\n\nb") == "     1\ta\n     2\t\n     3\tb"
    assert look.lines("a\x0cb\r\nc\n") == "     1\ta\x0cb\n     2\tc"
    assert look.lines(TEXT, 998, 2000) == "   998\tline 998\n   999\tline 999\n  1000\tline 1000"
    shown = look.lines(TEXT).splitlines()
    assert len(shown) == look.MOST_LINES + 1
    assert shown[-1] == f"(lines {look.MOST_LINES + 1} to 1000 are left out; the file has 1000)"
    assert look.lines(TEXT, 5000) == "There are no such lines: the file has 1000."
    assert look.lines("") == "There are no such lines: the file has 0."
    assert look.lines("x" * 10_000).endswith(look.CUT)
    assert look.lines("a\nb", -3, -1) == look.lines("a\nb")


def test_a_folder_is_listed() -> None:
    """Folders first, bounded."""
    files = ["b.py", "a/c.py", "a/d/e.py", "z/f.py"]
    assert look.entries("", files) == "a/\nz/\nb.py"
    assert look.entries("a", files) == "d/\nc.py"
    assert look.entries("nothing", files) == "There is no folder 'nothing'."
    many = look.entries("", [f"{number}.py" for number in range(1000)])
    assert many.endswith("(800 more are left out)")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("def total", ["shop.py:1: def total(prices):"]),
        ("def .*prices", ["shop.py:1: def total(prices):"]),
        (r"def total\(", ["shop.py:1: def total(prices):"]),
        (r"\bRATE\b|total", ["shop.py:1: def total(prices):", "tax.py:1: RATE = 2"]),
        ("rate", ["Only without regard to case:", "tax.py:1: RATE = 2"]),
        (r"def\s+total", ["shop.py:1: def total(prices):"]),
        ("prices.*total", ["No line contains 'prices.*total'."]),
        ("", ["Say what to look for."]),
        (".*|", ["Say what to look for."]),
    ],
)
def test_lines_are_found(wanted: str, found: list[str]) -> None:
    """Plain text; of regular expressions only what models use most, taken as it is meant."""
    texts = [("shop.py", "def total(prices):\n    return 0\n"), ("tax.py", "RATE = 2\n")]
    assert look.search(wanted, texts).splitlines() == found


def test_a_search_ends_when_enough_is_found() -> None:
    """And reads no further."""
    read = []

    def texts() -> object:
        for number in range(100):
            read.append(number)
            yield f"{number}.py", "x\n" * 30

    found = look.search("x", texts()).splitlines()  # type: ignore[arg-type]
    assert len(found) == look.MOST_HITS + 1
    assert "there are more" in found[-1]
    assert len(read) == 3


def test_what_is_looked_for_is_bounded() -> None:
    """A hundred thousand alternatives are a few; nobody waits for the others."""
    many = "|".join(f"{number:06}" for number in range(100_000))
    assert look.search(many, [("a", "000016\n000015\n")]) == "a:2: 000015"
    assert look.search("x" * 501, [("a", "x" * 500)]).startswith("a:1: xxx")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.text(alphabet="ab.*|\\(+ \n", max_size=200))
def test_any_text_can_be_looked_for(wanted: str, text: str) -> None:
    """A pattern that would take a regular expression for ever is a text like any other."""
    assert look.search(wanted, [("a", text)])
    assert look.search("(a+)+$" + wanted, [("a", "a" * 5000)])
