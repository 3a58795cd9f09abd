"""What the probe says of each kind of test, from one real run of pytest."""

import pytest

from swarmcode.flow import Frame, SuiteRun

SOURCE = """
def share(total, parts):
    return total / parts


def load(text):
    try:
        return share(1, int(text))
    except ZeroDivisionError:
        raise ValueError(f"cannot load {text}")


def guarded():
    try:
        share(1, 0)
    except ZeroDivisionError:
        return share("a", 0)


def doubled(n):
    '''
    >>> doubled(2)
    5
    '''
    return n + n
"""

TESTS = """
import unittest

import pytest

import lib


@pytest.mark.parametrize("text", ["a b", "ä", "x::y", "[z]"])
def test_ids(text):
    assert text


def test_größe():
    assert False, "zu groß: ü"


class TestGroup:
    class TestInner:
        def test_deep(self):
            assert lib.doubled(2) == 5


def test_indirect():
    lib.load("0")


def test_in_handler():
    lib.guarded()


@pytest.mark.xfail
def test_expected():
    assert False


@pytest.mark.xfail
def test_unexpected():
    pass


@pytest.mark.xfail(strict=True)
def test_strict():
    pass


@pytest.fixture
def bad_start():
    raise RuntimeError("no start")


@pytest.fixture
def bad_end():
    yield
    raise RuntimeError("no end")


def test_bad_start(bad_start):
    pass


def test_bad_end(bad_end):
    pass


def test_bad_all(bad_end):
    assert False, "body"


def test_missing(no_such_fixture):
    pass


def test_skipped():
    pytest.skip("not now")


def test_long():
    raise ValueError("x" * 100_000)


class Unsayable(Exception):
    def __str__(self):
        raise RuntimeError("mute")


def test_unsayable():
    raise Unsayable


def test_deep_recursion():
    def down():
        down()

    down()


class TestUnit(unittest.TestCase):
    def test_equal(self):
        self.assertEqual(lib.doubled(1), 3)

    def test_parts(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)

    @unittest.expectedFailure
    def test_expected(self):
        self.fail("as ever")
"""


@pytest.fixture(scope="module")
def run(module_project) -> SuiteRun:
    module_project.put("pytest.ini", "[pytest]\npythonpath = .\naddopts = --doctest-modules -W error\n")
    module_project.put("lib.py", SOURCE).put("tests/test_kinds.py", TESTS)
    module_project.put("tests/test_gone.py", "import no_such_module\n")
    module_project.put("tests/test_odd.py", "def f(:\n")
    module_project.put("broken_lib.py", "value = 1 / 0\n")
    module_project.put("tests/test_import.py", "import broken_lib\n")
    module_project.put("tests/test_whole_file.py", "import pytest\npytest.skip('x', allow_module_level=True)\n")
    made: SuiteRun = module_project.run()
    return made


def test_the_run_is_finished_and_its_complaint_names_what_cannot_be_collected(run: SuiteRun) -> None:
    """Files that cannot be collected neither end the run nor go unnoticed."""
    assert (run.outcome, run.exit_code) == ("finished", 1)
    assert "could not be collected: " in run.complaint
    assert run.complaint.endswith("(and 3 more)")


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("test_ids[a b]", "passed"),
        ("test_ids[\\xe4]", "passed"),
        ("test_ids[x::y]", "passed"),
        ("test_ids[[z]]", "passed"),
        ("test_größe", "failed"),
        ("TestGroup::TestInner::test_deep", "failed"),
        ("test_expected", "skipped"),
        ("test_unexpected", "skipped"),
        ("test_strict", "failed"),
        ("test_bad_start", "error"),
        ("test_bad_end", "error"),
        ("test_bad_all", "failed"),
        ("test_missing", "error"),
        ("test_skipped", "skipped"),
        ("test_long", "failed"),
        ("test_unsayable", "failed"),
        ("test_deep_recursion", "failed"),
        ("TestUnit::test_equal", "failed"),
        ("TestUnit::test_parts", "failed"),
        ("TestUnit::test_expected", "skipped"),
    ],
)
def test_outcomes(run: SuiteRun, name: str, outcome: str) -> None:
    """Each test has pytest's own id, and the outcome of set-up, call and tear-down together; expected failures, met or
    not, are skips."""
    assert run.tests[f"tests/test_kinds.py::{name}"].outcome == outcome


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_größe", "AssertionError: zu groß: ü\nassert False"),
        ("test_strict", "[XPASS(strict)]"),
        ("test_bad_start", "RuntimeError: no start"),
        ("test_bad_end", "RuntimeError: no end"),
        ("test_bad_all", "AssertionError: body\nassert False"),
        ("test_missing", "fixture 'no_such_fixture' not found"),
        ("test_indirect", "ValueError: cannot load 0"),
        ("TestUnit::test_equal", "AssertionError: 2 != 3"),
        ("TestUnit::test_parts", "AssertionError: 1 == 1"),
    ],
)
def test_messages(run: SuiteRun, name: str, message: str) -> None:
    """A message is the exception's type and text, with pytest's explanation of an assertion."""
    assert run.tests[f"tests/test_kinds.py::{name}"].message == message


