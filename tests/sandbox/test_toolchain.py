"""Which Python runs the tests, what of the host it gets to see, and that looking for it runs nothing untrusted."""

from __future__ import annotations

import os
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmcode.errors import SuiteError
from swarmcode.sandbox.interpreter import interpreter_of, trail
from swarmcode.sandbox.protocol import Base, Command, Limits
from swarmcode.sandbox.toolchain import discover

if TYPE_CHECKING:
    from conftest import Bench

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
REAL = Path(sys._base_executable).resolve()
OWN = Path(sys.executable)


def environment(prefix: Path, *, pytest: bool = True) -> Path:
    """A virtual environment, with something called pytest in it; its folder of packages."""
    venv.EnvBuilder(symlinks=True).create(prefix)
    site = prefix / "lib" / VERSION / "site-packages"
    if pytest:
        (site / "pytest").mkdir()
        (site / "pytest" / "__init__.py").touch()
        program = prefix / "bin" / "pytest"
        program.write_text(f"#!{prefix}/bin/python\nprint('ran')\n")
        program.chmod(0o755)
    return site


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "repo"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}


def test_environment_of_the_repository_comes_first(repo: Path, environ: dict[str, str]) -> None:
    """`.venv` in the repository wins over VIRTUAL_ENV; it is shown, with the Python that it was made from."""
    environment(repo / ".venv")
    environment(repo.parent / "other")
    environ["VIRTUAL_ENV"] = str(repo.parent / "other")
    toolchain, argv = discover(repo, ("pytest", "-q"), environ)
    assert argv == (f"{repo}/.venv/bin/pytest", "-q")
    assert repo / ".venv" in toolchain.mounts
    assert repo.parent / "other" not in toolchain.mounts
    assert any(REAL.is_relative_to(mount) for mount in (*toolchain.mounts, Path("/usr")))
    assert toolchain.path[0] == f"{repo}/.venv/bin"
    assert toolchain.env["VIRTUAL_ENV"] == f"{repo}/.venv"


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_active_environment(repo: Path, environ: dict[str, str], variable: str) -> None:
    """An active environment is used where the repository has none."""
    environment(repo.parent / "active")
    toolchain, argv = discover(repo, ("python", "-m", "pytest"), environ | {variable: str(repo.parent / "active")})
    assert argv == (f"{repo.parent}/active/bin/python", "-m", "pytest")
    assert repo.parent / "active" in toolchain.mounts


def test_the_environment_of_a_hook_is_not_the_projects(repo: Path, environ: dict[str, str]) -> None:
    """pre-commit activates what it made for swarmcode: the environment below it, on PATH, is the person's. Where there
    is none, the hook's own is left."""
    hook, active = repo.parent / "cache" / "py_env-python3", repo.parent / "active"
    environment(hook)
    environment(active)
    environ |= {"VIRTUAL_ENV": str(hook), "PATH": f"{hook}/bin:{active}/bin:/usr/bin:/bin", "PRE_COMMIT": "1"}
    toolchain, argv = discover(repo, ("pytest",), environ)
    assert argv == (f"{active}/bin/pytest",)
    assert hook not in toolchain.mounts
    assert toolchain.env["VIRTUAL_ENV"] == str(active)
    _, argv = discover(repo, ("pytest",), environ | {"PATH": f"{hook}/bin:/nonexistent"})
    assert argv == (str(OWN), "-m", "pytest")
    del environ["PRE_COMMIT"]
    assert discover(repo, ("pytest",), environ)[1] == (f"{hook}/bin/pytest",)


def test_environment_without_pytest_is_passed_over(repo: Path, environ: dict[str, str]) -> None:
    """Where pytest is wanted, an environment that lacks it does not count; at last swarmcode's own Python runs it."""
    environment(repo / ".venv", pytest=False)
    environ["PATH"] = "/nonexistent"
    for argv in (("pytest", "-x"), ("python", "-m", "pytest", "-x")):
        _, found = discover(repo, argv, environ)
        assert found == (str(OWN), "-m", "pytest", "-x")
    _, found = discover(repo, ("python", "run.py"), environ)
    assert found == (f"{repo}/.venv/bin/python", "run.py")


