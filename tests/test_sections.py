"""A folder's patch told from the repository's top is what git itself tells there, and applies wherever one stands."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from swarmcode.gitdir import inside
from swarmcode.repo import Snapshot, diff_of, take
from swarmcode.sections import rooted, sections, with_line_feeds

NAMES = (
    "plain.py",
    "with space.py",
    "größe.py",
    'quo"te.py',
    "back\\slash.py",
    "tab\there.py",
    "a b/c d.py",
    "deep/er/x.py",
)
BEFORE = b"one\n-- a/old\n++ b/new\nfour\n"
AFTER = b"one\n-- a/other\n++ b/more\n@@ -1 +1 @@\nfour"


def git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", "user.name=ann", "-c", "user.email=ann@example.org", *arguments]
    return subprocess.run(
        command, cwd=folder, env=os.environ | quiet, input=given, check=True, capture_output=True
    ).stdout


@pytest.fixture(params=["pkg", "two words/größe", 'quo"te'])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder in a repository, with files of every kind of name, committed."""
    place = tmp_path / "project" / request.param
    for name in (*NAMES, "gone.py"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(BEFORE)
    (place / "data.bin").write_bytes(b"\0\1\2")
    top = tmp_path / "project"
    git(top, "init", "-q", "-b", "main")
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "first")
    return place


def changed(snapshot: Snapshot) -> str:
    """A diff that edits every file, deletes one, makes one, and changes one that is no text."""
    edits: dict[str, bytes | None] = dict.fromkeys(NAMES, AFTER)
    return diff_of(snapshot, edits | {"gone.py": None, "neu/ö.py": b"new\n", "empty.py": b"", "data.bin": b"\0\3\2"})


def test_it_is_what_git_tells_at_the_top(folder: Path, tmp_path: Path) -> None:
    """Byte for byte, but for the abbreviated ids of contents: prefixes, quotes, tabs, /dev/null."""
    top = tmp_path / "project"
    told = rooted(changed(take(folder, tmp_path / "run")), inside(folder))
    git(folder, "apply", "-", given=told.encode())
    git(top, "add", "-A")
    expected = git(top, "diff", "--cached", "--binary", "--no-renames", "HEAD").decode()
    ids = re.compile(r"^index .*\n", re.MULTILINE)
    assert ids.sub("", told) == ids.sub("", expected)


@pytest.mark.parametrize("stand", ["at the top", "in the folder"])
def test_it_applies_from_the_top_and_from_the_folder(folder: Path, tmp_path: Path, stand: str) -> None:
    """`git apply` does what the patch says, wherever in the repository one stands."""
    told = rooted(changed(take(folder, tmp_path / "run")), inside(folder))
    git(folder if stand == "in the folder" else tmp_path / "project", "apply", "-", given=told.encode())
    assert {(folder / name).read_bytes() for name in NAMES} == {AFTER}
    assert not (folder / "gone.py").exists()
    assert (folder / "neu" / "ö.py").read_bytes() == b"new\n"
    assert (folder / "data.bin").read_bytes() == b"\0\3\2"


def test_parts_are_the_whole(folder: Path, tmp_path: Path) -> None:
    """Every file has one part, under its own name, and nothing is lost between them."""
    diff = changed(take(folder, tmp_path / "run"))
    parts = list(sections(diff))
    assert "".join(part for _, part in parts) == diff
    assert sorted(path for path, _ in parts) == sorted((*NAMES, "gone.py", "neu/ö.py", "empty.py", "data.bin"))


def test_without_a_folder_nothing_changes() -> None:
    """At the top the diff is what it was, whatever it holds."""
    assert rooted("no diff\r\n", "") == "no diff\r\n"


def test_a_diff_without_gits_header() -> None:
    """The two names alone do as well."""
    plain = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n--- a/x.py\n+++ b/x.py\n"
    assert rooted(plain, "pkg") == "--- a/pkg/x.py\n+++ b/pkg/x.py\n@@ -1 +1 @@\n--- a/x.py\n+++ b/x.py\n"
    assert list(sections(plain)) == [("x.py", plain)]


def test_line_feeds_only_where_lines_end_in_both() -> None:
    """A carriage return that stands alone stays, also at the end of a file that does not end in a line feed."""
    diff = "@@ -1,2 +1,2 @@\n-a\rb\r\n+c\r\n d\r\n\\ No newline at end of file\n"
    assert with_line_feeds(diff) == "@@ -1,2 +1,2 @@\n-a\rb\n+c\n d\r\n\\ No newline at end of file\n"


def test_where_a_folder_lies(folder: Path, tmp_path: Path) -> None:
    """Relative to the nearest repository's top, links followed; empty at the top and outside of git."""
    top = tmp_path / "project"
    (tmp_path / "link").symlink_to(folder)
    assert inside(tmp_path / "link") == inside(folder) == folder.relative_to(top).as_posix()
    assert (inside(top), inside(tmp_path)) == ("", "")
