"""The packages: fetched once into a cache, unpacked, with one environment in which their suites run.

The suites run here unisolated, as the bench does: the packages are ones that you would install.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent
TRAINING = HERE.parent.parent / "training" / "packages.txt"
MEMORY = 4 << 30
"""Bytes of address space: a loop without end that keeps what it makes ends as a failed test, not as a full machine."""
UNFIT = {"passed": "no test fails", "hung": "the tests hang", "broken": "the tests do not run"}
"""Outcomes of a suite with a fault in it that leave nothing to be solved, in words."""
MOST_FAILING = 5
"""Tests of a package that may fail here with no fault in; they are skipped by name."""


class BenchError(Exception):
    """What the bench needs is not there; the message is for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package of the list."""

    name: str
    version: str
    licence: str
    code: str
    """The folder of its code: where faults are drawn."""
    options: tuple[str, ...]
    """Of pytest."""
    use: str
    """What the embedded model's training made of it: `held-out`, `train`, or `unlisted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run of a suite."""

    outcome: str
    """`passed`, `failed`, `hung`, or `broken`: it died, or did not collect."""
    failing: Mapping[str, str]
    """Test id -> first line of its message, in the order of the run."""
    seconds: float


def packages() -> list[Package]:
    """The committed list."""
    uses = _uses()
    listed = tomllib.loads((HERE / "packages.toml").read_text(encoding="utf-8"))["package"]
    return [
        Package(**{**each, "options": tuple(each.get("options", ())), "use": uses.get(each["name"], "unlisted")})
        for each in listed
    ]


def _uses() -> dict[str, str]:
    lines = TRAINING.read_text(encoding="utf-8").splitlines() if TRAINING.exists() else []
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {row[0].split("==")[0]: row[-1] for row in rows}


class Shelf:
    """The cache: source distributions, their trees, and the environment."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self.home = cache / "env"
        self._seconds: dict[str, float] = {}

    def tree(self, package: Package) -> Path:
        """The package's unpacked source distribution; fetched where it is not there. Raises `BenchError`."""
        place = self._cache / "trees" / f"{package.name}-{package.version}"
        if not place.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._cache) as scratch:
                _unpack(_fetch(package, Path(scratch)), Path(scratch) / "tree").rename(place)
        return place

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.home / "bin" / "python"

    @contextmanager
    def shown(self) -> Iterator[Path]:
        """The interpreter of a copy of the environment: one below a home folder's hidden folders no sandbox shows."""
        with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
            yield shutil.copytree(self.home, Path(scratch) / "env", symlinks=True) / "bin" / "python"

    def patience(self, package: Package) -> float:
        """Seconds after which the suite hangs."""
        return 20.0 + 5.0 * self._seconds.get(package.name, 8.0)

    def failing(self, package: Package, python: Path) -> tuple[str, ...]:
        """Tests that fail here with no fault in, and are to be skipped. Raises `BenchError` where a run without them
        does not pass, or where they are more than a few."""
        skip: tuple[str, ...] = ()
        with tempfile.TemporaryDirectory() as scratch:
            tree = copied(self.tree(package), Path(scratch) / package.name)
            for _ in range(2):
                ran = run_suite(command(python, package, skip), tree, self.patience(package))
                if ran.outcome == "passed":
                    self._seconds[package.name] = ran.seconds
                    return skip
                skip = tuple(ran.failing)
                if ran.outcome != "failed" or len(skip) > MOST_FAILING:
                    break
        raise BenchError(f"{package.name}: its own tests do not pass here ({ran.outcome}): {', '.join(skip[:5])}")

    def environment(self) -> None:
        """Makes the environment where it is not as the list wants it. Raises `BenchError`."""
        wanted = tomllib.loads((HERE / "packages.toml").read_text(encoding="utf-8"))["requirements"]
        stamp = self.home / "wanted"
        if stamp.exists() and stamp.read_text() == "\n".join((sys.version, *wanted)):
            return
        venv.create(self.home, clear=True, with_pip=True)
        _pip(self.python, "install", *wanted)
        stamp.write_text("\n".join((sys.version, *wanted)))


def _fetch(package: Package, into: Path) -> Path:
    wanted = f"{package.name}=={package.version}"
    _pip(Path(sys.executable), "download", "--no-deps", "--no-binary", ":all:", "--dest", str(into), wanted)
    found = [file for file in into.iterdir() if file.name.endswith(".tar.gz")]
    if len(found) != 1:
        raise BenchError(f"{wanted} has no source distribution that can be unpacked here")
    return found[0]


def _unpack(archive: Path, into: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(into, filter="data")
    (top,) = into.iterdir()
    return top


def _pip(python: Path, *arguments: str) -> None:
    done = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise BenchError(f"pip {' '.join(arguments)} failed: {(done.stderr.strip() or 'it says nothing')[-500:]}")


def command(python: Path, package: Package, skip: tuple[str, ...] = ()) -> list[str]:
    """How the suite runs: without the project's own options, which ask for plugins; `skip` are ids of tests."""
    plain = ["-q", "-p", "no:cacheprovider", "-o", "addopts="]
    return [str(python), "-m", "pytest", *plain, *package.options, *(f"--deselect={test}" for test in skip)]


def run_suite(argv: list[str], tree: Path, seconds: float) -> Ran:
    """Runs a suite in its tree, once, not longer than `seconds`."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        extra = [f"--junitxml={report}", "-o", "junit_family=xunit1", f"--basetemp={scratch}/tmp"]
        began = time.monotonic()
        code = _call([*argv, *extra], tree, seconds)
        took = time.monotonic() - began
        if code is None:
            return Ran(outcome="hung", failing={}, seconds=took)
        if code not in (0, 1) or not report.exists():
            return Ran(outcome="broken", failing={}, seconds=took)
        failing = _failing(report)
    return Ran(outcome="failed" if failing else "passed", failing=failing, seconds=took)


def _call(argv: list[str], folder: Path, seconds: float) -> int | None:
    """The exit code; None where it had to be killed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    env |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "LANG": "C.UTF-8"}
    child = subprocess.Popen(
        argv,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    """Kills what a child in its own session has left running, and waits for it."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all of it has ended
    child.wait()


def _failing(report: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        for problem in (*case.iter("failure"), *case.iter("error")):
            message = problem.get("message") or "no message"
            found.setdefault(_id(case), message.strip().split("\n")[0])
    return found


def _id(case: ElementTree.Element) -> str:
    """pytest's node id, put together from what its report keeps of it."""
    file, name = case.get("file", ""), case.get("name", "")
    module = file.removesuffix(".py").replace("/", ".")
    inside = case.get("classname", "").removeprefix(module).strip(".")
    return "::".join(part for part in (file, *inside.split("."), name) if part)


def copied(tree: Path, into: Path) -> Path:
    """A copy of a package's tree that may be changed."""
    return Path(shutil.copytree(tree, into, symlinks=True))