def test_nothing_secret_is_passed_on(repo: Path, environ: dict[str, str]) -> None:
    """Variables are few and fixed; PATH keeps only system folders and those of the environment."""
    environ |= {"AWS_SECRET": "x", "PATH": f"{repo.parent}/bin:/usr/bin:/opt/agent/bin"}
    environment(repo / ".venv")
    toolchain, _ = discover(repo, ("pytest",), environ)
    assert set(toolchain.env) == {"HOME", "LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "VIRTUAL_ENV"}
    assert not {f"{repo.parent}/bin", "/opt/agent/bin"} & set(toolchain.path)


def test_home_folder_is_never_shown(repo: Path, environ: dict[str, str]) -> None:
    """Neither the home folder, nor what holds it, nor the repository, whatever lies on the way to the program."""
    home = repo.parent
    (home / "bin").mkdir()
    (home / "bin" / "run-tests").write_text("#!/bin/sh\n")
    (home / "bin" / "run-tests").chmod(0o755)
    environ["PATH"] = f"{home}/bin:/usr/bin"
    toolchain, argv = discover(repo, ("run-tests",), environ)
    assert argv == (f"{home}/bin/run-tests",)
    assert home / "bin" in toolchain.mounts
    assert not any(home.is_relative_to(mount) or repo.is_relative_to(mount) for mount in toolchain.mounts)


def test_editable_installs_are_shown(repo: Path, environ: dict[str, str]) -> None:
    """Folders that `.pth` files and setuptools' finders lead to are shown, but for those of the repository itself."""
    site = environment(repo / ".venv")
    for name in ("plain", "mapped", "repo/src"):
        (repo.parent / name).mkdir()
    (site / "plain.pth").write_text(f"import os; os.abort()\n# comment\n{repo.parent}/plain\n{repo}/src\n/nowhere\n")
    finder = f"MAPPING: dict[str, str] = {{'mapped': '{repo.parent}/mapped'}}\nraise SystemExit\n"
    (site / "__editable___mapped_1_0_finder.py").write_text(finder)
    (site / "__editable___broken_finder.py").write_text("MAPPING = (")
    toolchain, _ = discover(repo, ("pytest",), environ)
    assert {repo.parent / "plain", repo.parent / "mapped"} <= set(toolchain.mounts)
    assert repo / "src" not in toolchain.mounts


def test_links_stay_links(repo: Path, environ: dict[str, str]) -> None:
    """An environment reached through links (as installers of Pythons make them) comes with these and what they mean."""
    environment(repo.parent / "store" / "env-1.2")
    (repo / ".venv").symlink_to("../store/env-1.2")
    toolchain, argv = discover(repo, ("pytest",), environ)
    assert argv == (f"{repo}/.venv/bin/pytest",)
    assert {repo / ".venv", repo.parent / "store" / "env-1.2"} <= set(toolchain.mounts)


@pytest.mark.parametrize("way", ["editable", "finder", "home", "program"])
def test_hidden_folders_of_the_home_folder_stay_hidden(repo: Path, environ: dict[str, str], way: str) -> None:
    """An environment that came with the repository may name `.ssh` in whatever way: it is not shown."""
    secret = repo.parent / ".ssh"
    (secret / "bin").mkdir(parents=True)
    (secret / "bin" / "tool").touch(mode=0o755)
    site = environment(repo / ".venv")
    match way:
        case "editable":
            (site / "x.pth").write_text(f"{secret}\n{secret}/bin\n")
        case "finder":
            (site / "__editable___x_finder.py").write_text(f"MAPPING = {{'x': '{secret}'}}")
        case "home":
            (repo / ".venv" / "pyvenv.cfg").write_text(f"home = {secret}/bin\n")
        case "program":
            (repo / ".venv" / "bin" / "run-tests").symlink_to(secret / "bin" / "tool")
            with pytest.raises(SuiteError, match="where no sandbox may look"):
                discover(repo, ("run-tests",), environ)
    toolchain, _ = discover(repo, ("pytest",), environ)
    assert not [mount for mount in toolchain.mounts if mount.resolve().is_relative_to(secret)]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text() | st.sampled_from(["MAPPING = 3", "MAPPING = {'a': 1}", "MAPPING: x", "MAPPING = {**{}}", "(" * 999]),
    st.text() | st.sampled_from(["loop", "x" * 5000, "/" * 5000, "..", "."]),
)
def test_whatever_an_environment_says(tmp_path: Path, finder: str, text: str) -> None:
    """Settings, `.pth` files and finders full of nonsense are read without a fault."""
    repo = tmp_path / "repo"
    site = repo / ".venv" / "lib" / VERSION / "site-packages"
    if not site.exists():
        environment(repo / ".venv")
        (site / "folder.pth").mkdir()
        (site / "loop").symlink_to("loop")
    (site / "x.pth").write_text(text, errors="surrogatepass")
    (site / "__editable___x_finder.py").write_text(finder, errors="surrogatepass")
    (repo / ".venv" / "pyvenv.cfg").write_text(f"home = {text}\n{text}", errors="surrogatepass")
    _, argv = discover(repo, ("pytest",), {"HOME": str(tmp_path), "PATH": "/nonexistent"})
    assert argv


