"""Where Python source comes from: wheels, and the standard library of the running Python. Nothing of it is executed."""

import re
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

SKIPPED_PARTS = frozenset(
    """
    test tests testing _vendor vendor vendored _vendored_packages third_party thirdparty extern externals idlelib
    lib2to3 turtledemo docs examples ensurepip _distutils_hack site-packages dist-packages
    """.split()
)


def normalised(name: str) -> str:
    """A project's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def usable(path: str) -> bool:
    """Whether a file is a project's own code, neither tests nor vendored."""
    parts = path.split("/")
    name = parts[-1]
    return (
        name.endswith(".py")
        and not SKIPPED_PARTS & set(parts)
        and not name.startswith(("test_", "conftest"))
        and not name.endswith("_test.py")
    )


def wheels(folder: Path) -> dict[tuple[str, str], Path]:
    """(normalised project, version) -> wheel."""
    return {
        (normalised(wheel.name.split("-")[0]), wheel.name.split("-")[1]): wheel
        for wheel in sorted(folder.glob("*.whl"))
    }


def wheel_sources(wheel: Path) -> Iterator[tuple[str, str]]:
    """(path, text) of the usable Python files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if usable(name):
                yield name, archive.read(name).decode("utf-8", errors="replace")


def library_sources() -> Iterator[tuple[str, str]]:
    """The same for the standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if usable(path.relative_to(root).as_posix()):
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8", errors="replace")
