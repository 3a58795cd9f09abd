"""Which programs run the project's tests, and what of the host they need to see.

Shown: the interpreter with its packages, the links that lead to it, the folders of editable installs, and /usr. Never
shown: a home folder as a whole, /etc, /var, /run, sockets, variables. Not covered: programs that keep their parts all
over a home folder (rustup, Go's module cache); for these there is `--image`.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from swarmcode.errors import SuiteError
from swarmcode.sandbox.host import distinct
from swarmcode.sandbox.interpreter import PYTHON, Environment, environment, interpreter_of, trail
from swarmcode.sandbox.protocol import Toolchain

SYSTEM = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
SHOWN = (Path("/usr"), Path("/bin"), Path("/sbin"), Path("/lib"), Path("/lib64"))
"""What every box has of the host."""
BARRED = ("/etc", "/var", "/run", "/proc", "/sys", "/dev", "/boot")
TOOLS = (
    ".asdf",
    ".cache/pypoetry",
    ".cache/uv",
    ".conda",
    ".local/bin",
    ".local/lib",
    ".local/pipx",
    ".local/share/hatch",
    ".local/share/mise",
    ".local/share/pdm",
    ".local/share/pipx",
    ".local/share/pypoetry",
    ".local/share/rye",
    ".local/share/uv",
    ".local/share/virtualenvs",
    ".mise",
    ".nvm",
    ".pyenv",
    ".rye",
    ".sdkman",
    ".venvs",
    ".virtualenvs",
    ".volta",
)
"""The only hidden folders of a home folder that are shown: what else is hidden there is nobody's business. A `.venv`
that comes with a repository says itself where its parts lie, and it could name `.ssh`."""
RUNNERS = ("pytest", "py.test")
SETTINGS = {
    "HOME": "{scratch}",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
}


def discover(repo: Path, argv: tuple[str, ...], environ: Mapping[str, str]) -> tuple[Toolchain, tuple[str, ...]]:
    """The toolchain of a test command, and the command with its program as an absolute path.

    Looked for in the repository's `.venv` and `venv`, in VIRTUAL_ENV, in CONDA_PREFIX and on PATH, as they are without
    a hook's environment. Where pytest is wanted and nowhere installed, swarmcode's own Python runs it. Raises
    `SuiteError` where there is no such program.
    """
    if not argv:
        raise SuiteError("the test command is empty", "Give one with --test.")
    environ = _without_hook(environ)
    search = _Search(repo, environ)
    name = argv[0]
    if "/" in name:
        program = Path(os.path.normpath(repo / name))
        if not program.is_file():
            raise SuiteError(f"the test command's program {name} is not there", "Give another one with --test.")
        return search.toolchain(program, search.behind(program)), (str(program), *argv[1:])
    wants_pytest = name in RUNNERS or (PYTHON.fullmatch(name) is not None and argv[1:3] == ("-m", "pytest"))
    for program in search.programs(name):
        found = search.behind(program)
        if wants_pytest and (found is None or not found.has("pytest")):
            continue
        if found is not None and PYTHON.fullmatch(name):
            program = found.python
        return search.toolchain(program, found), (str(program), *argv[1:])
    if wants_pytest or PYTHON.fullmatch(name):
        own = Path(sys.executable)
        rest = argv[1:] if name not in RUNNERS else ("-m", "pytest", *argv[1:])
        return search.toolchain(own, search.behind(own)), (str(own), *rest)
    raise SuiteError(
        f"there is no program {name!r} to run the tests with", "Install it, or give another command with --test."
    )


def _without_hook(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The variables as they were before pre-commit put the environment that it made for swarmcode in front: pytest is
    in there, too, but nothing of what the project needs."""
    made = Path(environ.get("VIRTUAL_ENV", ""))
    if "PRE_COMMIT" not in environ or not made.name.startswith("py_env-"):
        return environ
    path = [place for place in environ.get("PATH", "").split(":") if Path(place) != made / "bin"]
    return {**environ, "VIRTUAL_ENV": "", "PATH": ":".join(path)}


