"""Which paths a candidate may name at all, before any tree is looked at.

Covered: absolute paths, `..`, `.`, empty parts, NUL, `.git` in any spelling that a file system may fold, a path below
another one of the same set. Not covered: symbolic links, which only the tree itself can tell.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

from swarmcode.errors import DiffError


def check(paths: Iterable[str]) -> None:
    """Raises `DiffError` at the first path that leaves the tree, touches git's own files or clashes with another."""
    known = set(paths)
    for path in sorted(known):
        if complaint := _complaint(path):
            raise DiffError(f"{path!r} {complaint}")
        for parent in PurePosixPath(path).parents:
            if str(parent) in known:
                raise DiffError(f"{path!r} lies below {str(parent)!r}, which the same change writes as a file")


def _complaint(path: str) -> str:
    if not path:
        return "is no path"
    if "\0" in path:
        return "holds a NUL"
    if path.startswith("/"):
        return "is absolute"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "leaves the tree or is not in its simplest form"
    if any(part.lower().rstrip(". ") == ".git" for part in parts):
        return "belongs to git"
    return ""