def sentinel(repo: Path) -> Path:
    return repo.parent / "executed"


def bait(repo: Path) -> str:
    return f"#!/bin/sh\ntouch {sentinel(repo)}\n"


def test_program_of_the_repository_is_not_run(repo: Path, environ: dict[str, str]) -> None:
    """A repository that brings its own `python` does not get it run on the host."""
    bin_folder = repo / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    for name in ("python", "python3", "pytest"):
        (bin_folder / name).write_text(bait(repo))
        (bin_folder / name).chmod(0o755)
    discover(repo, ("pytest",), environ)
    discover(repo, ("python", "x.py"), environ)
    assert not sentinel(repo).exists()


def test_settings_of_the_repository_choose_no_library(repo: Path, environ: dict[str, str]) -> None:
    """A `pyvenv.cfg` that leads a real interpreter to a standard library in the repository runs nothing of it."""
    library = repo / "evil" / "lib" / VERSION
    (library / "encodings").mkdir(parents=True)
    for name in ("os.py", "encodings/__init__.py", "site.py"):
        (library / name).write_text(f"open({str(sentinel(repo))!r}, 'w')\n")
    (repo / "evil" / "bin").mkdir()
    (repo / ".venv" / "bin").mkdir(parents=True)
    (repo / ".venv" / "bin" / "python").symlink_to(REAL)
    (repo / ".venv" / "pyvenv.cfg").write_text(f"home = {repo}/evil/bin\n")
    discover(repo, ("python", "x.py"), environ)
    assert not sentinel(repo).exists()


def test_link_to_another_program_is_not_run(repo: Path, environ: dict[str, str]) -> None:
    """A `python` that is a link to a shell is no Python, and is not asked."""
    (repo / ".venv" / "bin").mkdir(parents=True)
    (repo / ".venv" / "bin" / "python").symlink_to("/bin/sh")
    (repo / ".venv" / "pyvenv.cfg").write_text("home = /bin\n")
    script = repo / ".venv" / "bin" / "pytest"
    script.write_text(f"#!/bin/sh\n'''exec' /bin/touch {sentinel(repo)}\n")
    script.chmod(0o755)
    discover(repo, ("pytest",), environ)
    assert not sentinel(repo).exists()


def test_missing_program(repo: Path, environ: dict[str, str]) -> None:
    """A program that is nowhere is named, with what to do."""
    for argv in (("no-such-runner", "test"), ("./no-such-script",), ()):
        with pytest.raises(SuiteError) as caught:
            discover(repo, argv, environ)
        assert "--test" in caught.value.hint


def test_program_of_the_system(repo: Path, environ: dict[str, str]) -> None:
    """A program in /usr needs nothing shown beside what every box has; a Python project's environment comes along."""
    toolchain, argv = discover(repo, ("env", "true"), environ)
    assert argv == ("/usr/bin/env", "true")
    assert not [mount for mount in toolchain.mounts if mount.is_relative_to(repo)]
    environment(repo / ".venv")
    toolchain, _ = discover(repo, ("env", "pytest"), environ)
    assert toolchain.path[0] == f"{repo}/.venv/bin"