class _Search:
    """Looks for programs and environments on behalf of one repository."""

    def __init__(self, repo: Path, environ: Mapping[str, str]) -> None:
        self._repo = repo
        self._environ = environ
        self._homes = {Path(home) for home in (environ.get("HOME"), os.path.expanduser("~")) if home}

    def programs(self, name: str) -> Iterator[Path]:
        """Where the program is, best first."""
        for prefix in self._prefixes():
            program = prefix / "bin" / name
            if os.access(program, os.X_OK) and program.is_file():
                yield program
        if found := shutil.which(name, path=self._environ.get("PATH", "")):
            yield self._unshimmed(Path(found).absolute())

    def behind(self, program: Path) -> Environment | None:
        """The environment of an interpreter or of a Python script."""
        if PYTHON.fullmatch(program.name):
            return environment(program, self._repo, self._environ)
        name = interpreter_of(program)
        if name and "/" not in name:
            name = shutil.which(name, path=self._environ.get("PATH", "")) or ""
        return environment(Path(name), self._repo, self._environ) if name else None

    def toolchain(self, program: Path, found: Environment | None) -> Toolchain:
        environments = [found] if found is not None else list(self._environments())[:1]
        needed = [*self._folder(program), *(mount for item in environments for mount in self._needs(item))]
        mounts = distinct(self._hidden(needed))
        self._check_shown(program, mounts)
        bins = [*(item.python.parent for item in environments), program.parent]
        path = dict.fromkeys([*map(str, bins), *self._path()])
        env = dict(SETTINGS)
        for item in environments:
            if item.virtual:
                env["VIRTUAL_ENV"] = str(item.prefix)
            elif any(site.is_relative_to(home / ".local") for site in item.sites for home in self._homes):
                env["PYTHONUSERBASE"] = f"{self._environ['HOME']}/.local"
        return Toolchain(path=tuple(path), mounts=mounts, env=env)

    def _check_shown(self, program: Path, mounts: tuple[Path, ...]) -> None:
        real = program.resolve()
        if not any(real.is_relative_to(place) for place in (self._repo, *SHOWN, *mounts)):
            raise SuiteError(
                f"the tests are run by {program}, which lies where no sandbox may look",
                "Install it in a virtual environment of the project, or use --image.",
            )

    def _prefixes(self) -> Iterator[Path]:
        yield self._repo / ".venv"
        yield self._repo / "venv"
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
            if place := self._environ.get(name):
                yield Path(place)

    def _environments(self) -> Iterator[Environment]:
        named = (shutil.which(name, path=self._environ.get("PATH", "")) for name in ("python", "python3"))
        places = [prefix / "bin" / "python" for prefix in self._prefixes()]
        for python in (*places, *(Path(place).absolute() for place in named if place)):
            if (found := environment(python, self._repo, self._environ)) is not None:
                yield found

    def _unshimmed(self, program: Path) -> Path:
        """A shim (pyenv, asdf, mise) is a script that needs a whole home folder: what it leads to does not."""
        if program.parent.name != "shims":
            return program
        found = environment(program.parent / "python", self._repo, self._environ)
        real = found.python.parent / program.name if found else program
        return real if real.is_file() else program

    def _path(self) -> Iterator[str]:
        for place in self._environ.get("PATH", "").split(":"):
            if place.startswith("/") and any(Path(place).is_relative_to(shown) for shown in SHOWN):
                yield place
        yield from SYSTEM

    def _folder(self, program: Path) -> Iterator[Path]:
        """What belongs to a program that is found at `bin/name` of some prefix."""
        yield program
        for place in (program.parent, program.resolve().parent):
            prefix = place.parent
            broad = any(prefix == home or prefix.parent == home for home in self._homes)
            yield prefix if place.name == "bin" and not broad and len(prefix.parts) > 2 else place

    def _needs(self, item: Environment) -> Iterator[Path]:
        yield item.python
        if os.path.realpath(item.home) == os.path.realpath(item.base / "bin"):
            yield item.home
        for prefix in (item.prefix, item.base):
            yield from self._pieces(prefix, item)
        yield from item.sites
        yield from item.sources

    def _pieces(self, prefix: Path, item: Environment) -> Iterator[Path]:
        private = any(prefix in (home, home / ".local") for home in self._homes)
        if not private and not self._repo.is_relative_to(prefix):
            yield prefix
            return
        # A Python installed straight into a home folder, or an environment around the repository.
        yield item.python
        yield prefix / "pyvenv.cfg"
        for lib in ("lib", "lib64"):
            yield prefix / lib / f"python{item.version}"
            yield from prefix.glob(f"{lib}/libpython*")

    def _hidden(self, mounts: list[Path]) -> Iterator[Path]:
        """What the mounts really are, and the links that lead there, as far as a box lacks it and may have it."""
        for mount in mounts:
            if not mount.exists():
                continue
            for path in (*trail(mount), mount.resolve()):
                if any(path.is_relative_to(shown) for shown in SHOWN):
                    continue
                if path.is_relative_to(self._repo) and not _is_environment(path):
                    continue
                if path.is_symlink() or not self._too_much(path):
                    yield path

    def _too_much(self, path: Path) -> bool:
        if len(path.parts) <= 2 or any(path.is_relative_to(place) for place in BARRED):
            return True
        if any(home.is_relative_to(path) for home in self._homes) or self._repo.is_relative_to(path):
            return True
        return any(_is_private(path, home) for home in self._homes if path.is_relative_to(home))


def _is_private(path: Path, home: Path) -> bool:
    hidden = path.relative_to(home).parts[0].startswith(".")
    return hidden and not any(path.is_relative_to(home / tool) for tool in TOOLS)


def _is_environment(path: Path) -> bool:
    return (path / "pyvenv.cfg").is_file() or (path / "conda-meta").is_dir()
