"""A tree that one agent works on: what it changes lies over the tree in memory, and nobody else sees it.

Guarded here: only listed regular files are read, so no path leaves the snapshot and no link is followed; only files of
the subtask's scope are written, which no test and nothing that steers the tests is in. Not covered: what changed code
does; that is the sandbox's.
"""

import posixpath
from pathlib import Path

from swarmcode.diff import is_test_file, render
from swarmcode.flow import Changes
from swarmcode.roles import is_plain
from swarmcode.tree import Tree

LARGEST = 1 << 20
"""Bytes of a file that an agent may read or write."""


class Refused(ValueError):  # it is an answer to the model, not an error of the program
    """What an agent may not do or what is not there: a sentence for the model."""


class Overlay:
    """One agent's tree."""

    def __init__(self, tree: Tree, writes: frozenset[str], home: Path) -> None:
        self._tree = tree
        self._writes = writes
        self._home = home.as_posix()
        self._own: dict[str, bytes] = {}
        self.version = 0
        """Goes up with each write."""

    @property
    def files(self) -> frozenset[str]:
        """Every path that is there."""
        return self._tree.files.union(self._tree.changes, self._own) - self._gone

    @property
    def changes(self) -> Changes:
        """All that differs from the base, what lay under this overlay included."""
        return {**self._tree.changes, **self._own}

    @property
    def diff(self) -> str:
        """What this agent changed; empty where all is as it was."""
        return render(self._own, self._tree.read)

    def path(self, told: str) -> str:
        """The path that a model means, relative to the repository. Raises `Refused`."""
        bare = told.strip()
        if bare == self._home or bare.startswith(self._home + "/"):
            bare = bare[len(self._home) :].lstrip("/")
        bare = posixpath.normpath(bare) if bare and not bare.startswith("/") else bare
        if bare == ".":
            return ""
        if bare and not is_plain(bare):
            raise Refused(f"{told[:200]!r} is no path inside the repository.")
        return bare

    def text(self, told: str) -> str:
        """The content of a file. Raises `Refused`."""
        path = self.path(told)
        content = self._own[path] if path in self._own else self._tree.read(path)
        if content is None:
            raise Refused(f"There is no file {path or told!r}.{self._nearest(path)}")
        if len(content) > LARGEST:
            raise Refused(f"{path} is too large to be shown: {len(content):,} bytes.")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise Refused(f"{path} is no text.") from None

    def write(self, told: str, text: str, *, new: bool = False) -> str:
        """Puts a whole file; `new`: one that must not be there. Its path. Raises `Refused`."""
        path = self.path(told)
        if path not in self._writes:
            raise Refused(self._why_not(path))
        if new and path in self.files:
            raise Refused(f"{path} is there already; change it with strreplace or insert.")
        content = text.encode(errors="replace")
        if len(content) > LARGEST:
            raise Refused(f"{path} would be too large: {len(content):,} bytes.")
        self._own[path] = content
        self.version += 1
        return path

    @property
    def _gone(self) -> frozenset[str]:
        return frozenset(path for path, content in self._tree.changes.items() if content is None)

    def _why_not(self, path: str) -> str:
        if is_test_file(path):
            return f"{path} belongs to the tests or steers them; it may not be changed."
        some = sorted(self._writes)[:20]
        more = f" and {len(self._writes) - 20} more" if len(self._writes) > 20 else ""
        return f"{path} may not be changed; these may: {', '.join(some)}{more}."

    def _nearest(self, path: str) -> str:
        """Files of the same name, as a hint."""
        name = posixpath.basename(path)
        alike = sorted(known for known in self.files if posixpath.basename(known) == name)[:5] if name else []
        return f" Files of that name: {', '.join(alike)}." if alike else ""
