"""The repository: a snapshot of what is on disk, and everything that is done with git.

Snapshots never change a byte of the user's repository: git works in a private git dir inside the run folder, on a copy
of the user's index; no hook, filter, attribute, alias, fsmonitor or external diff of the repository runs, no lock is
taken, no index refreshed, and nothing is fetched. What is on disk is what is taken, byte for byte: line endings are not
converted, LFS pointers and clean filters are not followed. Only `write` and `branch` touch the user's side, when asked.
Not covered: a hostile index or object file that exploits git itself.

Diffs are text that stands for bytes by UTF-8 with surrogate escapes.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from swarmcode import worktree
from swarmcode.errors import DiffError, StateError, UsageError
from swarmcode.flow import Changes
from swarmcode.gitdir import ATTRIBUTES, GitDir, GitFailed, find
from swarmcode.roles import is_plain
from swarmcode.tree import Tree
from swarmcode.worktree import Listing

_AUTHOR: Final = ("swarmcode", "swarmcode@localhost")
"""Who commits where git knows no name."""
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
        private = _private(store, root, stands_for=None)
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
                stage.call("apply", "--cached", "-", given=_ended(diff))
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


def branch(repo: Path, snapshot: Snapshot, name: str, diff: str, message: str) -> str:
    """Makes branch `name`: one commit with the diff on top of HEAD. Work tree, index and HEAD stay as they are.

    Returns the commit's id. Raises `UsageError` where there is no commit to build on, the name is invalid or taken, or
    the diff needs changes that are not committed; `StateError` where the repository cannot be written.
    """
    repo = repo.resolve()
    home = find(repo)
    if home is None:
        raise UsageError(
            f"{repo} is not in a git repository, so there is nothing to branch from", "use --apply instead"
        )
    head = _verified(home, name)
    inside = repo.relative_to(home.top).as_posix()
    with tempfile.TemporaryDirectory(dir=snapshot.store) as scratch:
        # First on the side: a diff that does not apply leaves nothing behind in the user's object store.
        aside = _private(Path(scratch) / "git", home.top, stands_for=home)
        try:
            _apply_to(aside, head, diff, inside)
        except GitFailed as error:
            raise UsageError(
                f"the fix does not apply to the last commit: {error}",
                "it builds on changes that are not committed: commit them first, or use --apply",
            ) from error
        stage = replace(home, index=Path(scratch) / "index")
        try:
            _apply_to(stage, head, diff, inside)
            tree = stage.call("write-tree").decode().strip()
            commit = _commit(stage, tree, head, message)
            stage.call("update-ref", "-m", "swarmcode", f"refs/heads/{name}", commit, "0" * len(commit))
        except GitFailed as error:
            raise StateError(f"branch {name} cannot be made: {error}", "nothing else was changed") from error
    return commit


def _listing(folder: Path, scratch: Path) -> tuple[Listing, list[str]]:
    """What git knows of a folder's files, without a byte of its repository changed; and warnings."""
    home = find(folder)
    top = home.top if home else folder
    private = _private(Path(tempfile.mkdtemp(dir=scratch)), top, stands_for=home)
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


def _private(folder: Path, top: Path, *, stands_for: GitDir | None) -> GitDir:
    """A git dir of our own; where it stands for a user's, with copies of its index and excludes, and its objects."""
    for name in ("objects", "refs", "info"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "info" / "attributes").write_text(ATTRIBUTES)
    config = "[core]\n\trepositoryFormatVersion = 0\n\tbare = false\n"
    if stands_for is not None:
        if _is_sha256(stands_for.common):
            config = config.replace("= 0", "= 1") + "[extensions]\n\tobjectFormat = sha256\n"
        copies = [(stands_for.index, "index"), (stands_for.common / "info" / "exclude", "info/exclude")]
        copies += [(shared, shared.name) for shared in stands_for.folder.glob("sharedindex.*")]
        for source, name in copies:
            if source.is_file():
                shutil.copyfile(source, folder / name)
    (folder / "config").write_text(config)
    alternates = stands_for.common / "objects" if stands_for else None
    return GitDir(folder=folder, common=folder, top=top, index=folder / "index", alternates=alternates)


def _is_sha256(common: Path) -> bool:
    try:
        config = (common / "config").read_text(errors="replace")
    except OSError:
        return False
    return re.search(r"^\s*objectformat\s*=\s*\"?sha256", config, re.IGNORECASE | re.MULTILINE) is not None


@contextmanager
def _staged(snapshot: Snapshot) -> Iterator[GitDir]:
    """The snapshot's git dir with an index of its own, so that many may work at once."""
    with tempfile.TemporaryDirectory(dir=snapshot.store) as scratch:
        index = Path(scratch) / "index"
        shutil.copyfile(snapshot.store / "index", index)
        yield GitDir(folder=snapshot.store, common=snapshot.store, top=snapshot.root, index=index)


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


def _verified(home: GitDir, name: str) -> str:
    """The commit that HEAD stands at, once it is sure that `name` can be branched from it."""
    try:
        home.call("check-ref-format", f"refs/heads/{name}")
    except GitFailed:
        raise UsageError(f"{name!r} is no valid branch name", "see `git help check-ref-format`") from None
    if name.startswith("-") or name == "HEAD":
        raise UsageError(f"{name!r} is no valid branch name", "see `git help check-ref-format`")
    try:
        head = home.call("rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()
    except GitFailed:
        raise UsageError(f"{home.top} has no commit yet to branch from", "commit first, or use --apply") from None
    if home.call("for-each-ref", "--format=%(refname)", f"refs/heads/{name}").strip():
        raise UsageError(f"branch {name} is there already", "choose another name, or delete it first")
    return head


def _apply_to(stage: GitDir, commit: str, diff: str, inside: str) -> None:
    """Fills the index with a commit and a diff of its folder `inside`."""
    stage.call("read-tree", commit)
    where = [f"--directory={inside}"] if inside != "." else []
    stage.call("apply", "--cached", *where, "-", given=_ended(diff))


def _commit(stage: GitDir, tree: str, parent: str, message: str) -> str:
    names = [
        stage.setting(f"user.{field}") or default for field, default in zip(("name", "email"), _AUTHOR, strict=True)
    ]
    settings = dict(zip(("user.name", "user.email"), names, strict=True))
    given = message.encode(errors="replace")
    return stage.call("commit-tree", tree, "-p", parent, "-F", "-", given=given, settings=settings).decode().strip()


def _ended(diff: str) -> bytes:
    return (diff if diff.endswith("\n") else f"{diff}\n").encode(errors="surrogateescape")