@pytest.mark.parametrize(
    ("text", "interpreter"),
    [
        ("#!/opt/x/bin/python3.11\n", "/opt/x/bin/python3.11"),
        ("#! /usr/bin/env python3\n", "python3"),
        ("#!/usr/bin/env -S python3 -u\n", "python3"),
        ("#!/bin/sh\n'''exec' /a/very/long/python \"$0\" \"$@\"\n' '''\n", "/a/very/long/python"),
        ('#!/bin/sh\n\'\'\'exec\' "/with a space/python3" "$0" "$@"\n', "/with a space/python3"),
        ("#!/bin/sh\n'''exec' /bin/rm \"$0\"\n", ""),
        ("#!/bin/sh\nexit\n", ""),
        ("\x7fELF", ""),
        ("", ""),
    ],
)
def test_interpreter_of_a_script(tmp_path: Path, text: str, interpreter: str) -> None:
    """The first line, or the trick that installers use where that would be too long, names the interpreter."""
    script = tmp_path / "script"
    script.write_text(text)
    assert interpreter_of(script) == interpreter


def test_trail_of_links(tmp_path: Path) -> None:
    """Every link on the way is met once, relative ones and loops included."""
    (tmp_path / "real" / "bin").mkdir(parents=True)
    (tmp_path / "current").symlink_to("real")
    (tmp_path / "real" / "bin" / "python").symlink_to("../bin/python3")
    (tmp_path / "real" / "bin" / "python3").touch()
    found = list(trail(tmp_path / "current" / "bin" / "python"))
    assert found == [tmp_path / "current", tmp_path / "real" / "bin" / "python"]
    (tmp_path / "loop").symlink_to("loop")
    assert list(trail(tmp_path / "loop")) == [tmp_path / "loop"]


def test_box_runs_what_was_found(bench: Bench, tmp_path: Path) -> None:
    """An environment deep in the tree, one behind a link, and an editable install work in a box as on the host."""
    repo, base = tmp_path / "work" / "repo", tmp_path / "base"
    (base / "backend").mkdir(parents=True)
    (base / "backend" / "mod.py").write_text("WHERE = 'tree'\n")
    (repo / "backend").mkdir(parents=True)
    site = environment(tmp_path / "store" / "env")
    (repo / "backend" / ".venv").symlink_to(tmp_path / "store" / "env")
    (site / "extra.py").write_text("WHERE = 'package'\n")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "edited.py").write_text("WHERE = 'editable'\n")
    (site / "library.pth").write_text(f"{tmp_path}/library\n")
    environ = {**os.environ, "VIRTUAL_ENV": f"{repo}/backend/.venv"}
    toolchain, argv = discover(repo, ("python", "-m", "pytest"), environ)
    code = "import sys, mod, extra, edited; print(sys.prefix, mod.WHERE, extra.WHERE, edited.WHERE)"
    box = bench.open(Limits(disk_mb=64), Base(root=base, home=repo), toolchain)
    result = bench.wait(box.run(Command(argv=(argv[0], "-c", code), cwd="backend")))
    write = bench.wait(box.run(Command(argv=("sh", "-c", "echo x > backend/new && cat backend/new"))))
    bench.wait(box.close())
    assert result.output == f"{repo}/backend/.venv tree package editable\n"
    assert write.output == "x\n"


def test_environment_in_the_tree_is_shown_at_its_place(bench: Bench, tmp_path: Path) -> None:
    """A `.venv` of the repository, which no snapshot holds, is there and read-only, at the top and deep in the tree."""
    for place in (".venv", "backend/.venv"):
        repo, base = tmp_path / place / "repo", tmp_path / place / "base"
        base.mkdir(parents=True)
        environment(repo / place)
        environ = {**os.environ, "VIRTUAL_ENV": f"{repo}/{place}"}
        toolchain, argv = discover(repo, ("python", "-m", "pytest"), environ)
        box = bench.open(Limits(disk_mb=64), Base(root=base, home=repo), toolchain)
        code = f"import sys, pytest; print(sys.prefix, pytest.__name__); open('{repo}/{place}/x', 'w')"
        result = bench.wait(box.run(Command(argv=(argv[0], "-c", code))))
        bench.wait(box.reset())
        after = bench.wait(box.run(Command(argv=(argv[0], "-c", "print('whole')"))))
        bench.wait(box.close())
        assert f"{repo}/{place} pytest\n" in result.output
        assert "Read-only file system" in result.output
        assert after.output == "whole\n"
