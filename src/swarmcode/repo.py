"""The repository: a snapshot of what is on disk, and what is done to it with git.

Snapshots never change a byte of the user's repository: git works in a private git dir inside the run folder, on a copy
of the user's index; no hook, filter, attribute, alias, fsmonitor or external diff of the repository runs, no lock is
taken, no index refreshed, and nothing is fetched. What is on disk is what is taken, byte for byte: line endings are not
converted, LFS pointers and clean filters are not followed. Only `write`, and the room `branch`, touch the user's side,
when asked. Not covered: a hostile index or object file that exploits git itself.

Diffs are text that stands for bytes by UTF-8 with surrogate escapes.
"""

import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swarmcode import worktree
from swarmcode.errors import DiffError, StateError, UsageError
from swarmcode.flow import Changes
from swarmcode.gitdir import GitDir, GitFailed, ended, find, private_dir
from swarmcode.roles import is_plain
from swarmcode.tree import Tree
from swarmcode.worktree import Listing

_ORDINARY_MODES: Final = (b"100644", b"100755")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was on disk when a run began."""

    tree: str
    """Git tree id of `root`."""
    root: Path
    """Folder with a copy of every file that was taken; nobody writes there."""
    files: tuple[str, ...]
    """Text files that one may edit: regular, tracked or untracked, not ignored; in order."""
    skipped: tuple[str, ...]
    """What was left out and why, a line each, for a person."""
    store: Path
    """Private git dir with the objects of `tree`."""

    @property
    def reader(self) -> Tree:
        """The files as the stages read them."""
        return Tree(root=self.root, files=frozenset(self.files))


def take(repo: Path, into: Path, *, leave: Collection[Path] = ()) -> Snapshot:
    """Takes a snapshot of the folder `repo`, in git or not, into the folder `into`.

    Tracked and untracked files are taken as they are on disk, the ignored ones as far as tests may need them,
    submodules and nested repositories with their files. A folder inside a repository is taken alone. Nothing under
    `into` and `leave` is taken. Raises `UsageError` where `repo` is no folder, `StateError` where `into` cannot be
    written.
    """
    repo = repo.resolve()
    if not repo.is_dir():
        raise UsageError(f"{repo} is no folder", "pass the folder of the repository with --repo")
    root, store = into / "base", into / "git"
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into) as scratch:
            listing, warnings = _listing(repo, Path(scratch))
        copied = worktree.copy(repo, root, listing, leave=(into.resolve(), *(path.resolve() for path in leave)))
        private = private_dir(store, root, stands_for=None)
        private.call("add", "--all", "--force", "--", ".")
        tree = private.call("write-tree").decode().strip()
    except (OSError, GitFailed) as error:
        raise StateError(
            f"the snapshot cannot be written to {into}: {error}", "free space, or set SWARMCODE_HOME"
        ) from error
    return Snapshot(tree=tree, root=root, files=copied.files, skipped=(*warnings, *copied.skipped), store=store)


def apply_diff(snapshot: Snapshot, diff: str) -> Changes:
    """What a diff makes of the snapshot, as `git apply` sees it. Raises `DiffError` with git's reason."""
    return combine(snapshot, (diff,))[1]


def combine(snapshot: Snapshot, diffs: Iterable[str]) -> tuple[str, Changes]:
    """Applies diffs on top of each other, in order; the combined diff and the files that result.

    Raises `DiffError` where one does not apply to what those before it left, or does more than change text.
    """
    with _staged(snapshot) as stage:
        for number, diff in enumerate(diffs, start=1):
            try:
                stage.call("apply", "--cached", "-", given=ended(diff))
            except GitFailed as error:
                raise DiffError(f"diff {number} does not apply: {error}") from error
        return _told(stage, snapshot), _changed(stage, snapshot)


def diff_of(snapshot: Snapshot, changes: Changes) -> str:
    """The canonical unified diff of whole files against the snapshot; empty where nothing changes.

    Raises `DiffError` where a path is none inside the repository.
    """
    with _staged(snapshot) as stage:
        try:
            _lay(stage, changes)
        except GitFailed as error:
            raise DiffError(f"the changes make no tree: {error}") from error
        return _told(stage, snapshot)


def write(repo: Path, snapshot: Snapshot, changes: Changes) -> None:
    """Writes changes into the work tree: all, or none. Raises `UsageError` where a file is no longer as the snapshot
    has it, `StateError` where it cannot be written."""
    worktree.write(repo.resolve(), snapshot.root, changes)


