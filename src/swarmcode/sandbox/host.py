"""What of the host a box is shown: its /usr, the harmless part of /etc, the toolchain, and the supervisor.

Covered: nothing below a home folder but what the toolchain names, nothing of /etc but public tables, no socket, no
/var, no /run. Not covered: whatever lies in /usr or in a mounted toolchain is readable in the box, secrets included.
"""

import functools
import importlib.util
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from swarmcode import assets
from swarmcode.errors import SandboxUnavailable

PLACE = "/swarmcode"
"""Where a box keeps what is swarmcode's own."""
BASE = f"{PLACE}/base"
SCRATCH = f"{PLACE}/scratch"
TREES = f"{PLACE}/trees"

TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Beside /usr: links into it, or folders of their own."""
RESERVED = ("/", "/usr", "/etc", "/tmp", "/dev", "/dev/shm", "/proc", "/sys", "/run", "/var", PLACE)  # noqa: S108
TABLES = (
    "alternatives",
    "ca-certificates.conf",
    "crypto-policies",
    "fonts",
    "java-*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mailcap",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "perl",
    "pki/tls/certs",
    "pki/ca-trust/extracted",
    "protocols",
    "python3*",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)
"""Of /etc: tables that programs look things up in, and that hold no secret."""

FLAGS = ("-I", "-S", "-B", "-X", "utf8")
"""How the supervisor's Python is called: isolated from variables and site packages; writes no bytecode."""
EXTENSIONS = ("_ctypes", "resource", "select", "_struct", "_json", "_blake2", "math", "_random", "fcntl")
"""Modules of the standard library that the supervisor loads, where they are libraries of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A host path that appears, read-only, in a box."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How the supervisor is started in any box."""

    argv: tuple[str, ...]
    mounts: tuple[Mount, ...]


def check_home(home: Path) -> None:
    """Raises `SandboxUnavailable` where a tree cannot stand at `home` in a box."""
    if not home.is_absolute() or str(home) in RESERVED or str(home).startswith(f"{PLACE}/"):
        raise SandboxUnavailable(
            f"{home} cannot be rebuilt in a sandbox: the system itself needs that place",
            "Move the repository into a folder of its own.",
        )


def system() -> tuple[Mount, ...]:
    """The host's programs and the tables that they need, at the same places."""
    folders = [Path("/usr"), *(Path("/", name) for name in TOP)]
    mounts = [Mount(source=path, target=str(path)) for path in folders if path.is_dir() and not path.is_symlink()]
    return (*mounts, *_tables())


def links() -> dict[str, str]:
    """Links at the top of the file system: place -> target."""
    return {f"/{name}": str(Path("/", name).readlink()) for name in TOP if Path("/", name).is_symlink()}


def distinct(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Those that exist and do not lie in another one."""
    kept: list[Path] = []
    for path in sorted({path for path in paths if path.exists()}, key=lambda path: len(path.parts)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return tuple(kept)


@functools.cache
def supervisor() -> Program:
    """The supervisor on swarmcode's own interpreter, with the loader and the libraries that this needs.

    Brought along under `PLACE`, it runs in any image of this architecture, whatever its C library.
    """
    program = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    loader = _loader()
    libraries = {name: path for item in (program, *_extensions()) for name, path in _needs(loader, item)}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    stdlib = Path(sysconfig.get_path("stdlib"))
    own = [
        Mount(source=loader, target=f"{PLACE}/lib/{loader.name}"),
        *(Mount(source=path, target=f"{PLACE}/lib/{name}") for name, path in libraries.items() if name != loader.name),
        Mount(source=program, target=f"{PLACE}/python/bin/{version}"),
        Mount(source=stdlib, target=f"{PLACE}/python/{sys.platlibdir}/{version}"),
        Mount(source=assets.folder("sandboxes") / "supervisor", target=f"{PLACE}/supervisor"),
    ]
    start = (f"{PLACE}/lib/{loader.name}", "--library-path", f"{PLACE}/lib", f"{PLACE}/python/bin/{version}")
    return Program(argv=(*start, *FLAGS, f"{PLACE}/supervisor"), mounts=tuple(own))


def passwd(uid: int, gid: int) -> str:
    """Users that a box knows."""
    return f"root:x:0:0:root:/:/bin/sh\nswarmcode:x:{uid}:{gid}:swarmcode:{SCRATCH}:/bin/sh\n"


def group(gid: int) -> str:
    """Groups that a box knows."""
    return f"root:x:0:\nswarmcode:x:{gid}:\n"


def hosts() -> str:
    """Machines that a box knows: itself."""
    return "127.0.0.1 localhost box\n::1 localhost\n"


def _tables() -> Iterator[Mount]:
    for pattern in TABLES:
        for path in sorted(Path("/etc").glob(pattern)):
            if path.exists():
                yield Mount(source=path, target=str(path))


def _loader() -> Path:
    """The dynamic loader of this very process: `ld-linux-x86-64.so.2`, `ld-musl-x86_64.so.1`, ..."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith("ld-") and path.is_absolute():
            return path
    raise SandboxUnavailable(
        "this Python is linked statically, so that it cannot run in a sandbox",
        "Run swarmcode on a Python that loads its C library dynamically.",
    )


def _extensions() -> Iterator[Path]:
    for name in EXTENSIONS:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None and spec.has_location:
            yield Path(spec.origin)


def _needs(loader: Path, item: Path) -> Iterator[tuple[str, Path]]:
    """Name and place of each library that `item` is linked to."""
    listing = subprocess.run([loader, "--list", item], capture_output=True, text=True, check=False).stdout
    for match in re.finditer(r"^\s*(\S+) => (/\S+) \(", listing, re.MULTILINE):
        yield Path(match[1]).name, Path(match[2]).resolve()
