"""What a run says of a test that was just written."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from swarmcode.agent.witness import Unfit, witness
from swarmcode.flow import Frame, RunOutcome, SuiteRun, TestOutcome, TestResult
from swarmcode.suite.run import Traced
from swarmcode.tree import Tree

PATH = "tests/test_new.py"
TREE = Tree(root=Path("/nowhere"), files=frozenset({"shop/total.py", "tests/test_total.py"}))
RAN: Mapping[str, frozenset[int]] = {"shop/total.py": frozenset({1})}


def result(name: str, outcome: TestOutcome, message: str = "", *places: tuple[str, str]) -> TestResult:
    frames = tuple(Frame(path=path, line=1, function=function) for path, function in places)
    return TestResult(id=f"{PATH}::{name}", outcome=outcome, message=message, frames=frames)


def traced(
    *results: TestResult, covered: Mapping[str, frozenset[int]] = RAN, outcome: RunOutcome = "finished"
) -> Traced:
    run = SuiteRun(
        outcome=outcome,
        exit_code=1,
        tests={each.id: each for each in results},
        output="",
        seconds=0.1,
        complaint="" if outcome == "finished" else "out of memory",
    )
    return Traced(run=run, covered={each.id: covered for each in results})


ASSERTION = result("test_a", "failed", "AssertionError: assert 2 == 3", (PATH, "test_a"))


def test_a_failing_test_that_runs_the_code_shows_a_fault() -> None:
    """Those beside it that pass take nothing from it, and are not among the tests to be turned."""
    found = witness(traced(ASSERTION, result("test_b", "passed")), PATH, TREE)
    assert found.tests == (f"{PATH}::test_a",)
    assert found.manner == "AssertionError"


def test_the_manner_is_the_error_and_where_the_project_raises_it() -> None:
    """Whatever the test is called, and wherever in it the call stands."""
    one = result("test_a", "failed", "KeyError: 'x'", (PATH, "test_a"), ("shop/total.py", "total"))
    other = result("test_z", "failed", "KeyError: 'y'", (PATH, "helper"), ("shop/total.py", "total"))
    assert witness(traced(one), PATH, TREE).manner == "KeyError in shop/total.py:total"
    assert witness(traced(other), PATH, TREE).manner == witness(traced(one), PATH, TREE).manner
    assert witness(traced(ASSERTION), PATH, TREE).manner != witness(traced(one), PATH, TREE).manner


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ((result("test_a", "passed"),), "every test in it passes"),
        ((), "it holds no test"),
        ((result("test_a", "skipped"),), "every test in it passes"),
        ((result("test_a", "error", "fixture 'shop' not found"),), "fixture 'shop' not found"),
        ((ASSERTION, result("test_b", "error", "boom")), "boom"),
        ((result("test_a", "failed", "NameError: name 'total' is not defined", (PATH, "test_a")),), "is wrong itself"),
        ((result("test_a", "failed", "ModuleNotFoundError: No module named 'hypothesis'", (PATH, "test_a")),), "wrong"),
    ],
)
def test_what_shows_nothing_is_told_why(results: tuple[TestResult, ...], said: str) -> None:
    """In words that its author can act on."""
    with pytest.raises(Unfit, match=said):
        witness(traced(*results), PATH, TREE)


def test_a_run_that_does_not_end_shows_nothing() -> None:
    """It says how it ended."""
    with pytest.raises(Unfit, match="out of memory"):
        witness(traced(ASSERTION, outcome="broken"), PATH, TREE)


def test_a_test_that_runs_none_of_the_code_shows_nothing() -> None:
    """`assert False` fails, too; so does a test of the tests."""
    for covered in ({}, {PATH: frozenset({2})}, {"tests/test_total.py": frozenset({2})}):
        with pytest.raises(Unfit, match="without running any code of the repository"):
            witness(traced(ASSERTION, covered=covered), PATH, TREE)


@pytest.mark.parametrize(
    "message",
    [
        "ImportError: cannot import name 'tax' from 'shop.total'",
        "ModuleNotFoundError: No module named 'shop.tax'",
        "AttributeError: module 'shop.total' has no attribute 'tax'",
        "TypeError: total() got an unexpected keyword argument 'tax'",
    ],
)
def test_what_is_still_to_be_written_may_be_missed(message: str) -> None:
    """An issue may ask for something new: there is no code to run yet."""
    found = witness(traced(result("test_a", "failed", message, (PATH, "test_a")), covered={}), PATH, TREE)
    assert found.tests == (f"{PATH}::test_a",)


def test_an_error_of_names_inside_the_project_is_its_fault() -> None:
    """The test only came to it."""
    inside = result("test_a", "failed", "NameError: name 'rate'", (PATH, "test_a"), ("shop/total.py", "total"))
    assert witness(traced(inside), PATH, TREE).manner == "NameError in shop/total.py:total"
