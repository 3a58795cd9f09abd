"""Which tests run, in which order, until when; and commands that are not pytest, or not only."""

import sys

import pytest

from swarmcode.sandbox.protocol import Limits
from swarmcode.suite.ask import Ask
from swarmcode.suite.run import last_words

A, B, C, D, E = (
    f"tests/test_{name}" for name in ("1.py::test_a", "1.py::test_b", "1.py::test_c", "2.py::test_d", "2.py::test_e")
)


@pytest.fixture(scope="module")
def five(module_project):
    """b and d fail; each run tells in which order the tests ran and which files were imported."""
    module_project.put("tests/test_1.py", "def test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pass\n")
    module_project.put("tests/test_2.py", "def test_d(): assert 0\ndef test_e(): pass\n")
    module_project.put("tests/test_3.py", "import no_such_module\n")
    return module_project


def test_select(five, outcomes) -> None:
    """Only the tests that are named run, and files without any are not even imported."""
    assert outcomes(five.run(Ask(select=(A, B)))) == {A: "passed", B: "failed"}


def test_select_where_the_project_decides_what_to_ignore(project, outcomes) -> None:
    """A project's own hook that ignores nothing does not have the files of other tests imported; one that ignores a
    file is heard."""
    project.put(
        "tests/conftest.py", "def pytest_ignore_collect(collection_path):\n    return 'old' in str(collection_path)\n"
    )
    project.put("tests/test_1.py", "def test_a(): assert 0\n").put("tests/test_2.py", "import no_such_module\n")
    project.put("tests/test_old.py", "import no_such_module\n")
    names = ("tests/test_1.py::test_a", "tests/test_old.py::test_x")
    assert outcomes(project.run(Ask(select=names))) == {names[0]: "failed"}


def test_first(five) -> None:
    """Named tests come first, in the order of the naming; all others follow in their own."""
    run = five.run(Ask(first=(E, C), deselect=frozenset({"tests/test_3.py"})))
    assert [name for name in run.tests if "::" in name] == [E, C, A, B, D]


def test_stop_on_any(five) -> None:
    """The run ends with the first failure, and that is an orderly end."""
    run = five.run(Ask(select=(A, B, C, D, E), stop_on="any"))
    assert (run.outcome, list(run.tests)) == ("finished", [A, B])


def test_stop_on_some(five) -> None:
    """Failures of other tests do not end the run."""
    run = five.run(Ask(select=(A, B, C, D, E), stop_on=frozenset({A, D})))
    assert (run.outcome, list(run.tests)) == ("finished", [A, B, C, D])


def test_stop_on_a_file_that_cannot_be_collected(five) -> None:
    """Collection errors count as failures of the file."""
    run = five.run(Ask(first=("tests/test_3.py",), stop_on=frozenset({"tests/test_3.py"})))
    assert (run.outcome, run.failing) == ("finished", {"tests/test_3.py"})


def test_deselect(five) -> None:
    """Named tests do not run."""
    assert five.run(Ask(deselect=frozenset({B, D}))).failing == {"tests/test_3.py"}


def test_unknown_ids(five) -> None:
    """Tests that are not there are no error of the run: they are simply not among its results."""
    run = five.run(Ask(select=(A, "tests/test_9.py::test_x", "tests/test_1.py::test_gone")))
    assert (run.outcome, set(run.tests)) == ("finished", {A})
    run = five.run(Ask(select=("tests/test_1.py::test_gone",)))
    assert (run.outcome, run.tests) == ("finished", {})
    assert run.complaint == "no tests were collected: tests/test_1.py::test_gone"


def test_a_file_that_can_be_collected_again(project, outcomes) -> None:
    """The id of an uncollectable file can be asked for like a test: with the file mended it is passed, and its tests
    run."""
    project.put("tests/test_3.py", "import no_such_module\ndef test_x(): assert 0\n")
    ask = Ask(select=("tests/test_3.py",))
    assert outcomes(project.run(ask)) == {"tests/test_3.py": "error"}
    project.put("no_such_module.py", "").put("pytest.ini", "[pytest]\npythonpath = .\n")
    assert outcomes(project.run(ask)) == {"tests/test_3.py": "passed", "tests/test_3.py::test_x": "failed"}


