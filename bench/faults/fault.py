"""A fault: one line of one package, as it was and as it is to be. The committed lists hold them, one in a line."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from faults.shelf import HERE

DRAWN = HERE / "drawn.json"
"""Made by `--draw`."""
WRITTEN = HERE / "written.json"
"""Made by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One changed line."""

    package: str
    """Name, as in `packages.toml`."""
    path: str
    """File, relative to the package's source distribution."""
    line: int
    """From 1."""
    old: str
    """The line as its authors wrote it, without its end."""
    new: str
    """The line that takes its place."""
    kind: str
    """What people would call the mistake."""
    by: str
    """`operator` or `hand`."""

    @property
    def name(self) -> str:
        return f"{self.package} {self.path}:{self.line}"


def read_all() -> list[Fault]:
    """Every committed fault, drawn ones first."""
    return [*read(DRAWN), *read(WRITTEN)]


def read(file: Path) -> list[Fault]:
    """The faults of one list; none where it is not there."""
    return [Fault(**each) for each in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []


def write(file: Path, faults: Iterable[Fault]) -> None:
    """A list, one fault in a line, so that a difference of two versions can be read."""
    lines = ",\n".join(json.dumps(asdict(fault), ensure_ascii=False) for fault in faults)
    file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def inject(fault: Fault, tree: Path) -> None:
    """Puts the fault into the tree. Raises `ValueError` where the line is not what the list says."""
    file = tree / fault.path
    lines = file.read_bytes().decode().split("\n") if file.is_file() else []
    found = lines[fault.line - 1].removesuffix("\r") if fault.line <= len(lines) else None
    if found != fault.old:
        raise ValueError(f"{fault.name} reads {found!r}, and the list says {fault.old!r}: is it another version?")
    end = "\r" if lines[fault.line - 1].endswith("\r") else ""
    lines[fault.line - 1] = fault.new + end
    file.write_bytes("\n".join(lines).encode())
