"""Which lines each test ran, checked by hand against the sources below (`sys.settrace` or `sys.monitoring`)."""

from collections.abc import Mapping

import pytest

from swarmcode.suite.ask import Ask

# Behind each line stand the tests that run it.
LIB = """
import threading


def classify(n):
    if n < 0:  # negative loop fixture failing
        return "negative"  # negative fixture
    for i in range(n):  # loop
        n += i  # loop
    return "other"  # loop


class Counter:
    total = 0

    def add(self, n):
        self.total += n  # fixture thread
        return self  # fixture thread

    def __eq__(self, other):
        return False  # asserting

    def __repr__(self):
        name = "Counter"
        return name


def numbers():
    yield 1  # generator
    yield 2


def in_thread():
    thread = threading.Thread(target=Counter().add, args=(1,))  # thread
    thread.start()  # thread
    thread.join()  # thread
"""

TESTS = """
import pytest
import lib


@pytest.fixture
def counter():
    yield lib.Counter()  # fixture
    lib.classify(-1)  # fixture


def test_negative():
    assert lib.classify(-1) == "negative"


def test_loop():
    assert lib.classify(3) == "other"


def test_fixture(counter):
    counter.add(1).add(2)  # fixture


def test_generator():
    first = next(lib.numbers())
    assert first == 1


def test_thread():
    lib.in_thread()


def test_failing():
    lib.classify("x")


def test_asserting():
    assert lib.Counter() == lib.Counter()


def test_lazy():
    import late
"""


@pytest.fixture(scope="module")
def covered(module_project) -> Mapping[str, Mapping[str, frozenset[int]]]:
    module_project.put("pytest.ini", "[pytest]\npythonpath = .\n")
    module_project.put("lib.py", LIB).put("late.py", "x = 1\n\ny = 2\n").put("tests/test_lib.py", TESTS)
    module_project.put("venv/lib/site-packages/dep.py", "z = 1\n")
    return module_project.trace().covered


def marked(source: str, name: str) -> set[int]:
    lines = source.lstrip("\n").splitlines()
    return {number for number, line in enumerate(lines, 1) if name in line.partition("  # ")[2].split()}


@pytest.mark.parametrize("name", ["negative", "loop", "fixture", "generator", "thread", "failing", "asserting"])
def test_lines_of_the_library(covered, name: str) -> None:
    """Exactly the lines that ran in set-up, call and tear-down, in any thread, up to where it failed.

    Neither the `def`, nor what pytest calls to word a failed assertion.
    """
    assert covered[f"tests/test_lib.py::test_{name}"]["lib.py"] == marked(LIB, name)


def test_lines_of_the_test_itself(covered) -> None:
    """Test files are traced as any other file of the project."""
    assert covered["tests/test_lib.py::test_fixture"]["tests/test_lib.py"] == marked(TESTS, "fixture")


def test_modules_imported_by_a_test(covered) -> None:
    """What a test imports first counts as run by it."""
    assert covered["tests/test_lib.py::test_lazy"]["late.py"] == {1, 3}


def test_nothing_from_outside(covered) -> None:
    """Neither pytest nor the standard library appear."""
    assert {path for lines in covered.values() for path in lines} == {"lib.py", "late.py", "tests/test_lib.py"}


def test_no_time_no_lines(project) -> None:
    """Once the time for tracing is spent, tests run untraced."""
    traced = project.put("tests/test_1.py", "def test_a(): pass").trace(seconds=0.0)
    assert traced.run.passing == {"tests/test_1.py::test_a"}
    assert traced.covered == {}


def test_the_time_is_spent_test_by_test(project) -> None:
    """The test that outlasts the time is still traced, the next one is not."""
    project.put("tests/test_1.py", "import time\ndef test_a(): time.sleep(0.05)\ndef test_b(): pass\n")
    traced = project.trace(seconds=0.04)
    assert set(traced.covered) == {"tests/test_1.py::test_a"}


def test_outcomes_are_the_same(project, outcomes) -> None:
    """Tracing changes no outcome, not even of a test that traces itself."""
    source = """
    import sys

    def test_own_tracer():
        seen = []
        def tracer(frame, event, arg):
            seen.append(event)
            return tracer
        before = sys.gettrace()
        sys.settrace(tracer)
        (lambda: None)()
        sys.settrace(before)
        assert seen.count("call") == 1

    def test_fails(): assert [] == [1]
    def test_passes(): pass
    """
    project.put("tests/test_1.py", source)
    assert outcomes(project.trace(Ask()).run) == outcomes(project.run())
