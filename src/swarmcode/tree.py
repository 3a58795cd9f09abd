"""The tree that is worked on: the snapshot's files on disk, with the changes accepted so far laid over them.

Reading never follows a symbolic link out of the snapshot: only listed regular files can be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from swarmcode.flow import Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A base folder and what is stacked on it."""

    root: Path
    """Folder with the snapshot's files."""
    files: frozenset[str]
    """Paths that belong to the tree."""
    changes: Changes = field(default_factory=dict)
    """Whole new contents over the base."""

    def read(self, path: str) -> bytes | None:
        """The content of a file as it stands; None where the tree has no such regular file."""
        if path in self.changes:
            return self.changes[path]
        if path not in self.files:
            return None
        place = self.root / path
        return place.read_bytes() if place.is_file() and not place.is_symlink() else None

    def text(self, path: str) -> str | None:
        """As `read`, decoded; None also where it is not UTF-8."""
        content = self.read(path)
        if content is None:
            return None
        try:
            return content.decode()
        except UnicodeDecodeError:
            return None

    def stacked(self, changes: Mapping[str, bytes | None]) -> "Tree":
        """This tree with more changes laid over it."""
        gone = frozenset(path for path, content in changes.items() if content is None)
        return Tree(root=self.root, files=(self.files | changes.keys()) - gone, changes={**self.changes, **changes})
