"""What a terminal must not see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.report.terminal import clean, one_line


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;cm0gLXJm\x07", ""),
        ("a\x1bPqdata\x1b\\b", "ab"),
        ("\x9b2J\x9d0;t\x9cx", "x"),
        ("\x1bc\x1b(B\x1b=x", "x"),
        ("done\rFAIL", "done\nFAIL"),
        ("one\r\ntwo\x0b\u2028three", "one\ntwo\n\nthree"),
        ("a\x08\x00\x7fb\tc", "ab\tc"),
        ("if admin\u202e \u2066# no", "if admin # no"),
        ("\x1b]0;never ends", "]0;never ends"),
        ("plain – ünïcode 漢字", "plain – ünïcode 漢字"),
    ],
)
def test_sequences_go_and_the_text_stays(hostile: str, harmless: str) -> None:
    """Colours, titles, links, the clipboard, resets, overprinting and reordering are gone; what is said remains."""
    assert clean(hostile) == harmless


@given(st.text(st.characters(categories=["Cc", "Cf", "Lu", "Po", "Zl"]) | st.sampled_from("\x1b[]\\;mJ\x07\x9c\x9d")))
def test_nothing_that_is_obeyed_remains(text: str) -> None:
    """Whatever comes, no control character is left save line breaks and tabs, and cleaning again changes nothing."""
    cleaned = clean(text)
    assert not [letter for letter in cleaned if (ord(letter) < 32 or 127 <= ord(letter) < 160) and letter not in "\n\t"]
    assert clean(cleaned) == cleaned


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_one_line_is_one_line(text: str, longest: int) -> None:
    """It has no line break, and no more characters than were asked for."""
    line = one_line(text, longest)
    assert len(line.splitlines()) <= 1
    assert len(line) <= longest
