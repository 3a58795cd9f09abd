"""A line of Python is told from one that no parser takes, without the file around it."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.agent.statement import can_follow


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    return a - b", "    return a + b"),
        ("if a:", "if not a:"),
        ("else:", "elif x:"),
        ("except ValueError:", "except KeyError as e:"),
        ("    case 1:", "    case 2:"),
        ("@cache", "@lru_cache"),
        ("async with a as b:", "async with b as a:"),
        ("def f(a, b=1):", "def f(a, b=2):"),
        ("break", "continue"),
        ("x = [", "x = ("),
        ("    a, b)", "    b, a)"),
        ("x = 1", ""),
        ("x = 1", "y = 2\nx = 1"),
    ],
)
def test_what_can_stand_there_passes(old: str, new: str) -> None:
    """Statements, heads of blocks, branches; and what one line alone does not tell."""
    assert can_follow(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    return a - b", "    return a - - b)"),
        ("if a:", "if a"),
        ("if a:", "a"),
        ("else:", "return"),
        ("x = 1", "if x:"),
        ("x = f(a, b)", "x = f(a, b"),
        ("def f(a, b=1):", "def f(a=1, b):"),
        ("return x", "return x :"),
    ],
)
def test_what_breaks_the_file_is_seen(old: str, new: str) -> None:
    """Brackets, colons, and a statement where a block begins."""
    assert not can_follow(old, new)


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_a_model_says_is_answered(old: str, new: str) -> None:
    """No text raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        assert can_follow(old, new) in (True, False)
