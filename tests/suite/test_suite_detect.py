"""Finding the test command of a project."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.errors import SuiteError, UsageError
from swarmcode.suite.detect import command_name, detect, files_named

NOWHERE = Path("/nonexistent")


@pytest.mark.parametrize(
    ("given_", "argv"),
    [
        ("pytest -q tests/unit", ("pytest", "-q", "tests/unit")),
        ("pytest 'tests/test a.py::t[x-1]'", ("pytest", "tests/test a.py::t[x-1]")),
        ("pytest -k 'a and (b or c)'", ("pytest", "-k", "a and (b or c)")),
        ('pytest -m "not slow"', ("pytest", "-m", "not slow")),
        ("make test", ("make", "test")),
        ("cd sub && pytest", ("sh", "-c", "cd sub && pytest")),
        ("pytest | tee log", ("sh", "-c", "pytest | tee log")),
        ("pytest; true", ("sh", "-c", "pytest; true")),
        ("pytest $ARGS", ("sh", "-c", "pytest $ARGS")),
        ('pytest "$ARGS"', ("sh", "-c", 'pytest "$ARGS"')),
        ("CI=1 pytest", ("sh", "-c", "CI=1 pytest")),
        ("pytest tests/*.py", ("sh", "-c", "pytest tests/*.py")),
        ("~/bin/check", ("sh", "-c", "~/bin/check")),
    ],
)
def test_given(given_: str, argv: tuple[str, ...]) -> None:
    """Plain words become the command itself; whatever means more to a shell is given to one."""
    command = detect(NOWHERE, given_)
    assert (command.argv, command.source) == (argv, "--test")


@pytest.mark.parametrize("given_", ["", "   ", "pytest 'tests", 'pytest "a'])
def test_given_makes_no_sense(given_: str) -> None:
    """An empty or unclosed command is the caller's mistake."""
    with pytest.raises(UsageError) as caught:
        detect(NOWHERE, given_)
    assert caught.value.hint


@given(st.text(max_size=40))
def test_any_text(given_: str) -> None:
    """Any text is a command with a name, or a usage error."""
    try:
        argv = detect(NOWHERE, given_).argv
    except UsageError:
        return
    assert argv
    assert command_name(argv).strip()


@pytest.mark.parametrize(
    ("files", "argv", "source"),
    [
        ({"pytest.ini": ""}, ("pytest",), "pytest.ini"),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, ("pytest",), "pyproject.toml"),
        ({"tox.ini": "[pytest]\n[tox]\n"}, ("pytest",), "tox.ini"),
        ({"setup.cfg": "[tool:pytest]\n", "Makefile": "test:\n"}, ("pytest",), "setup.cfg"),
        ({"setup.cfg": "[metadata]\nx = %(y)s\n", "conftest.py": ""}, ("pytest",), "conftest.py"),
        ({"tests/unit/test_a.py": "", "tox.ini": "[tox]\n"}, ("pytest",), "tests/unit/test_a.py"),
        ({"test_a.py": ""}, ("pytest",), "test_a.py"),
        ({"tox.ini": "[tox]\n", "Makefile": "test:\n"}, ("tox",), "tox.ini"),
        ({"pyproject.toml": "[tool.tox]\n"}, ("tox",), "pyproject.toml"),
        ({"noxfile.py": ""}, ("nox",), "noxfile.py"),
        ({"Makefile": "all:\n\ntest: all\n\tcc\n"}, ("make", "test"), "Makefile"),
        ({"package.json": '{"scripts": {"test": "vitest"}}'}, ("npm", "test", "--silent"), "package.json"),
        ({"Cargo.toml": ""}, ("cargo", "test"), "Cargo.toml"),
        ({"go.mod": ""}, ("go", "test", "./..."), "go.mod"),
        ({"src/pkg/tests/test_a.py": ""}, ("pytest",), "src/pkg/tests/test_a.py"),
        ({"Cargo.toml": "", "scripts/test_tool.py": ""}, ("cargo", "test"), "Cargo.toml"),
    ],
)
def test_found(tmp_path: Path, files: dict[str, str], argv: tuple[str, ...], source: str) -> None:
    """The project's own files say how it is tested; pytest's configuration comes before wrappers around it."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    command = detect(tmp_path, None)
    assert (command.argv, command.source) == (argv, source)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"Makefile": "tests:\n\ntest := x\n"},
        {"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'},
        {"package.json": "{"},
        {"package.json": "[]"},
        {"pyproject.toml": "[tool"},
        {"pyproject.toml": "tool = 1"},
        {"tox.ini": "no section"},
        {".venv/lib/test_a.py": "", "node_modules/x/test_a.py": "", "env/pyvenv.cfg": "", "env/test_a.py": ""},
    ],
)
def test_not_found(tmp_path: Path, files: dict[str, str]) -> None:
    """Where nothing speaks of tests, or only what was installed does, the error says how to name the command."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(SuiteError) as caught:
        detect(tmp_path, None)
    assert "--test" in caught.value.hint


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (("pytest",), "pytest"),
        (("pytest", "tests/a b.py"), "pytest 'tests/a b.py'"),
        (("sh", "-c", "cd sub && pytest"), "cd sub && pytest"),
        (("/usr/bin/sh", "-c", "cd sub && pytest"), "cd sub && pytest"),
        (("/opt/venv/bin/python", "-m", "pytest"), "python -m pytest"),
        (("./check", "-c", "all"), "./check -c all"),
    ],
)
def test_command_name(argv: tuple[str, ...], name: str) -> None:
    """A command is shown as a person would type it."""
    assert command_name(argv) == name


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("python3", "check.py"), {"check.py"}),
        (("python3", "./check.py", "--fast"), {"check.py"}),
        (("sh", "-c", "make all && python tools/run.py | tee log"), {"tools/run.py"}),
        (("python3", "-m", "tools.run"), {"tools/run.py"}),
        (("python3", "-m", "pkg"), {"pkg/__main__.py"}),
        (("pytest", "unit/cases.py::test_a"), {"unit/cases.py"}),
        (("pytest", "-q"), set()),
    ],
)
def test_what_the_command_runs_is_no_place_for_a_fix(argv: tuple[str, ...], named: set[str]) -> None:
    """A script that checks is a test, whatever its name: no patch may make it pass by changing it."""
    files = {"check.py", "tools/run.py", "pkg/__main__.py", "unit/cases.py", "q.py", "shop.py"} - {"q.py"}
    assert files_named(argv, files) == named
