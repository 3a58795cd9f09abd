"""A fix as a new branch: on the last commit, whatever form git keeps the files in, and only where there can be one."""

import os
import subprocess
from pathlib import Path

import pytest

from swarmcode.branch import check_branch, make_branch
from swarmcode.errors import UsageError
from swarmcode.repo import Snapshot, diff_of, take
from swarmcode.sections import rooted


def git(folder: Path, *arguments: str) -> str:
    """Runs git as a person would, with nothing of the machine's own settings."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", "gc.auto=0", "-c", "user.name=A Person", "-c", "user.email=person@example.org", *arguments]
    done = subprocess.run(command, cwd=folder, env=variables | quiet, check=True, capture_output=True, text=True)
    return done.stdout


def fill(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)


def every_byte(folder: Path) -> dict[str, object]:
    """All that can be seen of a folder but access times."""
    seen: dict[str, object] = {}
    for place in (folder, *folder.rglob("*")):
        facts = place.lstat()
        content = os.readlink(place) if place.is_symlink() else place.read_bytes() if place.is_file() else b""
        seen[str(place)] = (facts.st_mode, facts.st_mtime_ns, facts.st_ino, content)
    return seen


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "project"
    fill(
        folder,
        {"a.py": "one\ntwo\nthree\n", "pkg/b.py": "b = 1\n", "run.sh": "#!/bin/sh\n", ".gitignore": "*.log\nbuild/\n"},
    )
    (folder / "run.sh").chmod(0o755)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def snapshot(project: Path, tmp_path: Path) -> Snapshot:
    return take(project, tmp_path / "run")


def test_branch_adds_one_commit_and_touches_nothing_else(project: Path, tmp_path: Path) -> None:
    """The branch is HEAD and the fix; work tree, index and HEAD stay as they are, uncommitted work included."""
    fill(project, {"pkg/b.py": "b = 7\n", "new.py": "x\n"})
    git(project, "add", "new.py")
    taken = take(project, tmp_path / "run")
    status, head, index = (
        git(project, "status", "--short"),
        git(project, "rev-parse", "HEAD"),
        (project / ".git/index").read_bytes(),
    )
    commit = make_branch(project, taken, "swarm/fix", diff_of(taken, {"a.py": b"1\ntwo\nthree\n"}), "Fix it\n\nWhy.")
    assert git(project, "rev-parse", "swarm/fix").strip() == commit
    assert git(project, "rev-parse", "swarm/fix^") == head
    assert git(project, "diff", "--stat", "HEAD", "swarm/fix").split()[0] == "a.py"
    assert git(project, "log", "-1", "--format=%B", "swarm/fix").strip() == "Fix it\n\nWhy."
    assert git(project, "show", "swarm/fix:pkg/b.py") == "b = 1\n"
    assert (git(project, "status", "--short"), git(project, "rev-parse", "HEAD")) == (status, head)
    assert (project / ".git/index").read_bytes() == index
    assert git(project, "symbolic-ref", "HEAD").strip() == "refs/heads/main"
    assert git(project, "fsck", "--no-dangling").strip() == ""


def test_branch_of_a_subfolder(project: Path, tmp_path: Path) -> None:
    """Paths of a subfolder's snapshot are put where they belong."""
    taken = take(project / "pkg", tmp_path / "run")
    make_branch(project / "pkg", taken, "fix", rooted(diff_of(taken, {"b.py": b"b = 2\n"}), "pkg"), "Fix")
    assert git(project, "show", "fix:pkg/b.py") == "b = 2\n"


def test_branch_uses_the_name_that_git_knows(
    project: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The commit bears the person's name; where git knows none, the program's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    diff = diff_of(snapshot, {"a.py": b"x\n"})
    make_branch(project, snapshot, "nobody", diff, "Fix")
    git(project, "config", "user.name", "Ann Other")
    git(project, "config", "user.email", "ann@example.org")
    make_branch(project, snapshot, "ann", diff, "Fix")
    form = "--format=%an <%ae>"
    assert git(project, "log", "-1", form, "nobody").strip() == "swarmcode <swarmcode@localhost>"
    assert git(project, "log", "-1", form, "ann").strip() == "Ann Other <ann@example.org>"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("main", "there already"),
        ("a..b", "valid"),
        ("-x", "valid"),
        ("", "valid"),
        ("a b", "valid"),
        ("HEAD", "valid"),
        ("@", "valid"),
        ("@{-1}", "valid"),
        ("main/sub", "beside branch main"),
        ("deep", "beside branch deep/er"),
        ("x.lock", "valid"),
    ],
)
def test_branch_names_are_checked(project: Path, snapshot: Snapshot, name: str, complaint: str) -> None:
    """Invalid and taken names are usage errors, before anything is made and again when it is; so is a name that another
    branch leaves no room for."""
    git(project, "checkout", "-q", "-b", "deep/er")
    git(project, "checkout", "-q", "main")
    with pytest.raises(UsageError, match=complaint):
        check_branch(project, name)
    with pytest.raises(UsageError, match=complaint):
        make_branch(project, snapshot, name, diff_of(snapshot, {"a.py": b"x\n"}), "Fix")


