"""Which Python environment a program belongs to, and which folders of the host it cannot do without.

An environment may come with an untrusted repository, so nothing of it is ever run on the host: an interpreter that
really lies inside the repository is only looked at, any other is asked in isolated mode without `site` (no `.pth` file,
no `sitecustomize`), and what `.pth` files and editable installs lead to is read, not imported.
"""

import ast
import json
import os
import re
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SECONDS = 20.0
QUESTION = "import json, sys; print(json.dumps([sys.executable, '%d.%d' % sys.version_info[:2], sys.base_prefix]))"
SHEBANG = re.compile(r"#!\s*(?:/usr/bin/env\s+(?:-S\s+)?)?(\S+)")
LONG_SHEBANG = re.compile(r"'''exec' (?:\"([^\"]+)\"|(\S+))")
PYTHON = re.compile(r"python(\d(\.\d+)?)?|pypy(\d(\.\d+)?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A Python with the packages that it imports."""

    python: Path
    """As it is to be called."""
    prefix: Path
    """Of the virtual environment, or of the Python itself."""
    base: Path
    """Prefix of the Python that the environment was made from."""
    home: Path
    """Where the environment itself looks for that Python: its `bin`, perhaps through links."""
    version: str
    """`3.11`."""
    sites: tuple[Path, ...]
    """Folders of packages."""
    sources: tuple[Path, ...]
    """Folders outside of them that editable installs lead to."""

    @property
    def virtual(self) -> bool:
        return self.prefix != self.base

    def has(self, module: str) -> bool:
        """Whether `import module` would find something."""
        return any(
            (place / module).is_dir() or (place / f"{module}.py").is_file() for place in (*self.sites, *self.sources)
        )


def environment(python: Path, repo: Path, environ: Mapping[str, str]) -> Environment | None:
    """The environment of an interpreter; None where there is none that works."""
    if not python.is_file():
        return None
    prefix = python.parent.parent
    settings = _settings(prefix)
    asked = next(
        filter(None, (_ask(place, repo, environ) for place in _interpreters(python, settings, repo))),
        None,
    ) or _seen(python)
    if asked is None:
        return None
    executable, version, base = asked
    if not settings:
        # A shim (pyenv, asdf) gives another interpreter than the one that was called.
        python, prefix = executable, base
    everything = settings.get("include-system-site-packages", "true").lower() == "true"
    places = [*_own_sites(prefix, version), *(_own_sites(base, version) if everything else ())]
    if everything and (home := environ.get("HOME")):
        places.append(Path(home, ".local", "lib", f"python{version}", "site-packages"))
    sites = tuple(dict.fromkeys(place for place in places if place.is_dir()))
    sources = tuple(dict.fromkeys(source for site in sites for source in _sources(site)))
    return Environment(
        python=python,
        prefix=prefix,
        base=base,
        home=Path(settings.get("home", base / "bin")),
        version=version,
        sites=sites,
        sources=sources,
    )


def interpreter_of(script: Path) -> str:
    """The Python that a script names in its first line; empty where it is no Python script."""
    try:
        with script.open("rb") as file:
            first, second = (file.readline(4096).decode(errors="replace") for _ in range(2))
    except OSError:
        return ""
    match = SHEBANG.match(first)
    if match is None:
        return ""
    if PYTHON.fullmatch(Path(match[1]).name):
        return match[1]
    # Installers write this where the path is too long, or has a space, for a first line.
    long = LONG_SHEBANG.match(second)
    name = (long[1] or long[2]) if long else ""
    return name if PYTHON.fullmatch(Path(name).name) else ""


def trail(path: Path) -> Iterator[Path]:
    """Every symbolic link that is met on the way to what `path` really is."""
    parts = deque(path.parts[1:])
    current = Path("/")
    met: set[Path] = set()
    while parts:
        part = parts.popleft()
        if part == "..":
            current = current.parent
            continue
        current /= part
        if current.is_symlink() and current not in met:
            met.add(current)
            yield current
            target = current.readlink()
            current = Path("/") if target.is_absolute() else current.parent
            parts.extendleft(reversed([part for part in target.parts if part != "/"]))


def _interpreters(python: Path, settings: Mapping[str, str], repo: Path) -> Iterator[Path]:
    """Real interpreters outside the repository that tell what `python` is.

    Never the one in a virtual environment itself: its `pyvenv.cfg` says where the standard library is, and so what code
    runs before the first line of any program.
    """
    named = [Path(settings["home"], name) for name in (python.name, "python3", "python")] if "home" in settings else []
    for place in (python, *named):
        # Unlike `Path`, these take loops and names of any length for what they are: no such file.
        real = Path(os.path.realpath(place))
        inside = real.is_relative_to(repo.resolve()) or real.is_relative_to(repo)
        if os.path.isfile(real) and PYTHON.fullmatch(real.name) and not inside and not _settings(real.parent.parent):
            yield real


def _settings(prefix: Path) -> dict[str, str]:
    """What `pyvenv.cfg` says; empty where there is none."""
    if not (prefix / "pyvenv.cfg").is_file():
        return {}
    pairs = (line.partition("=") for line in _text(prefix / "pyvenv.cfg").splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs} or {"": ""}


def _text(path: Path) -> str:
    """A file's text without NULs, which no path survives; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace").replace("\0", "")
    except OSError:
        return ""


def _ask(python: Path, repo: Path, environ: Mapping[str, str]) -> tuple[Path, str, Path] | None:
    # A shim chooses the version by the folder that it is told of; Python itself must not run in the repository.
    env = {**environ, "PYENV_DIR": str(repo)}
    try:
        answer = subprocess.run(
            [python, "-I", "-S", "-c", QUESTION],
            capture_output=True,
            check=True,
            cwd="/",
            env=env,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
        )
        executable, version, base = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Path(executable), version, Path(base)


def _seen(python: Path) -> tuple[Path, str, Path] | None:
    """What can be told of an interpreter without running it."""
    prefix = python.resolve().parent.parent
    for place in sorted(prefix.glob("lib/python3.*")):
        if (place / "os.py").is_file():
            return python, place.name.removeprefix("python"), prefix
    return None


def _own_sites(prefix: Path, version: str) -> Iterator[Path]:
    for lib in ("lib", "lib64"):
        yield prefix / lib / f"python{version}" / "site-packages"
    if prefix == Path("/usr"):
        # Debian's own arrangement.
        yield Path("/usr/lib/python3/dist-packages")
        yield Path(f"/usr/local/lib/python{version}/dist-packages")
        yield Path(f"/usr/local/lib/python{version}/site-packages")


def _sources(site: Path) -> Iterator[Path]:
    for settings in sorted(site.glob("*.pth")):
        for line in _text(settings).splitlines():
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                yield from _outside(site, line.strip())
    for finder in sorted(site.glob("__editable__*_finder.py")):
        for place in _mapping(finder):
            yield from _outside(site, place)


def _outside(site: Path, place: str) -> Iterator[Path]:
    path = site / place
    if os.path.isdir(path) and not path.resolve().is_relative_to(site.resolve()):
        yield path


def _mapping(finder: Path) -> Iterator[str]:
    """Folders of packages in the finder that setuptools writes for an editable install."""
    try:
        body = ast.parse(_text(finder)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in body:
        if isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "MAPPING" for target in targets):
                yield from _values(node.value)


def _values(node: ast.expr | None) -> Iterator[str]:
    """The texts in a literal dictionary of texts."""
    if isinstance(node, ast.Dict):
        for value in node.values:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value.replace("\0", "")