def _listing(folder: Path, scratch: Path) -> tuple[Listing, list[str]]:
    """What git knows of a folder's files, without a byte of its repository changed; and warnings."""
    home = find(folder)
    top = home.top if home else folder
    private = private_dir(Path(tempfile.mkdtemp(dir=scratch)), top, stands_for=home)
    excludes = os.path.expanduser(private.setting("core.excludesFile"))
    settings = {"core.excludesFile": excludes} if excludes else {}
    ask = ("-C", str(folder), "ls-files", "-z", "-t", "--cached", "--others", "--exclude-standard")
    warnings: list[str] = []
    try:
        answer = private.call(*ask, settings=settings)
    except GitFailed as error:
        warnings.append(f"{top}: git's index cannot be read ({error}); taken as if nothing were tracked")
        private.index.unlink(missing_ok=True)
        answer = private.call(*ask, settings=settings)
    tracked: set[str] = set()
    untracked: set[str] = set()
    for entry in filter(None, os.fsdecode(answer).split("\0")):
        tag, path = entry[0], entry[2:].rstrip("/")
        place = folder / path
        if place.is_dir() and not place.is_symlink():
            if (place / ".git").exists():
                inner, more = _listing(place, scratch)
                tracked |= {f"{path}/{name}" for name in inner.tracked}
                untracked |= {f"{path}/{name}" for name in inner.untracked}
                warnings += more
        elif tag == "?":
            untracked.add(path)
        else:
            tracked.add(path)
    return Listing(tracked=frozenset(tracked), untracked=frozenset(untracked)), warnings


@contextmanager
def _staged(snapshot: Snapshot) -> Iterator[GitDir]:
    """The snapshot's git dir with an index of its own, so that many may work at once. Raises `StateError`."""
    try:
        with tempfile.TemporaryDirectory(dir=snapshot.store) as scratch:
            index = Path(scratch) / "index"
            shutil.copyfile(snapshot.store / "index", index)
            yield GitDir(folder=snapshot.store, common=snapshot.store, top=snapshot.root, index=index)
    except OSError as error:
        raise StateError(
            f"{snapshot.store} cannot be written: {error.strerror}", "free space, or set SWARMCODE_HOME"
        ) from error


def _lay(stage: GitDir, changes: Changes) -> None:
    """Puts whole files into the index; existing ones keep their mode."""
    for path in changes:
        # Git would silently leave these out.
        if not is_plain(path):
            raise DiffError(f"{path!r} is no plain path inside the repository, or lies in git's own folder")
    modes = _modes(stage, changes)
    lines = []
    for path, content in changes.items():
        if content is None:
            lines.append(b"0 " + b"0" * 40 + b"\t" + os.fsencode(path))
        else:
            blob = stage.call("hash-object", "-w", "--stdin", given=content).strip()
            lines.append(modes.get(path, b"100644") + b" " + blob + b"\t" + os.fsencode(path))
    stage.call("update-index", "-z", "--index-info", given=b"".join(line + b"\0" for line in lines))


def _modes(stage: GitDir, paths: Iterable[str]) -> dict[str, bytes]:
    answer = stage.call("ls-files", "-z", "--stage", "--", *paths)
    entries = (entry.split(b"\t", 1) for entry in answer.split(b"\0") if entry)
    return {os.fsdecode(path): facts.split(b" ", 1)[0] for facts, path in entries}


def _told(stage: GitDir, snapshot: Snapshot) -> str:
    form = ("--patch", "--unified=3", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "--binary")
    answer = stage.call("diff-index", "--cached", *form, snapshot.tree)
    return answer.decode(errors="surrogateescape")


def _changed(stage: GitDir, snapshot: Snapshot) -> Changes:
    """Whole files of the index that differ from the snapshot. Raises `DiffError` on anything but changed text."""
    answer = stage.call("diff-index", "--cached", "--raw", "--no-abbrev", "--no-renames", "-z", snapshot.tree)
    fields = answer.split(b"\0")
    changes: dict[str, bytes | None] = {}
    for facts, name in zip(fields[0:-1:2], fields[1::2], strict=True):
        old_mode, new_mode, _, blob, status = facts.lstrip(b":").split(b" ")
        path = os.fsdecode(name)
        if status == b"D":
            changes[path] = None
            continue
        if new_mode not in _ORDINARY_MODES:
            raise DiffError(f"{path}: the diff makes a link or submodule")
        if new_mode != (old_mode if status == b"M" else b"100644"):
            raise DiffError(f"{path}: the diff changes the file's mode")
        changes[path] = stage.call("cat-file", "blob", blob.decode())
    return changes
