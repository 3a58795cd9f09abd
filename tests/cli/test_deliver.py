"""Where the result goes, and that nothing goes anywhere else."""

import json
import os
import pty
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from swarmcode import flow
from swarmcode.cli.deliver import Delivery, Outcome, deliver
from swarmcode.cli.output import write_result
from swarmcode.codec import encode
from swarmcode.errors import StateError, UsageError
from swarmcode.repo import Snapshot, take
from swarmcode.report.patch import patch

OLD, NEW = b"x = 1\n", b"x = 2\n"
DIFF = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"


def git(repo: Path, *arguments: str) -> str:
    names = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    return subprocess.run(["git", *names, *arguments], cwd=repo, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    place = tmp_path / "repo"
    place.mkdir()
    (place / "a.py").write_bytes(OLD)
    git(place, "init", "-q", "-b", "main")
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "first")
    return place


@pytest.fixture
def snapshot(repo: Path, tmp_path: Path) -> Snapshot:
    return take(repo, tmp_path / "snapshot")


def report(repo: Path, *, solved: int = 1, unsolved: int = 0) -> flow.Report:
    """A report with a proven merge of `solved` tests (none: no merge at all); green where no test failed."""
    run = flow.SuiteRun(outcome="finished", exit_code=1, tests={}, output="", seconds=0.0)
    merge = flow.Merge(
        accepted=(), rejected=(), diff=DIFF, changes={"a.py": NEW}, verdict=flow.Verdict(key="k", outcome="passed")
    )
    return flow.Report(
        run="r1",
        issue=flow.Issue(title="wrong x", text="wrong x", repo=repo, base="t", test=("pytest",)),
        model="repair",
        sandbox="process",
        baseline=flow.Baseline(run=run, failing=(), flaky=frozenset(), passing=frozenset(), covered={}),
        plans=(),
        attempts=(),
        verdicts={},
        merge=merge if solved else None,
        solved=tuple(f"t::s{number}" for number in range(solved)),
        unsolved=tuple(f"t::u{number}" for number in range(unsolved)),
        duplicates=0,
        usage=flow.Usage(),
        sandbox_seconds=0.0,
        critical_steps=0,
        green=not solved and not unsolved,
    )


