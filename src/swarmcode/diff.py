"""What a submitted diff is worth: its scope, what it makes of the base, its identity. Pure, but for reading the base.

What a model submits is untrusted. Guarded here: paths that are absolute, climb (`..`), enter `.git`, or lie outside
the subtask's scope; files of the tests, and what a test runner or Python loads by itself; links, submodules, mode
changes, renames, copies and binary patches. A candidate's own diff is written anew from the whole files that result, so
nothing that hides in a submitted header travels on. Not covered: what the changed code does; that is the sandbox's.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from swarmcode.errors import DiffError
from swarmcode.flow import Attempt, Candidate, Changes, Subtask
from swarmcode.roles import is_plain, is_test, steers_tests
from swarmcode.syntax import fingerprint, first_error
from swarmcode.tree import Tree
from swarmcode.unified import FilePatch, diff_text, lines_of, parse

__all__ = [
    "apply",
    "check_scope",
    "diff_text",
    "is_test_file",
    "key",
    "line_edit",
    "overlap",
    "parse",
    "render",
    "to_candidate",
]

Read = Callable[[str], bytes | None]
"""Path -> content; None where there is no such file."""


def check_scope(patches: Iterable[FilePatch], writes: Iterable[str]) -> None:
    """Raises `DiffError` with the reason where a patch does more than change the text of files in `writes`."""
    scope = frozenset(writes)
    for patch in patches:
        for path in {patch.old, patch.new} - {None}:
            assert path is not None
            _check_path(path, scope)
        if patch.complaint:
            raise DiffError(f"{patch.path}: {patch.complaint}")


def is_test_file(path: str) -> bool:
    """Whether the file belongs to the tests or steers them: no candidate may touch it, whatever its subtask says."""
    return is_test(path) or steers_tests(path)


def apply(patches: Iterable[FilePatch], read: Read) -> Changes:
    """Whole new files, every hunk exactly at its lines: stricter than `git apply`, which searches nearby.

    Raises `DiffError` where the old lines are not what `read` gives.
    """
    changes: dict[str, bytes | None] = {}
    for patch in patches:
        old = None if patch.old is None else _current(patch.old, changes, read)
        if patch.old is None and _current(patch.path, changes, read) is not None:
            raise DiffError(f"{patch.path}: the diff makes this file, but it is there already")
        # A file that is not there is as good as an empty one to a patch that only adds.
        if patch.old is not None and old is None and (patch.new is None or any(hunk.old for hunk in patch.hunks)):
            raise DiffError(f"{patch.old}: no such file")
        content = _patched(patch, old or b"")
        if patch.new is None and content:
            raise DiffError(f"{patch.old}: the diff deletes the file but leaves lines in it")
        if patch.old is not None and patch.old != patch.new:
            changes[patch.old] = None
        if patch.new is not None:
            changes[patch.new] = content
    return changes


def line_edit(path: str, old: str, line: int, new: str | Sequence[str]) -> str:
    """Diff that puts one or several lines (without line ends) in the place of line `line` (from 1) of `old`.

    The replaced line's own end is kept. Raises `DiffError` where there is no such line.
    """
    lines = lines_of(old)
    if not 1 <= line <= len(lines):
        raise DiffError(f"{path} has no line {line}")
    replaced = lines[line - 1]
    end = replaced[len(replaced.rstrip("\r\n")) :]
    fresh = [new] if isinstance(new, str) else list(new)
    # A last line without an end has none afterwards either, but the lines before it need one.
    inner = end or ("\r\n" if "\r\n" in old else "\n")
    return diff_text(
        path, old, "".join(lines[: line - 1]) + inner.join(fresh) + (end if fresh else "") + "".join(lines[line:])
    )


def render(changes: Changes, read: Read) -> str:
    """One diff of all changes against what `read` gives, files in order of their names."""
    return "".join(diff_text(path, _text(read(path)), _text(changes[path])) for path in sorted(changes))


def key(changes: Changes, read: Read) -> str:
    """Normalised identity of changes to the base that `read` gives: equal for equal syntax trees, whatever spacing,
    comments, parentheses or quotes. Empty where no file's tree changes, so where there is nothing to try."""
    told = []
    for path in sorted(changes):
        new, old = changes[path], read(path)
        before = "" if old is None else fingerprint(path, old)
        after = "" if new is None else fingerprint(path, new, like=old)
        if before != after:
            told.append(f"{path}\0{after}")
    return hashlib.sha256("\n".join(told).encode(errors="surrogateescape")).hexdigest()[:32] if told else ""


def to_candidate(attempt: Attempt, subtask: Subtask, tree: Tree) -> Candidate:
    """What an attempt submitted against `tree`, if it is worth trying.

    Raises `DiffError` with the reason where it does not parse, leaves the subtask's scope, does not apply, changes
    nothing that a parser would see, or newly breaks a file's syntax. The candidate is told against the tree's base:
    changes that are stacked on `tree` are part of it.
    """
    patches = parse(attempt.diff)
    check_scope(patches, subtask.writes)
    own = apply(patches, tree.read)
    _check_worth(own, tree.read)
    changes = {**tree.changes, **own}
    base = Tree(root=tree.root, files=tree.files)
    identity = key(changes, base.read)
    if not identity:
        raise DiffError("it takes back what was changed before, and does no more")
    return Candidate(
        attempt=attempt.id,
        subtask=subtask.id,
        diff=render(changes, base.read),
        changes=changes,
        key=identity,
        score=attempt.score,
    )


def overlap(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates change the same or adjacent lines of one file, or both make or delete it."""
    mine, theirs = _touched(one.diff), _touched(other.diff)
    return any(
        start <= other_end + 1 and other_start <= end + 1
        for path in mine.keys() & theirs.keys()
        for start, end in mine[path]
        for other_start, other_end in theirs[path]
    )


def _check_path(path: str, scope: frozenset[str]) -> None:
    if not is_plain(path):
        raise DiffError(f"{path!r} is no plain path inside the repository, or lies in git's own folder")
    if is_test(path):
        raise DiffError(f"{path} belongs to the tests")
    if steers_tests(path):
        raise DiffError(f"{path} steers how the tests run")
    if path not in scope:
        raise DiffError(f"{path} is not among the files that this subtask may write")


def _current(path: str, changes: Changes, read: Read) -> bytes | None:
    return changes[path] if path in changes else read(path)


def _patched(patch: FilePatch, old: bytes) -> bytes:
    lines = lines_of(old)
    result: list[bytes] = []
    done = 0
    for hunk in patch.hunks:
        end = hunk.start + len(hunk.old)
        if hunk.start < done or tuple(lines[hunk.start : end]) != hunk.old:
            raise DiffError(f"{patch.path}: the diff does not fit at line {hunk.start + 1}")
        result += lines[done : hunk.start]
        result += hunk.new
        done = end
    return b"".join((*result, *lines[done:]))


def _check_worth(changes: Changes, read: Read) -> None:
    if not key(changes, read):
        raise DiffError("it changes nothing but spelling")
    for path, new in changes.items():
        if new is None:
            continue
        old = read(path)
        line = first_error(path, new, like=old)
        if line is not None and (old is None or first_error(path, old) is None):
            raise DiffError(f"{path}:{line}: it breaks the syntax")


@lru_cache(maxsize=4096)
def _touched(diff: str) -> dict[str, tuple[tuple[int, int], ...]]:
    """Path -> ranges of old lines."""
    whole_file = ((0, 2**31),)
    return {
        patch.path: tuple(hunk.touched for hunk in patch.hunks) if patch.old and patch.new else whole_file
        for patch in (parse(diff) if diff else ())
    }


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="surrogateescape")
