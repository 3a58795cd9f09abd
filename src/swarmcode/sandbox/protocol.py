"""The seam between the judge and whatever isolates untrusted code.

A sandbox opens boxes; a box holds one copy of a base tree, at the very path where the tree lies on the host (so that
editable installs and absolute paths in settings still hold), and runs commands on it. A box has no network, no host
writes, and no more CPU, memory, processes, disk or time than its limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from swarmcode.flow import Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one command may use."""

    seconds: float = 120.0
    """Wall time; then everything in the box is killed."""
    memory_mb: int = 2048
    """Memory of the whole box, its tmpfs included."""
    cpus: float = 1.0
    processes: int = 128
    file_mb: int = 128
    """Largest single file."""
    disk_mb: int = 1024
    """All that the box may hold: tree, scratch and temporary files."""
    output_kb: int = 256
    """Of what it prints, the tail that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What of the host a box may see, read-only, beside its tree."""

    path: tuple[str, ...]
    """Folders of PATH, in order."""
    mounts: tuple[Path, ...]
    """Absolute host paths that appear at the same place: the Python that runs the tests, its environment, ..."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that every command gets; nothing else of the host's environment is passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The tree that boxes start from."""

    root: Path
    """Folder on the host that holds it; boxes only read it."""
    home: Path
    """Absolute path at which a box shows it: where the work tree lies on the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command in a box."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Beside the toolchain's. `{scratch}` in a value stands for the box's scratch folder."""
    cwd: str = ""
    """Relative to the tree."""
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    """Files put into the scratch folder before it starts: plain name -> content."""
    collect: tuple[str, ...] = ()
    """Plain names of files in the scratch folder to bring back."""
    limits: Limits = field(default_factory=Limits)
    warm: bool = False
    """Whether it may run as a copy of the runner that `Box.warm` has started, if one waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How it ended. Not starting at all (no such program) is exit code 127 or 126, as in a shell."""

    exit_code: int | None
    """None where it was killed from outside; 128 + n where signal n ended it."""
    killed: Literal["", "timeout", "memory"]
    """Why it was killed."""
    output: str
    """Tail of standard output and error together, decoded with replacement."""
    files: Mapping[str, bytes]
    """What `collect` asked for and was there. Each is untrusted, and at most `file_mb` long."""
    seconds: float


class Box(Protocol):
    """One copy of the base tree. Used by one task at a time."""

    async def apply(self, changes: Changes) -> None:
        """Puts whole files into the tree, or deletes them (None). Paths that are absolute, leave the tree, or pass
        through a symbolic link raise `DiffError`, and nothing is changed."""
        ...

    async def warm(self, command: Command) -> bool:
        """Starts a test runner that waits for `run` to be called with this very command (its inputs, what is collected
        and its time apart), if the command is one that can wait before it loads anything of the tree; whether one
        waits. Nothing that it reads until then may change from run to run. Does nothing where one waits already.
        Raises `SandboxLost`."""
        ...

    async def run(self, command: Command) -> CommandResult:
        """Runs one command to its end or its limit; afterwards no process of it is left. Raises `SandboxLost`."""
        ...

    async def reset(self) -> None:
        """Back to the base tree, empty scratch and temporary folders. Raises `SandboxLost`."""
        ...

    async def close(self) -> None:
        """Removes the box. Idempotent."""
        ...


class Sandbox(Protocol):
    """A way of isolating."""

    @property
    def name(self) -> str:
        """As in `--sandbox`."""
        ...

    @property
    def isolated(self) -> bool:
        """False only for `process`."""
        ...

    async def open(self, base: Base, toolchain: Toolchain, limits: Limits) -> Box:
        """A fresh box. Raises `SandboxUnavailable` where none can be had, `SandboxLost` where one broke."""
        ...

    async def sweep(self) -> int:
        """Removes what killed runs left behind (never what a living run holds); how many boxes."""
        ...

    async def close(self) -> None:
        """Removes every box that is still open, and what belongs to this run. Idempotent."""
        ...