def test_standard_output_carries_the_patch_alone(
    repo: Path, snapshot: Snapshot, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The patch, byte for byte, and nothing else; the summary is on standard error; the repository is as it was."""
    assert deliver(Outcome(report=report(repo), snapshot=snapshot), repo, Delivery()) == 0
    captured = capfdbinary.readouterr()
    assert captured.out == DIFF.encode()
    assert captured.err.startswith(b"Fixed: 1 failing test now passes.")
    assert git(repo, "status", "--porcelain") == ""


def test_a_part_is_printed_and_not_a_success(
    repo: Path, snapshot: Snapshot, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A proven part of a fix is printed with exit code 1, and never written into the repository by itself."""
    outcome = Outcome(report=report(repo, unsolved=1), snapshot=snapshot)
    for delivery in (Delivery(), Delivery(apply=True), Delivery(branch="fix")):
        assert deliver(outcome, repo, delivery) == 1
        assert capfdbinary.readouterr().out == DIFF.encode()
        assert git(repo, "status", "--porcelain") == ""
        assert git(repo, "branch").split() == ["*", "main"]


def test_no_fix_prints_nothing(
    repo: Path, snapshot: Snapshot, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Without a proven patch standard output is empty, no file is made, and the exit code says so."""
    outcome = Outcome(report=report(repo, solved=0, unsolved=1), snapshot=snapshot)
    file = tmp_path / "out.patch"
    assert deliver(outcome, repo, Delivery(apply=True, output=file)) == 1
    assert capfdbinary.readouterr().out == b""
    assert not file.exists()
    unproven = replace(outcome.report, merge=flow.Merge(accepted=(), rejected=(), diff=DIFF, verdict=None))
    assert patch(unproven) == ""


@pytest.mark.parametrize("delivery", [Delivery(), Delivery(apply=True), Delivery(branch="fix")])
def test_nothing_to_fix_is_a_success_that_leaves_nothing(
    repo: Path, snapshot: Snapshot, delivery: Delivery, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Exit code 0, one line, no patch, no branch."""
    outcome = Outcome(report=report(repo, solved=0), snapshot=snapshot)
    assert deliver(outcome, repo, delivery) == 0
    assert capfdbinary.readouterr() == (b"", b"Nothing to fix: no test fails, and none passes.\n")
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "branch").split() == ["*", "main"]


def test_json_is_printed_whatever_happened(
    repo: Path, snapshot: Snapshot, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The report comes also where nothing was fixed, in place of the patch."""
    outcome = Outcome(report=report(repo, solved=0, unsolved=1), snapshot=snapshot)
    assert deliver(outcome, repo, Delivery(json=True)) == 1
    assert b'"fixed": false' in capfdbinary.readouterr().out


def test_apply_writes_into_the_work_tree(repo: Path, snapshot: Snapshot) -> None:
    """The files are changed, and nothing is staged or committed."""
    assert deliver(Outcome(report=report(repo), snapshot=snapshot), repo, Delivery(apply=True)) == 0
    assert (repo / "a.py").read_bytes() == NEW
    assert git(repo, "status", "--porcelain") == " M a.py\n"


def test_a_file_that_changed_meanwhile_is_left_alone(
    repo: Path, snapshot: Snapshot, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Somebody's work during the run is not overwritten; the patch has been printed all the same."""
    (repo / "a.py").write_bytes(b"mine\n")
    with pytest.raises(UsageError, match="has changed"):
        deliver(Outcome(report=report(repo), snapshot=snapshot), repo, Delivery(apply=True))
    assert (repo / "a.py").read_bytes() == b"mine\n"
    assert capfdbinary.readouterr().out == DIFF.encode()


def test_branch_commits_beside_the_work_tree(repo: Path, snapshot: Snapshot) -> None:
    """A new branch holds the fix and says what it is; work tree and HEAD stay."""
    hostile = replace(report(repo), issue=replace(report(repo).issue, title="wrong x\x1b[31m"))
    assert deliver(Outcome(report=hostile, snapshot=snapshot), repo, Delivery(branch="fix-x")) == 0
    assert git(repo, "show", "fix-x:a.py") == NEW.decode()
    assert git(repo, "log", "-1", "--format=%B", "fix-x").startswith("Fix: wrong x\n\nThese tests failed and now pass")
    assert git(repo, "status", "--porcelain", "--branch") == "## main\n"


def test_from_a_folder_in_the_repository(repo: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """What was found in a subfolder is told from the repository's top, as git does: `git apply` takes it there and in
    the folder, and a branch has it in its place. The report has paths of the folder."""
    folder = repo / "pkg"
    folder.mkdir()
    (folder / "a.py").write_bytes(OLD)
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "second")
    about = report(folder)
    outcome = Outcome(
        report=replace(about, issue=replace(about.issue, inside="pkg")), snapshot=take(folder, tmp_path / "s")
    )
    assert deliver(outcome, folder, Delivery(branch="fix")) == 0
    told = capfdbinary.readouterr().out
    assert told == DIFF.replace("/a.py", "/pkg/a.py").encode()
    assert git(repo, "show", "fix:pkg/a.py") == NEW.decode()
    for stand in (repo, folder):
        git(repo, "checkout", "-q", "--", ".")
        subprocess.run(["git", "apply"], cwd=stand, input=told, check=True)
        assert git(repo, "status", "--porcelain") == " M pkg/a.py\n"
    assert deliver(outcome, folder, Delivery(json=True)) == 0
    data = json.loads(capfdbinary.readouterr().out)
    assert (data["merge"]["files"], data["merge"]["diff"], data["issue"]["inside"]) == (["a.py"], DIFF, "pkg")


def test_output_is_replaced_whole(tmp_path: Path) -> None:
    """A file keeps its mode and is never half written; a link leads to its target; nothing is left beside."""
    target, link = tmp_path / "real.patch", tmp_path / "link.patch"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_result("new \udce9\n", link, "r1")
    assert target.read_bytes() == b"new \xe9\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.patch", "real.patch"]


def test_output_may_be_a_device() -> None:
    """A device is written to, and stays a device."""
    write_result("x", Path(os.devnull), "r1")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(StateError, match="No space left") as caught:
        write_result("x" * 10, Path("/dev/full"), "r1")
    assert "swarmcode runs r1 --patch" in caught.value.hint


@pytest.mark.parametrize("name", ["missing/file", ".", "folder"])
def test_an_output_that_cannot_be_is_refused_before_the_run(tmp_path: Path, name: str) -> None:
    """No folder, or a folder itself: told at once, not after ten minutes."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="--output"):
        Delivery(output=tmp_path / name).check()


def test_apply_and_branch_exclude_each_other() -> None:
    """Both at once make no sense."""
    with pytest.raises(UsageError, match="exclude each other"):
        Delivery(apply=True, branch="x").check()
    Delivery(apply=True, output=Path("x")).check()


WRITE = """
import sys
from swarmcode.cli.output import write_result
from swarmcode.errors import StateError
try:
    write_result("x" * 1_000_000, None, "r1")
except StateError as error:
    sys.stderr.write(str(error))
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("shell", ['"$@" | true', '"$@" >/dev/full', '"$@" >&-'])
def test_a_reader_that_is_gone_is_an_error_with_a_way_out(shell: str) -> None:
    """A patch that nobody got is no success: one error, no traceback, and where the patch is kept."""
    command = ["bash", "-c", f"set -o pipefail; {shell}", "bash", sys.executable, "-c", WRITE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "could not be written to standard output" in done.stderr
    assert "swarmcode runs r1 --patch" in done.stderr
    assert "Traceback" not in done.stderr


def on_a_terminal(code: str, *arguments: str, typed: bytes = b"") -> tuple[int, str]:
    """Runs Python code with all three streams on a terminal; exit code and everything shown."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=theirs, stdout=theirs, stderr=theirs
    ) as child:
        os.close(theirs)
        os.write(ours, typed)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:
            pass  # Linux: nobody has the other side any more
    os.close(ours)
    return child.returncode, shown.decode().replace("\r\n", "\n")


def test_a_terminal_is_not_commanded_by_a_patch() -> None:
    """A patch is text of a model: where a terminal would obey its escape sequences they are left out, which is said."""
    code = (
        "from swarmcode.cli.output import write_result; write_result('+ok \\x1b]0;owned\\x07\\x1b[2J\\n', None, 'r1')"
    )
    status, shown = on_a_terminal(code)
    assert status == 0
    assert "+ok \n" in shown
    assert "\x1b" not in shown
    assert "--output has them all" in shown


ASK = """
import json, sys
from pathlib import Path
from swarmcode.cli.deliver import Delivery, Outcome, deliver
from swarmcode.codec import decode
from swarmcode.flow import Report
from swarmcode.repo import take
repo = Path(sys.argv[1])
outcome = Outcome(report=decode(Report, json.loads(sys.argv[2])), snapshot=take(repo, Path(sys.argv[3])))
sys.exit(deliver(outcome, repo, Delivery()))
"""


@pytest.mark.parametrize(
    ("typed", "unsolved", "content"),
    [(b"y\n", 0, NEW), (b"\n", 0, OLD), (b"n\n", 0, OLD), (b"\x04", 0, OLD), (b"y\n", 1, NEW)],
)
def test_a_person_is_asked(repo: Path, tmp_path: Path, typed: bytes, unsolved: int, content: bytes) -> None:
    """On a terminal the patch is shown, then the question; only a yes writes, also of a part."""
    told = json.dumps(encode(report(repo, unsolved=unsolved)))
    status, shown = on_a_terminal(ASK, str(repo), told, str(tmp_path / "s"), typed=typed)
    assert status == (1 if unsolved else 0)
    assert shown.index("+x = 2") < shown.index("ixed:") < shown.index("[y/N]")
    assert (repo / "a.py").read_bytes() == content


def test_nobody_is_asked_about_nothing(repo: Path, tmp_path: Path) -> None:
    """Where all tests pass, a terminal shows one line and no question."""
    status, shown = on_a_terminal(ASK, str(repo), json.dumps(encode(report(repo, solved=0))), str(tmp_path / "s"))
    assert (status, shown) == (0, "Nothing to fix: no test fails, and none passes.\n")


@pytest.mark.parametrize(
    "delivery", [Delivery(apply=True), Delivery(branch="b"), Delivery(json=True), Delivery(output=Path("x"))]
)
def test_nobody_is_asked_who_has_said(delivery: Delivery) -> None:
    """A flag is an answer; and where no terminal is, as in this test, there is no question."""
    assert not delivery.may_ask
    assert not Delivery().may_ask
