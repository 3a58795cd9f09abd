"""Snapshots take what is on disk and change nothing; diffs apply as git applies them; fixes are written whole."""

import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode import diff as pure
from swarmcode import worktree
from swarmcode.branch import make_branch
from swarmcode.errors import DiffError, StateError, UsageError
from swarmcode.repo import Snapshot, apply_diff, combine, diff_of, take, write


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


def on_disk(folder: Path) -> set[str]:
    return {
        place.relative_to(folder).as_posix() for place in folder.rglob("*") if place.is_symlink() or place.is_file()
    }


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


def test_snapshot_is_what_is_on_disk(project: Path, tmp_path: Path) -> None:
    """Edited, staged, new and deleted files are taken as they lie on disk, with their modes and times."""
    fill(project, {"a.py": "edited\n", "new.py": "new\n", "staged.py": "staged\n"})
    git(project, "add", "staged.py")
    fill(project, {"staged.py": "and edited\n"})
    (project / "pkg" / "b.py").unlink()
    taken = take(project, tmp_path / "run")
    assert on_disk(taken.root) == {"a.py", "new.py", "staged.py", "run.sh", ".gitignore"}
    assert taken.files == (".gitignore", "a.py", "new.py", "run.sh", "staged.py")
    assert (taken.root / "staged.py").read_text() == "and edited\n"
    assert (taken.root / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (taken.root / "a.py").stat().st_mtime_ns == (project / "a.py").stat().st_mtime_ns
    assert taken.skipped == ()
    assert git(taken.store, "ls-tree", "-r", "--name-only", taken.tree).split() == sorted(on_disk(taken.root))


def test_snapshot_changes_nothing(project: Path, tmp_path: Path) -> None:
    """Not one byte, time or inode of the repository and its git dir changes, even where the index is stale."""
    fill(project, {"a.py": "edited\n"})
    os.utime(project / "run.sh", ns=(1, 1))
    before = every_byte(project)
    taken = take(project, tmp_path / "run")
    diff_of(taken, {"a.py": b"x\n"})
    apply_diff(taken, pure.diff_text("a.py", "edited\n", "x\n"))
    assert every_byte(project) == before


def test_equal_trees_have_equal_ids(project: Path, tmp_path: Path) -> None:
    """The tree id is that of the content: git itself computes the same for the same files."""
    taken = take(project, tmp_path / "run")
    assert taken.tree == git(project, "rev-parse", "HEAD^{tree}").strip()
    assert take(project, tmp_path / "again").tree == taken.tree


def test_folder_without_git(tmp_path: Path) -> None:
    """A plain folder works too, and its .gitignore counts."""
    folder = tmp_path / "plain"
    fill(
        folder,
        {"a.py": "a\n", "x.log": "log\n", ".gitignore": "*.log\n", "sub/.gitignore": "c.py\n", "sub/c.py": "c\n"},
    )
    taken = take(folder, tmp_path / "run")
    assert taken.files == (".gitignore", "a.py", "sub/.gitignore")
    assert on_disk(taken.root) == {".gitignore", "a.py", "sub/.gitignore", "sub/c.py", "x.log"}


@pytest.mark.parametrize("in_git", [True, False])
def test_empty_repository(tmp_path: Path, in_git: bool) -> None:
    """Nothing at all is a snapshot of nothing."""
    folder = tmp_path / "empty"
    folder.mkdir()
    if in_git:
        git(folder, "init", "-q")
    taken = take(folder, tmp_path / "run")
    assert taken.files == ()
    assert taken.tree == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    assert diff_of(taken, {}) == ""


def test_subfolder_is_taken_alone(project: Path, tmp_path: Path) -> None:
    """A folder inside a repository is the whole tree, and the outer .gitignore still counts."""
    fill(project, {"pkg/new.log": "x", "pkg/c.py": "c\n"})
    taken = take(project / "pkg", tmp_path / "run")
    assert taken.files == ("b.py", "c.py")
    assert on_disk(taken.root) == {"b.py", "c.py", "new.log"}


def test_path_through_a_link(project: Path, tmp_path: Path) -> None:
    """The repository may be named through a symbolic link."""
    (tmp_path / "link").symlink_to(project)
    assert take(tmp_path / "link", tmp_path / "run").files == (".gitignore", "a.py", "pkg/b.py", "run.sh")


@pytest.mark.parametrize("name", ["missing", "a.py"])
def test_what_is_no_folder_is_refused(project: Path, tmp_path: Path, name: str) -> None:
    """A path that is not there, or a file, is a usage error."""
    with pytest.raises(UsageError, match="is no folder"):
        take(project / name, tmp_path / "run")


def test_unwritable_run_folder_is_a_state_error(project: Path, tmp_path: Path) -> None:
    """Where the snapshot cannot be written, the message says where."""
    fill(tmp_path, {"file": "in the way"})
    with pytest.raises(StateError, match=r"cannot be written to .*file"):
        take(project, tmp_path / "file" / "run")


def test_ignored_artefacts_are_taken_and_caches_left(project: Path, tmp_path: Path) -> None:
    """What a build left may be needed by the tests; caches, environments and installed packages are not."""
    fill(
        project,
        {".gitignore": "*\n", "pkg/_version.py": "v\n", "pkg/fast.so": b"\x7fELF\0", "p.egg-info/PKG-INFO": "x\n"},
    )
    fill(
        project,
        {
            "venv/pyvenv.cfg": "",
            "venv/lib/x.py": "",
            "node_modules/x/i.js": "",
            "pkg/__pycache__/b.pyc": "",
            ".tox/x": "",
        },
    )
    fill(project, {"node_modules/tracked.js": "t\n"})
    git(project, "add", "-f", "node_modules/tracked.js")
    taken = take(project, tmp_path / "run")
    extra = {"pkg/_version.py", "pkg/fast.so", "p.egg-info/PKG-INFO", "node_modules/tracked.js"}
    assert on_disk(taken.root) == {"a.py", "pkg/b.py", "run.sh", ".gitignore"} | extra
    assert taken.files == (".gitignore", "a.py", "node_modules/tracked.js", "pkg/b.py", "run.sh")


def test_untracked_caches_are_left_without_a_gitignore(tmp_path: Path) -> None:
    """Nobody wants a virtual environment copied only because no .gitignore names it."""
    folder = tmp_path / "plain"
    fill(folder, {"a.py": "", "env/pyvenv.cfg": "", "env/x.py": "", ".pytest_cache/x": "", "__pycache__/a.pyc": ""})
    assert on_disk(take(folder, tmp_path / "run").root) == {"a.py"}


def test_large_files_are_skipped_with_a_warning(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Untracked files and ignored build output beyond a limit are left out, and named; tracked files never are."""
    monkeypatch.setattr(worktree, "LARGEST_FILE", 1000)
    monkeypatch.setattr(worktree, "LARGEST_BUILD", 500)
    fill(project, {"build/x": "x" * 400, "build/deep/y": "y" * 400, "data.bin": "d" * 1001, "dist/ok": "o" * 400})
    fill(project, {"large.py": "l" * 2000})
    git(project, "add", "large.py")
    taken = take(project, tmp_path / "run")
    assert on_disk(taken.root) == {"a.py", "pkg/b.py", "run.sh", ".gitignore", "large.py", "dist/ok"}
    assert [line.split(":")[0] for line in taken.skipped] == ["data.bin", "build/"]


def test_too_many_untracked_bytes(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all that is not tracked is too much together, ignored files go first, and the largest of them."""
    monkeypatch.setattr(worktree, "MOST_UNTRACKED", 1000)
    fill(project, {"new.py": "n" * 500, "a.log": "x" * 100, "b.log": "x" * 600, "c.log": "x" * 450, "d.log": "x" * 300})
    taken = take(project, tmp_path / "run")
    assert {"new.py", "a.log", "d.log"} <= on_disk(taken.root)
    assert [line.split(":")[0] for line in taken.skipped] == ["c.log", "b.log"]


def test_special_files_are_skipped(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipes and sockets are not opened, and named."""
    os.mkfifo(project / "pipe")
    monkeypatch.chdir(project)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        taken = take(project, tmp_path / "run")
    assert {"pipe", "socket"}.isdisjoint(on_disk(taken.root))
    assert [line.split(":")[0] for line in taken.skipped] == ["pipe", "socket"]


@pytest.fixture
def nobodys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that belongs to an ordinary user, while the test runs as that user: root may read everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setenv("HOME", name)
        if os.geteuid():
            yield folder
        else:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
            try:
                yield folder
            finally:
                os.seteuid(0)


def test_unreadable_files_are_skipped(nobodys: Path) -> None:
    """A file or folder that may not be read is left out, and named."""
    folder = nobodys / "project"
    fill(folder, {"a.py": "", "secret.py": "", "closed/x.py": ""})
    (folder / "secret.py").chmod(0)
    (folder / "closed").chmod(0)
    taken = take(folder, nobodys / "run")
    (folder / "closed").chmod(0o700)
    assert taken.files == ("a.py",)
    assert [line.split(":")[0] for line in taken.skipped] == ["closed/", "secret.py"]


def test_unwritable_places_are_state_errors(nobodys: Path) -> None:
    """A work tree or a git dir that may not be written is told as such, and nothing has changed."""
    folder = nobodys / "project"
    fill(folder, {"a.py": "a\n"})
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    taken = take(folder, nobodys / "run")
    closed = [folder, *(place for place in (folder / ".git").rglob("*") if place.is_dir())]
    for place in closed:
        place.chmod(0o555)
    before = every_byte(folder)
    with pytest.raises(StateError, match=r"cannot be written: .*permission denied"):
        write(folder, taken, {"a.py": b"b\n"})
    with pytest.raises(StateError, match="cannot be made"):
        make_branch(folder, taken, "fix", diff_of(taken, {"a.py": b"b\n"}), "Fix")
    assert every_byte(folder) == before
    for place in closed:
        place.chmod(0o755)


def test_a_state_folder_that_cannot_be_written_any_more(nobodys: Path) -> None:
    """What becomes of the disk during a run is no fault of the diff's: exit code 3, and what to do."""
    fill(nobodys / "project", {"a.py": "a\n"})
    taken = take(nobodys / "project", nobodys / "run")
    taken.store.chmod(0o555)
    with pytest.raises(StateError, match=r"/git cannot be written: Permission denied") as raised:
        diff_of(taken, {"a.py": b"b\n"})
    taken.store.chmod(0o755)
    assert (raised.value.exit_code, raised.value.hint) == (3, "free space, or set SWARMCODE_HOME")


def test_a_disk_that_is_full_for_git(snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's complaint about the disk is not taken for one about the diff."""
    full = tmp_path / "bin" / "git"
    full.parent.mkdir()
    full.write_text("#!/bin/sh\necho 'error: unable to write file ab/cd: No space left on device' >&2\nexit 128\n")
    full.chmod(0o755)
    diff = pure.diff_text("a.py", "one\ntwo\nthree\n", "1\ntwo\nthree\n")
    monkeypatch.setenv("PATH", f"{full.parent}:{os.environ['PATH']}")
    with pytest.raises(StateError, match="git cannot write: No space left on device"):
        combine(snapshot, (diff,))
    with pytest.raises(StateError, match="git cannot write"):
        diff_of(snapshot, {"a.py": b"x\n"})


def test_write_takes_back_what_it_replaced(nobodys: Path) -> None:
    """When the last file cannot be put in place, those that were are as before."""
    folder = nobodys / "project"
    fill(folder, {"a.py": "a\n", "shut/b.py": "b\n"})
    (folder / "a.py").chmod(0o640)
    taken = take(folder, nobodys / "run")
    (folder / "shut").chmod(0o555)
    with pytest.raises(StateError, match=r"b\.py: permission denied"):
        write(folder, taken, {"a.py": b"x\n", "new/c.py": b"c\n", "shut/b.py": None})
    (folder / "shut").chmod(0o755)
    assert on_disk(folder) == {"a.py", "shut/b.py"}
    assert (folder / "a.py").read_text() == "a\n"
    assert stat.S_IMODE((folder / "a.py").stat().st_mode) == 0o640
    assert not (folder / "new").exists()


@pytest.mark.parametrize("path", ["../x", "/tmp/x", "pkg/../x", "./x", "pkg//x", ".git/x", "pkg/.GIT/x", "", "a\0b"])
def test_paths_outside_are_refused(project: Path, snapshot: Snapshot, path: str) -> None:
    """Neither a diff nor a file is made for a path that is not plainly inside the repository."""
    before = every_byte(project.parent)
    with pytest.raises(DiffError, match="no plain path"):
        write(project, snapshot, {path: b"x\n"})
    with pytest.raises(DiffError, match="no plain path"):
        diff_of(snapshot, {path: b"x\n"})
    assert every_byte(project) == {name: facts for name, facts in before.items() if name.startswith(str(project))}


def test_links_stay_links(project: Path, tmp_path: Path) -> None:
    """Symbolic links are kept and never followed, wherever they point."""
    outside = tmp_path / "outside"
    fill(outside, {"secret.txt": "secret\n"})
    (project / "out").symlink_to(outside)
    (project / "dangling").symlink_to("nowhere")
    git(project, "add", "out")
    taken = take(project, tmp_path / "run")
    assert os.readlink(taken.root / "out") == str(outside)
    assert os.readlink(taken.root / "dangling") == "nowhere"
    assert {"out", "dangling", "out/secret.txt"}.isdisjoint(taken.files)


def test_odd_names(tmp_path: Path) -> None:
    """Spaces, quotes, newlines, backslashes, other scripts and bytes that are no UTF-8 are all taken; those that
    cannot stand in a diff or in JSON are in the tree, but not among the files to be edited."""
    folder = tmp_path / "odd"
    names = [
        "a b.py",
        'quo"te.py',
        "new\nline.py",
        "back\\slash.py",
        "ünï.py",
        "-dash.py",
        os.fsdecode(b"\xff.py"),
        ".GITx",
        "git~1",
    ]
    fill(folder, dict.fromkeys(names, "x\n"))
    git(folder, "init", "-q")
    taken = take(folder, tmp_path / "run")
    assert on_disk(taken.root) == set(names)
    editable = sorted(set(names) - {"new\nline.py", os.fsdecode(b"\xff.py")})
    assert list(taken.files) == editable
    changes: dict[str, bytes | None] = dict.fromkeys(editable, b"y\n")
    assert apply_diff(taken, diff_of(taken, changes)) == changes
    assert pure.apply(pure.parse(pure.render(changes, taken.reader.read)), taken.reader.read) == changes
    assert apply_diff(taken, pure.render(changes, taken.reader.read)) == changes


def test_nested_repositories_and_submodules(project: Path, tmp_path: Path) -> None:
    """Their files on disk are taken, by their own ignore rules; their git dirs never."""
    inner, module = project / "inner", tmp_path / "module"
    for folder in (inner, module):
        fill(folder, {"m.py": "m\n", ".gitignore": "*.tmp\n"})
        git(folder, "init", "-q")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "x")
    git(project, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(module), "sub")
    fill(project, {"inner/n.py": "n\n", "inner/x.tmp": "", "sub/s.py": "s\n"})
    taken = take(project, tmp_path / "run")
    assert {"inner/m.py", "inner/n.py", "sub/m.py", "sub/s.py"} <= set(taken.files)
    assert "inner/x.tmp" not in taken.files
    assert not [name for name in on_disk(taken.root) if ".git" in name.split("/")]


def test_linked_work_tree(project: Path, tmp_path: Path) -> None:
    """A work tree whose git dir lies elsewhere works as any other."""
    git(project, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    fill(tmp_path / "side", {"new.py": "x\n", "x.log": ""})
    taken = take(tmp_path / "side", tmp_path / "run")
    assert taken.files == (".gitignore", "a.py", "new.py", "pkg/b.py", "run.sh")
    make_branch(tmp_path / "side", taken, "fix", pure.diff_text("a.py", "one\ntwo\nthree\n", "1\ntwo\nthree\n"), "Fix")
    assert git(project, "show", "fix:a.py") == "1\ntwo\nthree\n"


def test_run_folder_inside_the_repository_is_left_out(project: Path) -> None:
    """State that lies inside the repository is no part of it."""
    fill(project, {"state/old/x.py": "x\n"})
    taken = take(project, project / "state" / "run", leave=(project / "state",))
    assert taken.files == (".gitignore", "a.py", "pkg/b.py", "run.sh")


def test_programs_of_the_repository_do_not_run(project: Path, tmp_path: Path) -> None:
    """Hooks, fsmonitor, clean filters, textconv, external diffs and LFS stay silent, and bytes are what they are."""
    trap = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {trap}\necho changed\n")
    program.chmod(0o755)
    for name in ("post-index-change", "pre-commit", "reference-transaction", "post-commit", "fsmonitor-watchman"):
        hook = project / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(program.read_text())
        hook.chmod(0o755)
    fill(
        project,
        {".gitattributes": "* filter=trap diff=trap text=auto eol=crlf ident\n*.bin -diff\n", "c.py": "$Id$\r\n"},
    )
    for name in (
        "filter.trap.clean",
        "filter.trap.smudge",
        "filter.trap.process",
        "diff.trap.textconv",
        "diff.trap.command",
    ):
        git(project, "config", name, str(program))
    git(project, "config", "core.fsmonitor", str(program))
    git(project, "config", "diff.external", str(program))
    git(project, "config", "core.autocrlf", "true")
    git(project, "config", "filter.trap.required", "true")
    taken = take(project, tmp_path / "run")
    assert git(taken.store, "cat-file", "-s", f"{taken.tree}:c.py").strip() == str(len(b"$Id$\r\n"))
    diff = diff_of(taken, {"c.py": b"$Id$\r\nmore\r\n"})
    assert "+more\r\n" in diff
    assert apply_diff(taken, diff) == {"c.py": b"$Id$\r\nmore\r\n"}
    make_branch(project, taken, "fix", pure.diff_text("a.py", "one\ntwo\nthree\n", "1\ntwo\nthree\n"), "Fix")
    assert not trap.exists()


def test_surrounding_git_variables_decide_nothing(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside a git hook the environment names another repository and index: they are not used."""
    expected = take(project, tmp_path / "first")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    taken = take(project, tmp_path / "run")
    assert (taken.tree, taken.files) == (expected.tree, expected.files)
    assert diff_of(taken, {"a.py": b"x\n"})
    make_branch(project, taken, "fix", pure.diff_text("pkg/b.py", "b = 1\n", "b = 2\n"), "Fix")


def test_unreadable_index_costs_only_the_tracking(project: Path, tmp_path: Path) -> None:
    """With a corrupt index the files on disk are taken all the same, and a warning says so."""
    (project / ".git" / "index").write_bytes(b"garbage")
    taken = take(project, tmp_path / "run")
    assert "a.py" in taken.files
    assert "index cannot be read" in taken.skipped[0]


def test_sha256_repository(tmp_path: Path) -> None:
    """Repositories of git's newer object format work."""
    folder = tmp_path / "new"
    fill(folder, {"a.py": "a\n"})
    git(folder, "init", "-q", "--object-format=sha256")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    taken = take(folder, tmp_path / "run")
    assert taken.files == ("a.py",)
    make_branch(folder, taken, "fix", diff_of(taken, {"a.py": b"b\n"}), "Fix")
    assert git(folder, "show", "fix:a.py") == "b\n"


def test_split_index(project: Path, tmp_path: Path) -> None:
    """An index in two parts is read whole, and its shared part is not touched."""
    git(project, "update-index", "--split-index")
    before = every_byte(project)
    assert take(project, tmp_path / "run").files == (".gitignore", "a.py", "pkg/b.py", "run.sh")
    assert every_byte(project) == before


def test_diffs_stack_in_order(snapshot: Snapshot) -> None:
    """Later diffs apply to what the earlier ones left; the result is one diff and whole files."""
    first = pure.diff_text("a.py", "one\ntwo\nthree\n", "one\n2\nthree\n")
    second = pure.diff_text("a.py", "one\n2\nthree\n", "one\n2\n3\n")
    third = pure.diff_text("pkg/new.py", None, "n\n")
    diff, changes = combine(snapshot, (first, second, third))
    assert changes == {"a.py": b"one\n2\n3\n", "pkg/new.py": b"n\n"}
    assert apply_diff(snapshot, diff) == changes
    assert diff == diff_of(snapshot, changes)


def test_a_diff_that_does_not_apply_says_why(snapshot: Snapshot) -> None:
    """Git's reason is passed on, with the number of the diff."""
    good = pure.diff_text("a.py", "one\ntwo\nthree\n", "one\n2\nthree\n")
    bad = pure.diff_text("a.py", "nothing\nlike\nit\n", "x\n")
    with pytest.raises(DiffError, match=r"diff 2 .*a\.py"):
        combine(snapshot, (good, bad))


@pytest.mark.parametrize(
    ("diff", "reason"),
    [
        ("no diff at all\n", "does not apply"),
        ("--- a/../x\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n", "does not apply"),
        (
            "diff --git a/.git/x b/.git/x\nnew file mode 100644\n--- /dev/null\n+++ b/.git/x\n@@ -0,0 +1 @@\n+x\n",
            "does not apply",
        ),
        (
            "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n",
            "link",
        ),
        ("diff --git a/a.py b/a.py\nold mode 100644\nnew mode 100755\n", "mode"),
        ("diff --git a/x.sh b/x.sh\nnew file mode 100755\n--- /dev/null\n+++ b/x.sh\n@@ -0,0 +1 @@\n+x\n", "mode"),
    ],
)
def test_hostile_diffs_are_refused(snapshot: Snapshot, diff: str, reason: str) -> None:
    """Paths outside, git's own folder, links and modes are no changes of text."""
    with pytest.raises(DiffError, match=reason):
        apply_diff(snapshot, diff)


def test_canonical_diff_keeps_modes_ends_and_encodings(project: Path, tmp_path: Path) -> None:
    """Executable files stay executable; DOS ends, missing last newlines, Latin-1 and empty files come through."""
    fill(project, {"dos.py": "a\r\nb\r\n", "open.py": "a\nb", "latin.py": b"# \xe9\nx\n"})
    taken = take(project, tmp_path / "run")
    changes: dict[str, bytes | None] = {
        "run.sh": b"#!/bin/sh\ntrue\n",
        "dos.py": b"a\r\nc\r\n",
        "open.py": b"a\nc",
        "latin.py": b"# \xe9\ny\n",
        "empty.py": b"",
        "pkg/b.py": None,
    }
    diff = diff_of(taken, changes)
    assert diff.endswith("\n")
    assert "mode" not in diff.split("run.sh", 1)[1].split("new file")[0].replace("100755", "")
    assert "\\ No newline at end of file\n" in diff
    assert apply_diff(taken, diff) == changes
    fill(project, {"patch": diff.encode(errors="surrogateescape")})
    git(project, "apply", "patch")
    assert {name: (project / name).read_bytes() for name in changes if changes[name] is not None} == {
        name: content for name, content in changes.items() if content is not None
    }


TEXTS = st.lists(
    st.sampled_from(["a", "b", "c", "", " x", "a\r", "--- a", "+++ b", "@@ -1 +1 @@", "\\ No", "é", "\x0c", "-", "+"]),
    max_size=12,
)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    return ("\n".join(draw(TEXTS)) + draw(st.sampled_from(["", "\n"]))).encode()


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A snapshot of nothing."""
    folder = tmp_path_factory.mktemp("blank")
    return take(folder, tmp_path_factory.mktemp("run"))


@settings(max_examples=60, deadline=None)
@given(old=contents(), new=contents())
def test_pure_diffs_are_what_git_understands(blank: Snapshot, old: bytes, new: bytes) -> None:
    """For any two texts, the diff that is made without git is applied by git to the same, and the other way."""
    make = pure.diff_text("f.py", None, old.decode())
    edit = pure.diff_text("f.py", old.decode(), new.decode())
    assert bool(edit) == (old != new)
    combined, changes = combine(blank, (make, edit) if edit else (make,))
    assert changes == {"f.py": new}
    assert pure.apply(pure.parse(combined), {}.get) == changes
    if edit:
        assert pure.apply(pure.parse(edit), {"f.py": old}.get) == changes


def test_write_puts_the_fix_on_disk(project: Path, snapshot: Snapshot) -> None:
    """Changed, new and deleted files are written; modes stay; nothing else is left behind."""
    write(project, snapshot, {"run.sh": b"#!/bin/sh\ntrue\n", "deep/er/new.py": b"n\n", "pkg/b.py": None})
    assert (project / "run.sh").read_bytes() == b"#!/bin/sh\ntrue\n"
    assert stat.S_IMODE((project / "run.sh").stat().st_mode) == 0o755
    status = git(project, "status", "--short", "-uall").splitlines()
    assert status == [" D pkg/b.py", " M run.sh", "?? deep/er/new.py"]


@pytest.mark.parametrize("change", ["edited", "deleted", "link", "appeared", "folder link"])
def test_write_refuses_what_has_changed(project: Path, snapshot: Snapshot, tmp_path: Path, change: str) -> None:
    """A file that is no longer as it was when the run began is not overwritten, and neither is any other."""
    target = project / "pkg" / "b.py"
    if change == "edited":
        target.write_text("b = 3\n")
    elif change == "deleted":
        target.unlink()
    elif change == "link":
        (tmp_path / "elsewhere").write_text("b = 1\n")
        target.unlink()
        target.symlink_to(tmp_path / "elsewhere")
    elif change == "appeared":
        (project / "pkg" / "c.py").write_text("mine\n")
    else:
        (project / "pkg").rename(tmp_path / "moved")
        (project / "pkg").symlink_to(tmp_path / "moved")
    before = every_byte(project)
    with pytest.raises(UsageError) as raised:
        write(project, snapshot, {"a.py": b"x\n", "pkg/b.py": b"b = 2\n", "pkg/c.py": b"c\n"})
    assert raised.value.message
    assert every_byte(project) == before


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"a.py/x": b"below a file"}, id="while it is made ready"),
        pytest.param({"f" * 300: b"too long a name"}, id="while it is checked"),
    ],
)
def test_write_is_all_or_nothing(project: Path, snapshot: Snapshot, broken: dict[str, bytes | None]) -> None:
    """When one file cannot be written, whenever that shows, all are as they were, modes included."""
    (project / "a.py").chmod(0o640)
    before = {name: (project / name).read_bytes() for name in on_disk(project)}
    with pytest.raises(StateError, match="nothing was changed"):
        write(project, snapshot, {"new/er.py": b"n\n", "a.py": b"x\n", "run.sh": None, **broken})
    assert {name: (project / name).read_bytes() for name in on_disk(project)} == before
    assert stat.S_IMODE((project / "a.py").stat().st_mode) == 0o640
    assert stat.S_IMODE((project / "run.sh").stat().st_mode) == 0o755
    assert not (project / "new").exists()