def test_messages_are_short_and_always_to_be_had(run: SuiteRun) -> None:
    """Neither a huge text nor one that cannot be made spoils a report."""
    assert len(run.tests["tests/test_kinds.py::test_long"].message) < 3000
    assert "Unsayable" in run.tests["tests/test_kinds.py::test_unsayable"].message


def test_frames_follow_the_explaining_exception(run: SuiteRun) -> None:
    """Where a handler turns one exception into another, the stack goes on into the first; outermost frame first."""
    assert run.tests["tests/test_kinds.py::test_indirect"].frames == (
        Frame(path="tests/test_kinds.py", line=24, function="test_indirect"),
        Frame(path="lib.py", line=9, function="load"),
        Frame(path="lib.py", line=7, function="load"),
        Frame(path="lib.py", line=2, function="share"),
    )


def test_frames_leave_out_what_was_being_handled(run: SuiteRun) -> None:
    """An exception from within a handler is not explained by what was being handled."""
    assert run.tests["tests/test_kinds.py::test_in_handler"].frames == (
        Frame(path="tests/test_kinds.py", line=28, function="test_in_handler"),
        Frame(path="lib.py", line=16, function="guarded"),
        Frame(path="lib.py", line=2, function="share"),
    )


def test_frames_are_bounded(run: SuiteRun) -> None:
    """An endless recursion gives both ends of its stack, not all of it."""
    frames = run.tests["tests/test_kinds.py::test_deep_recursion"].frames
    assert 10 < len(frames) <= 64
    assert frames[0].function == "test_deep_recursion"


def test_collection_errors(run: SuiteRun) -> None:
    """A file that cannot be collected is a test under its own path, with the exception that stopped it."""
    gone, odd, broken = (run.tests[f"tests/test_{name}.py"] for name in ("gone", "odd", "import"))
    assert {gone.outcome, odd.outcome, broken.outcome} == {"error"}
    assert gone.message == "ModuleNotFoundError: No module named 'no_such_module'"
    assert odd.message.endswith("SyntaxError: invalid syntax")
    assert odd.frames[-1] == Frame(path="tests/test_odd.py", line=1, function="<module>")
    assert broken.frames == (
        Frame(path="tests/test_import.py", line=1, function="<module>"),
        Frame(path="broken_lib.py", line=1, function="<module>"),
    )


def test_doctests(run: SuiteRun) -> None:
    """A doctest is a test as any other; its place is the example that failed."""
    doctest = run.tests["lib.py::lib.doubled"]
    assert doctest.outcome == "failed"
    assert "Expected:\n    5\nGot:\n    4" in doctest.message
    assert doctest.frames == (Frame(path="lib.py", line=21, function="lib.doubled"),)


def test_what_did_not_run_is_not_there(run: SuiteRun) -> None:
    """A file that skips itself is neither a failure nor a test."""
    assert not [name for name in run.tests if "whole_file" in name]
