"""A fix as a new branch: one commit on top of HEAD, made beside work tree, index and HEAD, which stay as they are.

Git keeps files in another form than they have on disk where line endings are normalised (`eol=crlf`, `core.autocrlf`).
That is followed, by looking at both. Not covered: other filters and encodings; there the fix does not apply, which is
said.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from swarmcode.errors import StateError, UsageError
from swarmcode.gitdir import GitDir, GitFailed, ended, find, private_dir
from swarmcode.repo import Snapshot
from swarmcode.sections import sections, with_line_feeds

_AUTHOR: Final = ("swarmcode", "swarmcode@localhost")
"""Who commits where git knows no name."""
_NO_NAMES: Final = ("@", "HEAD")
"""What git of some versions takes for a branch's name, and then for something else."""


def check_branch(repo: Path, name: str) -> None:
    """Raises `UsageError` where branch `name` cannot be made: there is no commit to build on, or the name is invalid or
    taken."""
    _head(_home(repo.resolve()), name)


def make_branch(repo: Path, snapshot: Snapshot, name: str, diff: str, message: str) -> str:
    """Makes branch `name`: one commit with the diff, whose paths begin at the repository's top, on top of HEAD.

    Returns the commit's id. Raises `UsageError` as `check_branch`, and where the diff does not apply to the last
    commit; `StateError` where the repository cannot be written.
    """
    home = _home(repo.resolve())
    head = _head(home, name)
    ground = _Ground(home=home, head=head, snapshot=snapshot, folder=repo.resolve())
    try:
        return _made(ground, name, ground.as_committed(diff), message)
    except OSError as error:
        raise StateError(
            f"branch {name} cannot be made: {error.strerror}", "free space; nothing else was changed"
        ) from error


def _made(ground: "_Ground", name: str, diff: str, message: str) -> str:
    home, head = ground.home, ground.head
    with tempfile.TemporaryDirectory(dir=ground.snapshot.store) as scratch:
        # First on the side: a diff that does not apply leaves nothing behind in the user's object store.
        aside = private_dir(Path(scratch) / "git", home.top, stands_for=home)
        try:
            _apply_to(aside, head, diff)
        except GitFailed as error:
            raise UsageError(f"the fix does not apply to the last commit: {error}", ground.cause(diff)) from error
        stage = replace(home, index=Path(scratch) / "index")
        try:
            _apply_to(stage, head, diff)
            tree = stage.call("write-tree").decode().strip()
            commit = _commit(stage, tree, head, message)
            stage.call("update-ref", "-m", "swarmcode", f"refs/heads/{name}", commit, "0" * len(commit))
        except GitFailed as error:
            raise StateError(f"branch {name} cannot be made: {error}", "nothing else was changed") from error
    return commit


class _Ground:
    """The last commit, and what was on disk beside it."""

    def __init__(self, *, home: GitDir, head: str, snapshot: Snapshot, folder: Path) -> None:
        self.home = home
        self.head = head
        self.snapshot = snapshot
        self._inside = folder.relative_to(home.top)

    def as_committed(self, diff: str) -> str:
        """The diff with the line ends that git keeps."""
        return "".join(with_line_feeds(part) if self._is_normalised(path) else part for path, part in sections(diff))

    def _is_normalised(self, path: str) -> bool:
        kept, there = self._kept(path), self._there(path)
        return kept is not None and there is not None and kept != there and kept == there.replace(b"\r\n", b"\n")

    def cause(self, diff: str) -> str:
        """What is to be done about a diff that does not apply."""
        for path, _ in sections(diff):
            nearest = find((self.home.top / path).parent)
            if nearest is not None and nearest.top != self.home.top:
                return f"{path} belongs to another repository, {nearest.top}: run there, or use --apply"
        for path, _ in sections(diff):
            if self._kept(path) != self._there(path) and not self._is_normalised(path):
                return f"{path} is not committed as it is on disk: commit it first, or use --apply"
        return "use --apply instead"

    def _kept(self, path: str) -> bytes | None:
        try:
            return self.home.call("cat-file", "blob", f"{self.head}:{path}")
        except GitFailed:
            return None

    def _there(self, path: str) -> bytes | None:
        if not Path(path).is_relative_to(self._inside):
            return None
        place = self.snapshot.root / Path(path).relative_to(self._inside)
        return place.read_bytes() if place.is_file() and not place.is_symlink() else None


def _home(repo: Path) -> GitDir:
    home = find(repo)
    if home is None:
        raise UsageError(
            f"{repo} is not in a git repository, so there is nothing to branch from", "use --apply instead"
        )
    return home


def _head(home: GitDir, name: str) -> str:
    """The commit that HEAD stands at, once it is sure that `name` can be branched from it."""
    try:
        meant = home.call("check-ref-format", "--branch", name).decode(errors="surrogateescape").strip()
    except GitFailed:
        meant = None
    if meant != name or name in _NO_NAMES:  # `@{-1}` means another branch
        raise UsageError(f"{name!r} is no valid branch name", "see `git help check-ref-format`")
    try:
        head = home.call("rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()
    except GitFailed:
        raise UsageError(f"{home.top} has no commit yet to branch from", "commit first, or use --apply") from None
    for other in _branches(home, name.split("/")[0]):
        if other == name:
            raise UsageError(f"branch {name} is there already", "choose another name, or delete it first")
        if other.startswith(f"{name}/") or name.startswith(f"{other}/"):
            raise UsageError(f"branch {name} cannot be beside branch {other}", "choose another name, or delete that")
    return head


def _branches(home: GitDir, first: str) -> Iterator[str]:
    """Names of the branches whose first part is `first`."""
    told = home.call("for-each-ref", "--format=%(refname)", f"refs/heads/{first}")
    for line in told.decode(errors="surrogateescape").splitlines():
        yield line.removeprefix("refs/heads/")


def _apply_to(stage: GitDir, commit: str, diff: str) -> None:
    """Fills the index with a commit and a diff."""
    stage.call("read-tree", commit)
    stage.call("apply", "--cached", "-", given=ended(diff))


def _commit(stage: GitDir, tree: str, parent: str, message: str) -> str:
    names = [
        stage.setting(f"user.{field}") or default for field, default in zip(("name", "email"), _AUTHOR, strict=True)
    ]
    settings = dict(zip(("user.name", "user.email"), names, strict=True))
    given = message.encode(errors="replace")
    return stage.call("commit-tree", tree, "-p", parent, "-F", "-", given=given, settings=settings).decode().strip()