def test_options_of_the_project(project, outcomes) -> None:
    """What the project sets for daily work (stop at the first failure, last failures only) does not cut the report."""
    project.put("pytest.ini", "[pytest]\naddopts = -x --lf --maxfail=1 -q --tb=no --no-header --strict-markers\n")
    project.put("tests/test_1.py", "def test_a(): assert 0\ndef test_b(): assert 0, 'why'\ndef test_c(): pass\n")
    for _ in range(2):  # the second time, pytest knows which failed last
        run = project.run()
        assert list(outcomes(run).values()) == ["failed", "failed", "passed"]
        assert run.tests["tests/test_1.py::test_b"].message.startswith("AssertionError: why")


def test_a_folder_below_the_root(project, suite_command, outcomes) -> None:
    """Where pytest's root directory lies below, ids still start at the project's root, and select understands them."""
    project.put("pytest.ini", "").put("back/pytest.ini", "[pytest]\n")
    project.put("back/tests/test_1.py", "def test_a(): pass\ndef test_b(): raise ValueError\n")
    command = ("sh", "-c", f"cd back && {' '.join(suite_command)}")
    run = project.run(command=command)
    assert outcomes(run) == {"back/tests/test_1.py::test_a": "passed", "back/tests/test_1.py::test_b": "failed"}
    assert run.tests["back/tests/test_1.py::test_b"].frames[0].path == "back/tests/test_1.py"
    only = project.run(Ask(select=("back/tests/test_1.py::test_b",)), command=command)
    assert outcomes(only) == {"back/tests/test_1.py::test_b": "failed"}


def test_several_sessions_in_one_command(project, suite_command, outcomes) -> None:
    """Each session is reported; one of them that dies makes the whole run broken."""
    project.put("a/test_1.py", "def test_a(): pass\n").put("b/test_2.py", "def test_b(): pass\n")
    pytest_ = " ".join(suite_command)
    run = project.run(command=("sh", "-c", f"{pytest_} a && {pytest_} b"))
    assert (run.outcome, outcomes(run)) == (
        "finished",
        {"a/test_1.py::test_a": "passed", "b/test_2.py::test_b": "passed"},
    )
    project.put("a/test_1.py", "import os\ndef test_a(): os._exit(0)\n")
    run = project.run(command=("sh", "-c", f"{pytest_} a && {pytest_} b"))
    assert run.outcome == "broken"
    assert "the test process ended in a/test_1.py::test_a" in run.complaint


def test_an_endless_test_fails_where_it_hangs(project) -> None:
    """One test that never ends is a failing test with the stack of its loop; the others run."""
    project.put("lib.py", "import time\n\ndef spin():\n    while True:\n        time.sleep(0.01)\n")
    project.put("pytest.ini", "[pytest]\npythonpath = .\n")
    project.put("tests/test_1.py", "import lib\ndef test_a(): lib.spin()\ndef test_b(): pass\n")
    run = project.run(limits=Limits(seconds=6))
    test = run.tests["tests/test_1.py::test_a"]
    assert (run.outcome, test.outcome, test.message) == ("finished", "failed", "Failed: no end after 2 s")
    assert [(frame.path, frame.function) for frame in test.frames] == [
        ("tests/test_1.py", "test_a"),
        ("lib.py", "spin"),
    ]
    assert run.tests["tests/test_1.py::test_b"].outcome == "passed"


def test_timeout(project) -> None:
    """A run that outlasts its limit is a timeout that names the test it stood in; what ended before is kept."""
    source = "import signal, threading\ndef test_a(): pass\n" + (
        "def test_b():\n    signal.signal(signal.SIGALRM, signal.SIG_IGN)\n    threading.Event().wait()\n"
    )
    run = project.put("tests/test_1.py", source).run(limits=Limits(seconds=3))
    assert (run.outcome, run.exit_code) == ("timeout", None)
    assert run.complaint == "no end after 3 s, in tests/test_1.py::test_b"
    assert run.passing == {"tests/test_1.py::test_a"}


def test_nothing_collected(project) -> None:
    """A project without tests finishes without tests, and says so."""
    run = project.run()
    assert (run.outcome, run.exit_code, run.tests, run.complaint) == ("finished", 5, {}, "no tests were collected")


def test_conftest_that_cannot_be_imported(project) -> None:
    """Where pytest does not get as far as its session, the complaint is pytest's own word for it."""
    project.put("conftest.py", "import no_such_module\n").put("tests/test_1.py", "def test_a(): pass\n")
    run = project.run()
    assert run.outcome == "broken"
    assert run.complaint.endswith("ModuleNotFoundError: No module named 'no_such_module'")


