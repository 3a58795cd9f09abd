"""Runs in which the code under test tries to look better than it is: none may end as a pass."""

import asyncio
import sys

import pytest

from swarmcode.flow import SuiteRun
from swarmcode.suite.ask import Ask

FIND_REPORT = """
import json, os, pathlib

def report():
    found = dict(part.split("=", 1) for part in open("/proc/self/environ").read().split("\\0") if "=" in part)
    return pathlib.Path(found["SWARMCODE_PROBE"]).with_name("report.jsonl")
"""

ATTACKS = {
    "ends the process with 0": "import os\ndef test_a(): os._exit(0)",
    "ends the process at import": "import os\nos._exit(0)",
    "leaves at import": "import sys\nsys.exit(0)",
    "kills itself": "import os, signal\ndef test_a(): os.kill(os.getpid(), signal.SIGKILL)",
    "asks pytest to end with 0": "import pytest\ndef test_a(): pytest.exit('done', returncode=0)",
    "interrupts": "def test_a(): raise KeyboardInterrupt",
    "deletes the report": FIND_REPORT + "def test_a(): report().unlink()",
    "empties the report and leaves": FIND_REPORT + "def test_a():\n report().write_text('')\n os._exit(0)",
    "puts a folder in its place": FIND_REPORT + "def test_a():\n report().unlink()\n report().mkdir()",
    "drops what is written": "import os\ndef test_a(): os.write = lambda fd, data: len(data)",
    "counts for another test": FIND_REPORT
    + """
def test_a():
    line = json.loads(report().read_text().splitlines()[0])
    forged = {"kind": "test", "session": line["session"], "id": "tests/test_z.py::test_z", "outcome": "passed",
              "seconds": 0.0, "message": "", "frames": [], "lines": None}
    with report().open("a") as file:
        file.write(json.dumps(forged) + "\\n")
""",
    "writes a whole report of its own": FIND_REPORT
    + """
def test_a():
    session = json.loads(report().read_text().splitlines()[0])["session"]
    ended = {"outcome": "passed", "seconds": 0.0, "message": "", "frames": [], "lines": None}
    lines = [
        {"kind": "open", "python": "3", "pytest": "8"},
        {"kind": "plan", "tests": 1, "unknown": []},
        {"kind": "start", "id": "tests/test_x.py::test_a"},
        {"kind": "test", "id": "tests/test_x.py::test_a", **ended},
        {"kind": "close", "exit": 0, "planned": 1, "done": 1, "stopped": False},
        {"kind": "seal", "digest": "0" * 32},
    ]
    report().write_text("".join(json.dumps({"session": session, **line}) + "\\n" for line in lines))
    os._exit(0)
""",
    "drops the tests that would fail": """
import atexit, os
atexit.register(os._exit, 0)
import pytest
def test_a(request):
    for item in request.session.items[1:]:
        request.session.items.remove(item)
def test_b(): assert False
def test_c(): assert False
""",
}


@pytest.fixture(scope="module")
def runs(new_project) -> dict[str, SuiteRun]:
    """One run for each attack, some at a time."""
    turn = asyncio.Semaphore(3)

    async def run(attack: str) -> SuiteRun:
        async with turn:
            return await new_project().put("tests/test_x.py", attack).run_async(Ask(first=("tests/test_x.py::test_a",)))

    async def all_runs() -> list[SuiteRun]:
        return await asyncio.gather(*map(run, ATTACKS.values()))

    return dict(zip(ATTACKS, asyncio.run(all_runs()), strict=True))


@pytest.mark.parametrize("attack", ATTACKS)
def test_never_passes(runs: dict[str, SuiteRun], attack: str) -> None:
    """However the process ends, a run without a whole, sealed report is broken: it has no tests, and says why."""
    run = runs[attack]
    assert run.outcome == "broken"
    assert not run.tests
    assert run.complaint


def test_an_exit_code_alone_does_not_make_a_pass(project, outcomes) -> None:
    """Failures that are reported count, whatever exit code is forced afterwards."""
    source = "import atexit, os\natexit.register(os._exit, 0)\ndef test_a(): assert False"
    run = project.put("tests/test_x.py", source).run()
    assert run.exit_code == 0
    assert outcomes(run) == {"tests/test_x.py::test_a": "failed"}


def test_passing_tests_do_not_make_up_for_a_failing_command(project) -> None:
    """A command that fails although none of its tests did is broken, and the complaint shows its last words."""
    project.put("tests/test_x.py", "def test_a(): pass")
    run = project.run(command=("sh", "-c", f"{sys.executable} -m pytest -q; echo 'error: not formatted' >&2; exit 3"))
    assert run.outcome == "broken"
    assert run.complaint.startswith("no test failed, yet `")
    assert run.complaint.endswith("ended with 3: error: not formatted")


def test_the_key_is_gone_before_the_first_test(project, outcomes) -> None:
    """What seals the report cannot be read from the disk by a test."""
    source = FIND_REPORT + "def test_a(): assert os.listdir(report().parent) == ['report.jsonl']"
    assert outcomes(project.put("tests/test_x.py", source).run()) == {"tests/test_x.py::test_a": "passed"}


def test_losing_the_report_does_not_lead_to_the_exit_code(project) -> None:
    """Where tests are named, or the command speaks of pytest, a run without any report is broken, not a pseudo test."""
    assert project.run(Ask(select=("tests/test_x.py::test_a",)), command=("true",)).outcome == "broken"
    assert project.run(command=("sh", "-c", "true # pytest")).outcome == "broken"


def test_processes_that_tests_start_are_not_the_suite(project, outcomes) -> None:
    """Forks, and a pytest that a test runs, leave no line in the report."""
    source = """
    import os, subprocess, sys

    def test_nested(tmp_path):
        (tmp_path / "test_inner.py").write_text("def test_inner(): assert False")
        assert subprocess.run([sys.executable, "-m", "pytest", "-q", tmp_path]).returncode == 1

    pytest_plugins = ["pytester"]

    def test_in_process(pytester):
        pytester.makepyfile("def test_inner(): assert False")
        pytester.runpytest_inprocess().assert_outcomes(failed=1)

    def test_fork():
        child = os.fork()
        if not child:
            return
        assert os.waitpid(child, 0)[1] == 0
    """
    run = project.put("tests/test_x.py", source).run()
    assert outcomes(run) == {
        f"tests/test_x.py::{name}": "passed" for name in ("test_nested", "test_in_process", "test_fork")
    }


def test_the_environment_is_given_back(project, outcomes) -> None:
    """Tests see no trace of the probe in their variables and paths."""
    source = """
    import os, sys

    def test_env():
        assert not [name for name in os.environ if name.startswith("SWARMCODE")]
        assert "PYTEST_PLUGINS" not in os.environ
        assert "PYTHONPATH" not in os.environ
        assert not [path for path in sys.path if path.endswith("probe")]
    """
    assert outcomes(project.put("tests/test_x.py", source).run()) == {"tests/test_x.py::test_env": "passed"}
