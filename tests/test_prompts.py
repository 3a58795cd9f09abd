"""Each prompt says what it is meant to say, and an unknown name is an error and not an empty string."""

from pathlib import Path

import jinja2
import pytest

from swarmcode.flow import Frame, Suspect, TestResult
from swarmcode.prompts import render

SNAPSHOTS = Path(__file__).parent / "prompts"
FAILURE = TestResult(
    id="tests/test_shop.py::test_total",
    outcome="failed",
    message="AssertionError: assert 3 == 4",
    frames=(Frame(path="shop.py", line=12, function="total"),),
)
SUSPECT = Suspect(
    path="shop.py", symbol="total", start=12, end=12, score=0.9, evidence=("spectrum 0.71", "in the trace")
)

PROMPTS = {
    "edit-system": {},
    "edit-task": {
        "issue": "Totals are wrong.\n\nThey are one too low.",
        "goal": "tests/test_shop.py::test_total passes",
        "failures": [FAILURE],
        "files": [("shop.py", "def total(a):\n    return a - 1\n"), ("tax.py", "RATE = 2\n")],
        "writes": ["shop.py"],
    },
    "reproduce-system": {},
    "reproduce-task": {
        "issue": "Totals are wrong.\n\nThey are one too low.",
        "path": "tests/test_totals_are_wrong.py",
        "example": ("tests/test_shop.py", "from shop import total\n"),
        "files": [("shop.py", "def total(a):\n    return a - 1\n")],
    },
    "reproduce-again": {"complaint": "there is no ```python block with a test in the answer."},
    "edit-pointer": {"path": "shop.py", "line": 12, "symbol": "total"},
    "edit-malformed": {"complaint": "block 1 names no file"},
    "tools-system": {},
    "tools-task": {
        "issue": "Totals are wrong.\n\nThey are one too low.",
        "goal": "tests/test_shop.py::test_total passes",
        "failures": [FAILURE],
        "suspects": [SUSPECT],
        "writes": ["shop.py", "tax.py"],
        "count": 2,
    },
    "tools-malformed": {"complaint": "A tool call has no name; its form is functions.NAME:IDX."},
    "tools-cut": {},
    "tools-idle": {},
    "plan-system": {},
    "plan-task": {
        "issue": "Totals are wrong.",
        "failures": [FAILURE],
        "suspects": [SUSPECT],
        "files": ["shop.py", "tax.py"],
    },
}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_reads_as_recorded(name: str) -> None:
    """A change of a prompt is seen in review, as a change of its snapshot."""
    assert render(name, **PROMPTS[name]) == (SNAPSHOTS / f"{name}.txt").read_text().removesuffix("\n")


def test_every_prompt_has_a_snapshot() -> None:
    """No prompt ships unread."""
    folder = Path(__file__).parent.parent / "prompts"
    assert {path.name.removesuffix(".md.j2") for path in folder.iterdir()} == set(PROMPTS)


def test_a_missing_value_is_an_error() -> None:
    """A typo in a prompt never becomes an empty place in it."""
    with pytest.raises(jinja2.UndefinedError):
        render("edit-pointer", path="shop.py", line=1)