def test_option_without_its_plugin(project) -> None:
    """An option that pytest does not know is the project's fault, told in pytest's words."""
    project.put("pytest.ini", "[pytest]\naddopts = --cov=src\n").put("tests/test_1.py", "def test_a(): pass\n")
    run = project.run()
    assert run.outcome == "broken"
    assert "unrecognized arguments: --cov=src" in run.complaint


def test_command_that_is_not_there(project) -> None:
    """A program that cannot be found is no failing test."""
    run = project.run(command=("no-such-program", "--all"))
    assert (run.outcome, run.tests) == ("broken", {})
    assert "`no-such-program --all` cannot be started" in run.complaint


@pytest.mark.parametrize(("code", "outcome"), [(0, "passed"), (3, "failed")])
def test_pseudo_test(project, code: int, outcome: str) -> None:
    """A command without pytest in it is one test, named as it was typed, with the tail of its output as message."""
    command = ("sh", "-c", f"echo one; echo two; exit {code}")
    for ask in (Ask(), Ask(select=(command[2],))):
        run = project.run(ask, command=command)
        test = run.tests[command[2]]
        assert (run.outcome, test.outcome, len(run.tests)) == ("finished", outcome, 1)
        assert test.message == ("" if code == 0 else "one\ntwo")


def test_a_folder_named_after_pytest_makes_no_pytest_of_a_script(project) -> None:
    """What counts is what is run."""
    script = project.put("pytest-tools/check", "exit 1\n").root / "pytest-tools" / "check"
    assert project.run(command=("sh", str(script))).failing == {f"sh {script}"}
    assert project.run(command=("sh", "-c", f"cd . && sh {script}")).outcome == "finished"
    assert project.run(command=("sh", "-c", "exit 1 # run-pytest.sh")).outcome == "broken"


def test_pseudo_test_that_never_ends(project) -> None:
    """A command without pytest has the same time limit."""
    run = project.run(command=("sleep", "60"), limits=Limits(seconds=0.2))
    assert (run.outcome, run.complaint) == ("timeout", "no end after 0.2 s")


def test_what_the_command_finds_in_its_environment(project) -> None:
    """The toolchain's own PYTHONPATH and PYTEST_PLUGINS are added to, not replaced."""
    project.put("extra/their_plugin.py", "def pytest_report_header(): return 'theirs is here'\n")
    project.put("tests/test_1.py", "def test_a(): pass\n")
    inner = f"PYTHONPATH=$PYTHONPATH:extra PYTEST_PLUGINS=$PYTEST_PLUGINS,their_plugin {sys.executable} -m pytest"
    run = project.run(command=("sh", "-c", inner))
    assert run.passing == {"tests/test_1.py::test_a"}
    assert "theirs is here" in run.output


@pytest.mark.parametrize(
    "command",
    [
        ("sh", "-c", "PYTHONPATH=src {python} -m pytest"),
        ("sh", "-c", "cd . && PYTHONPATH='src:/nowhere' {python} -m pytest -q"),
        ("sh", "-c", 'export PYTHONPATH="$PWD/src"; {python} -m pytest'),
        ("sh", "-c", "(env A=1 PYTHONPATH=src {python} -m pytest)"),
        ("env", "PYTHONPATH=src", "{python}", "-m", "pytest"),
        ("sh", "-c", "MYPYTHONPATH=x PYTHONPATH= PYTHONPATH=src:$PYTHONPATH {python} -m pytest"),
    ],
)
def test_a_command_may_set_its_own_path(project, command: tuple[str, ...]) -> None:
    """As it does where the project's code lies in a folder of its own: tests still count one by one."""
    project.put("src/shop.py", "def total(): return 3\n")
    project.put("tests/test_1.py", "import shop\ndef test_a(): assert shop.total() == 3\ndef test_b(): assert 0\n")
    run = project.run(command=tuple(word.format(python=sys.executable) for word in command))
    assert run.outcome == "finished", run.complaint
    assert (run.passing, run.failing) == ({"tests/test_1.py::test_a"}, {"tests/test_1.py::test_b"})


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", "it printed nothing"),
        ("E   ImportError: x\nE   ValueError: y\nrest", "ValueError: y"),
        ("a\nINTERNALERROR> SystemExit: 0\nmore", "SystemExit: 0"),
        ("error: one\nusage\nprog: error: two\n  rootdir: /x", "prog: error: two"),
        ("Traceback\npkg.Exception: broken\nend", "pkg.Exception: broken"),
        ("first\nlast\n\n", "last"),
    ],
)
def test_last_words(output: str, words: str) -> None:
    """The line a person would look for."""
    assert last_words(output) == words
