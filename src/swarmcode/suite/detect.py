"""Finds the test command of a project."""

import configparser
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from swarmcode.errors import SuiteError, UsageError

_SHELL_SYNTAX = re.compile(r"[&|;<>$`(){}*?\n]|^\s*[A-Za-z_]\w*=|(?:^|\s)~")
_TEST_FILE = re.compile(r"test_.*\.py|.*_test\.py")
_FILES_LOOKED_AT = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCommand:
    """How the project's tests are run."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    argv: tuple[str, ...]
    source: str
    """Where it was found: `--test`, `pytest.ini`, `Makefile`, ..."""


def files_named(argv: Iterable[str], files: Collection[str]) -> frozenset[str]:
    """Files of the tree that the command itself names, by path or as a module: a check that is run is a test, whatever
    its name says."""
    words = {word.removeprefix("./") for part in argv for word in re.split(r"[\s;&|()<>'\"=:]+", part) if word}
    modules = {f"{word.replace('.', '/')}{suffix}" for word in words for suffix in (".py", "/__main__.py")}
    return frozenset(files) & (words | modules)


def command_name(argv: tuple[str, ...]) -> str:
    """The command as a person would type it; the id of the one pseudo test of a suite without per-test report."""
    program = PurePosixPath(argv[0]).name if argv[0].startswith("/") else argv[0]
    return argv[2] if program == "sh" and argv[1:2] == ("-c",) and len(argv) == 3 else shlex.join((program, *argv[1:]))


def detect(repo: Path, given: str | None) -> TestCommand:
    """The test command that was given, else the one that the project's files point to.

    Raises `UsageError` for a given command that is empty or has an unclosed quote, `SuiteError` where nothing is found.
    """
    if given is not None:
        return TestCommand(argv=_parse(given), source="--test")
    for find in (_pytest_config, _pytest_files, _tox, _makefile, _package_json, _cargo, _go, _pytest_anywhere):
        found = find(repo)
        if found is not None:
            return found
    raise SuiteError(
        f"no test command found in {repo}",
        "Say how its tests are run: --test 'COMMAND', as you would type it there.",
    )


def _parse(given: str) -> tuple[str, ...]:
    try:
        argv = tuple(shlex.split(given))
    except ValueError as error:
        raise UsageError(f"the test command cannot be read ({error}): {given}", "Close its quotes.") from error
    if not argv:
        raise UsageError("the test command is empty", "Leave --test out to have it found, or name a command.")
    return ("sh", "-c", given) if _needs_shell(given) else argv


def _needs_shell(given: str) -> bool:
    """Whether a shell would see more than words and quotes. In doubt yes: it takes plain words as well."""
    return _SHELL_SYNTAX.search(re.sub(r"'[^']*'|\"[^\"$`]*\"", "", given)) is not None


def _pytest_config(repo: Path) -> TestCommand | None:
    found = next(
        (name for name, sections in _INI_FILES.items() if _has_section(repo / name, sections)),
        "pyproject.toml" if "pytest" in _table(repo / "pyproject.toml", "tool") else None,
    )
    return TestCommand(argv=("pytest",), source=found) if found else None


_INI_FILES = {
    "pytest.ini": None,
    ".pytest.ini": None,
    "tox.ini": "pytest",
    "setup.cfg": "tool:pytest",
}


def _has_section(path: Path, section: str | None) -> bool:
    """Whether the file has the section; with None, whether it is there at all (an empty pytest.ini counts)."""
    if section is None or not path.is_file():
        return path.is_file()
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8", errors="replace"))
    except configparser.Error:
        return False
    return parser.has_section(section)


def _table(path: Path, name: str) -> dict[str, object]:
    """A table of a TOML file; empty where there is none, or no TOML."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get(name, {})
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def _pytest_files(repo: Path) -> TestCommand | None:
    for folder in (repo, repo / "tests", repo / "test", repo / "testing"):
        found = _first_test(repo, _files(folder, deep=folder != repo))
        if found is not None:
            return found
    return None


def _pytest_anywhere(repo: Path) -> TestCommand | None:
    return _first_test(repo, _files(repo, deep=True))


def _first_test(repo: Path, paths: Iterator[Path]) -> TestCommand | None:
    for path in paths:
        if path.name == "conftest.py" or _TEST_FILE.fullmatch(path.name):
            return TestCommand(argv=("pytest",), source=path.relative_to(repo).as_posix())
    return None


def _files(folder: Path, *, deep: bool) -> Iterator[Path]:
    """Files below a folder, near ones first; hidden folders and links are not entered, and huge trees not walked."""
    folders, left = [folder], _FILES_LOOKED_AT
    while folders and left > 0:
        try:
            entries = sorted(folders.pop(0).iterdir())
        except OSError:
            continue
        left -= len(entries)
        yield from (entry for entry in entries if entry.is_file())
        if deep:
            folders += [entry for entry in entries if _worth_entering(entry)]


def _worth_entering(entry: Path) -> bool:
    installed = entry.name.startswith(".") or entry.name in ("node_modules", "site-packages", "target")
    return entry.is_dir() and not entry.is_symlink() and not installed and not (entry / "pyvenv.cfg").exists()


def _tox(repo: Path) -> TestCommand | None:
    if _has_section(repo / "tox.ini", "tox") or _has_section(repo / "tox.ini", "testenv"):
        return TestCommand(argv=("tox",), source="tox.ini")
    if "tox" in _table(repo / "pyproject.toml", "tool"):
        return TestCommand(argv=("tox",), source="pyproject.toml")
    return TestCommand(argv=("nox",), source="noxfile.py") if (repo / "noxfile.py").is_file() else None


def _makefile(repo: Path) -> TestCommand | None:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        path = repo / name
        if path.is_file() and re.search(r"(?m)^test\s*:(?!=)", path.read_text(encoding="utf-8", errors="replace")):
            return TestCommand(argv=("make", "test"), source=name)
    return None


def _package_json(repo: Path) -> TestCommand | None:
    try:
        package = json.loads((repo / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    scripts = package.get("scripts") if isinstance(package, dict) else None
    script = scripts.get("test") if isinstance(scripts, dict) else None
    if not isinstance(script, str) or "no test specified" in script:  # what `npm init` writes
        return None
    return TestCommand(argv=("npm", "test", "--silent"), source="package.json")


def _present(name: str, *argv: str) -> Callable[[Path], TestCommand | None]:
    return lambda repo: TestCommand(argv=argv, source=name) if (repo / name).is_file() else None


_cargo = _present("Cargo.toml", "cargo", "test")
_go = _present("go.mod", "go", "test", "./...")