def test_a_free_name_passes(project: Path) -> None:
    """Neighbours whose names merely begin alike do not matter, and looking makes nothing."""
    git(project, "branch", "fix/one")
    before = every_byte(project)
    for name in ("fix/two", "fix-1", "fix/one-more", "mai"):
        check_branch(project, name)
    assert every_byte(project) == before


def test_branch_needs_committed_ground(project: Path, tmp_path: Path) -> None:
    """A fix of lines that are not committed cannot stand on the last commit."""
    fill(project, {"a.py": "un\ndeux\ntrois\n"})
    taken = take(project, tmp_path / "run")
    before = every_byte(project / ".git")
    with pytest.raises(UsageError, match="last commit") as raised:
        make_branch(project, taken, "fix", diff_of(taken, {"a.py": b"un\n2\ntrois\n"}), "Fix")
    assert "commit" in raised.value.hint
    assert git(project, "branch", "--list", "fix") == ""
    assert every_byte(project / ".git") == before


def test_branch_needs_a_repository_and_a_commit(tmp_path: Path) -> None:
    """Without git, or before the first commit, there is nothing to branch from."""
    folder = tmp_path / "plain"
    fill(folder, {"a.py": "a\n"})
    taken = take(folder, tmp_path / "run")
    with pytest.raises(UsageError, match="not in a git repository"):
        check_branch(folder, "fix")
    with pytest.raises(UsageError, match="not in a git repository"):
        make_branch(folder, taken, "fix", diff_of(taken, {"a.py": b"b\n"}), "Fix")
    git(folder, "init", "-q")
    with pytest.raises(UsageError, match="no commit"):
        check_branch(folder, "fix")
    with pytest.raises(UsageError, match="no commit"):
        make_branch(folder, taken, "fix", diff_of(taken, {"a.py": b"b\n"}), "Fix")


@pytest.mark.parametrize("by", ["attributes", "autocrlf"])
def test_branch_where_git_normalises_line_ends(tmp_path: Path, by: str) -> None:
    """A clean tree with CRLF on disk, which git keeps with LF, takes the fix; the branch keeps LF, and checked out it
    has CRLF again. Files that git keeps with CRLF stay so."""
    folder = tmp_path / "dos"
    fill(folder, {"pkg/a.py": "one\r\ntwo\r\n", "raw.dat": "one\r\n"})
    git(folder, "init", "-q", "-b", "main")
    if by == "attributes":
        fill(folder, {".gitattributes": "*.py text eol=crlf\n*.dat -text\n"})
    else:
        fill(folder, {".gitattributes": "*.dat -text\n"})
        git(folder, "config", "core.autocrlf", "true")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    assert git(folder, "cat-file", "blob", "HEAD:pkg/a.py") == "one\ntwo\n"
    taken = take(folder, tmp_path / "run")
    diff = diff_of(taken, {"pkg/a.py": b"one\r\n2\r\n", "raw.dat": b"1\r\n"})
    make_branch(folder, taken, "fix", diff, "Fix")
    assert blob(folder, "fix:pkg/a.py") == b"one\n2\n"
    assert blob(folder, "fix:raw.dat") == b"1\r\n"
    git(folder, "checkout", "-q", "fix")
    assert (folder / "pkg" / "a.py").read_bytes() == b"one\r\n2\r\n"
    assert git(folder, "status", "--short") == ""


def test_branch_of_a_subfolder_with_normalised_line_ends(tmp_path: Path) -> None:
    """Both at once."""
    folder = tmp_path / "dos"
    fill(folder, {"pkg/a.py": "one\r\ntwo", ".gitattributes": "*.py text eol=crlf\n"})
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    taken = take(folder / "pkg", tmp_path / "run")
    make_branch(folder / "pkg", taken, "fix", rooted(diff_of(taken, {"a.py": b"1\r\ntwo"}), "pkg"), "Fix")
    assert blob(folder, "fix:pkg/a.py") == b"1\ntwo"


def test_a_fault_in_a_submodule_is_told_as_such(project: Path, tmp_path: Path) -> None:
    """What cannot be committed here is not said to be uncommitted: the other repository is named."""
    module = tmp_path / "module"
    fill(module, {"m.py": "m\n"})
    git(module, "init", "-q")
    git(module, "add", "-A")
    git(module, "commit", "-q", "-m", "x")
    git(project, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(module), "sub")
    git(project, "commit", "-q", "-m", "with a submodule")
    taken = take(project, tmp_path / "run")
    with pytest.raises(UsageError, match="last commit") as raised:
        make_branch(project, taken, "fix", diff_of(taken, {"sub/m.py": b"n\n"}), "Fix")
    assert raised.value.hint == f"sub/m.py belongs to another repository, {project / 'sub'}: run there, or use --apply"


def blob(folder: Path, name: str) -> bytes:
    return subprocess.run(["git", "cat-file", "blob", name], cwd=folder, check=True, capture_output=True).stdout
