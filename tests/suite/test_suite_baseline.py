"""How the suite stands before anything is changed, measured with real runs."""

import asyncio
import sys

import pytest

from swarmcode.errors import SuiteError
from swarmcode.flow import Baseline
from swarmcode.sandbox.protocol import Limits
from swarmcode.suite.baseline import measure

LIB = "def half(n):\n    return n // 3\n\n\ndef double(n):\n    return n * 2\n"
T = "tests/test_lib.py::"


@pytest.fixture
def baseline(project, suite_command):
    """Measures the project."""

    def measured(command: tuple[str, ...] = suite_command, seconds: float = 30, trace_seconds: float = 10) -> Baseline:
        return asyncio.run(measure(project.boxes, command, Limits(seconds=seconds), trace_seconds))

    project.put("pytest.ini", "[pytest]\npythonpath = .\n").put("lib.py", LIB)
    return measured


def test_failing_passing_and_spectrum(project, baseline) -> None:
    """Failing tests fail twice; both kinds come with the lines they ran; skipped tests are neither."""
    project.put(
        "tests/test_lib.py",
        "import lib, pytest\ndef test_half(): assert lib.half(4) == 2\ndef test_double(): assert lib.double(2) == 4\n"
        "def test_skip(): pytest.skip('x')\n",
    )
    made = baseline()
    assert made.failing == (f"{T}test_half",)
    assert (made.passing, made.flaky) == ({f"{T}test_double"}, frozenset())
    assert made.covered[f"{T}test_half"]["lib.py"] == {2}
    assert made.covered[f"{T}test_double"]["lib.py"] == {6}
    assert made.run.tests[f"{T}test_half"].message.startswith("AssertionError: assert 1 == 2")


def test_flaky_tests_are_neither_bug_nor_guard(project, baseline) -> None:
    """A test that fails and then passes is flaky, and so is one that passes and then fails for good."""
    source = """
    import pathlib
    import lib

    def times(name):
        place = pathlib.Path(__file__).with_name(name)
        count = int(place.read_text()) + 1 if place.exists() else 1
        place.write_text(str(count))
        return count

    def test_half(): assert lib.half(4) == 2
    def test_up(): assert times("up") > 1
    def test_down(): assert times("down") == 1
    """
    project.put("tests/test_lib.py", source)
    made = baseline()
    assert made.failing == (f"{T}test_half",)
    assert made.flaky == {f"{T}test_up", f"{T}test_down"}
    assert made.passing == frozenset()
    assert set(made.covered) == {f"{T}test_half"}


def test_what_only_the_tracer_changes_is_not_flaky(project, baseline) -> None:
    """A test that passes because it is traced, and fails whenever it is not, is a failing test."""
    project.put("tests/test_lib.py", "import sys, lib\ndef test_odd(): assert sys.gettrace() or lib.half(4) == 2\n")
    made = baseline()
    if made.covered:  # with sys.monitoring, the tracer cannot be seen
        pytest.skip("this Python's tracer changes nothing")
    assert (made.failing, made.flaky) == ((f"{T}test_odd",), frozenset())


def test_nothing_fails(project, baseline) -> None:
    """Without failing tests there is one run and no spectrum."""
    project.put("tests/test_lib.py", "import lib\ndef test_double(): assert lib.double(2) == 4\n")
    made = baseline()
    assert (made.failing, made.passing, made.covered) == ((), {f"{T}test_double"}, {})
    assert project.boxes.opened == 1


def test_the_time_for_tracing_goes_to_neighbours(project, baseline) -> None:
    """Passing tests in the file of a failing one are traced before others, as far as the time is estimated to go."""
    project.put("tests/test_far.py", "".join(f"def test_{n}(): pass\n" for n in range(5)))
    project.put("tests/test_lib.py", "import lib\ndef test_half(): assert lib.half(4) == 2\ndef test_near(): pass\n")
    made = baseline(trace_seconds=0.03)
    assert {f"{T}test_half", f"{T}test_near"} <= set(made.covered)
    assert len(made.covered) < 7
    assert len(made.passing) == 6


def test_one_file_that_cannot_be_collected(project, baseline) -> None:
    """A file that cannot be imported is a failing test under its own path, beside the others."""
    project.put("tests/test_lib.py", "import lib\ndef test_double(): assert lib.double(2) == 4\n")
    project.put("tests/test_gone.py", "from lib import treble\ndef test_treble(): assert treble(1) == 3\n")
    made = baseline()
    assert made.failing == ("tests/test_gone.py",)
    assert made.passing == {f"{T}test_double"}


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        (
            "tests/test_lib.py",
            "import no_such_module\n",
            "no test can be collected: tests/test_lib.py could not be collected: "
            "ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("tests/data.txt", "nothing", "-m pytest` finds no tests"),
        (
            "tests/test_lib.py",
            "import os\ndef test_a(): os._exit(3)\n",
            "the test process ended in tests/test_lib.py::",
        ),
    ],
    ids=["import", "none", "death"],
)
def test_suites_that_cannot_be_used(project, baseline, path: str, text: str, message: str) -> None:
    """Each is one line of what is wrong, in pytest's own words, and one of what to do."""
    project.put(path, text)
    with pytest.raises(SuiteError) as caught:
        baseline()
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_suite_that_does_not_end(baseline) -> None:
    """A suite that outlasts its limit is an error of its own."""
    with pytest.raises(SuiteError, match=r"the tests did not end: no end after 0\.3 s") as caught:
        baseline(("sleep", "60"), seconds=0.3)
    assert "SWARMCODE_LIMITS_SECONDS" in caught.value.hint
    assert "--timeout" in caught.value.hint


def test_a_command_that_hides_its_tests(project, baseline) -> None:
    """Its Python ignores the path by which the report is had: that is said, and not that the tests are broken."""
    project.put("tests/test_1.py", "def test_a(): pass\n")
    with pytest.raises(SuiteError, match="does not see what is to report its tests") as caught:
        baseline((sys.executable, "-I", "-m", "pytest"))
    assert "PYTHONPATH=src:$PYTHONPATH" in caught.value.hint


def test_a_command_that_is_not_pytest(project, baseline) -> None:
    """A command with an exit code alone runs twice where it fails: it is one failing test, or a flaky one."""
    made = baseline(("sh", "-c", "exit 1"))
    assert (made.failing, made.flaky, made.covered) == (("exit 1",), frozenset(), {})
    assert project.boxes.opened == 2
    made = baseline(("mkdir", "made"))
    assert (made.failing, made.passing) == ((), {"mkdir made"})
    made = baseline(("rmdir", "made/../other"))
    assert made.failing == ("rmdir made/../other",)
    project.put("x", "")
    made = baseline(("sh", "-c", "test -e seen || { touch seen; false; }"))
    assert (made.failing, made.flaky) == ((), {"test -e seen || { touch seen; false; }"})
