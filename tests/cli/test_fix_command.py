"""`swarmcode fix`, from the shell: what it refuses, what it fixes, and how it ends when it is interrupted."""

import json
import os
import re
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

CODE = """\
def total(prices):
    result = 0
    for price in prices:
        result = result - price
    return result
"""
CHECK = """\
from shop import total

assert total([3, 4]) == 7
"""


@pytest.fixture
def shop(shell: "Shell") -> "Shell":
    """A small repository with a wrong operator, and a script that shows it."""
    (shell.repo / "shop.py").write_text(CODE)
    (shell.repo / "check.py").write_text(CHECK)
    return shell


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "there is no ISSUE"),
        ([" "], 2, "swarmcode: "),
        ([" ", "--if-failing"], 2, "the issue is empty"),
        (["--if-failing", "--apply", "--branch", "b"], 2, "exclude each other"),
        (["x", "--repo", "missing"], 2, "missing is no folder"),
        (["x", "--agents", "0"], 2, 'agents is "0" in --agents'),
        (["x", "--mode", "fast"], 2, "expected one of auto, instant, thinking, agent, swarm"),
        (["x", "--sandbox", "jail"], 2, "expected one of auto, docker, bwrap, process"),
        (["x", "--test", "pytest 'x"], 2, "No closing quotation"),
        (["x", "--apply", "--branch", "b"], 2, "exclude each other"),
        (["x", "--output", "missing/out.patch"], 2, "--output missing/out.patch"),
        (["x", "--resume", "nonsense"], 2, "there is no run nonsense"),
        (["x", "--resume", ""], 2, "no run is named"),
        (["x", "--branch", "fix"], 2, "is not in a git repository"),
        (["x", "--model", "missing.gguf"], 3, "missing.gguf"),
        (["x", "--model", "shop.py"], 3, "shop.py"),
        (["x", "--adapter", "missing.gguf"], 3, "there is no adapter"),
        (["x", "--planner-model", "missing.gguf"], 3, "missing.gguf"),
        (["x", "--planner-model", "repair"], 2, "repair cannot plan"),
        (["x", "--planner-model", "a\nb"], 2, "in --planner-model"),
        (["x", "--adapter", "shop.py"], 3, "shop.py is not a GGUF"),
        (["x", "--model", "http://localhost:1/v1#m", "--adapter", "a.gguf"], 2, "an adapter cannot be put over"),
        (["x", "--model", "https://example.org/m.gguf"], 2, "https://example.org/m.gguf"),
    ],
)
def test_what_cannot_work_is_said_in_two_lines(shop: "Shell", arguments: list[str], code: int, words: str) -> None:
    """Exit code, what was wrong, what to do; nothing on standard output, and the repository untouched."""
    before = files(shop.repo)
    done = shop("fix", *arguments)
    said = done.err
    assert (done.code, done.out) == (code, ""), said
    assert words in said
    assert said.splitlines()[-1].startswith("  ")
    assert "Traceback" not in said
    assert files(shop.repo) == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fix-1", "branch fix-1 is there already"),
        ("fix-1/sub", "branch fix-1/sub cannot be beside branch fix-1"),
        ("a b", "no valid branch name"),
        ("@", "no valid branch name"),
        ("", "no valid branch name"),
    ],
)
def test_a_branch_that_cannot_be_is_refused_before_the_run(shop: "Shell", name: str, words: str) -> None:
    """Exit code 2 at once, and no run was begun for it."""
    commit(shop.repo)
    subprocess.run(["git", "branch", "fix-1"], cwd=shop.repo, check=True)
    done = shop("fix", "x", "--branch", name)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert not (shop.home / "runs").exists()


def commit(folder: Path) -> None:
    """Makes a repository of a folder, with one commit."""
    names = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    for arguments in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "first")):
        subprocess.run(["git", *names, *arguments], cwd=folder, check=True)


def test_no_tests_in_a_folder_of_a_repository(shop: "Shell") -> None:
    """That the folder alone was looked at is said, with what takes the whole; at the top there is no such line."""
    (shop.repo / "docs").mkdir()
    (shop.repo / "docs" / "a.md").write_text("words\n")
    commit(shop.repo)
    done = shop("fix", "x", "--sandbox", "process", "--repo", "docs")
    assert done.code == 3
    assert done.err.splitlines()[-1] == (
        f"  only {shop.repo}/docs was taken, a folder of the repository {shop.repo}; for all of it: --repo {shop.repo}"
    )
    assert "was taken" not in shop("fix", "x", "--sandbox", "process").err


def test_an_empty_issue_on_standard_input(shop: "Shell") -> None:
    """Nothing said is nothing to fix."""
    done = shop("fix", "-", stdin=b"\n \n")
    assert done.code == 2
    assert "empty" in done.err


def test_a_state_directory_that_cannot_be_written(shop: "Shell") -> None:
    """Exit code 3, and the variable that helps."""
    done = shop("fix", "x", SWARMCODE_HOME=str(shop.repo / "shop.py"))
    assert (done.code, done.out) == (3, "")
    assert "set SWARMCODE_HOME" in done.err


def test_a_project_may_not_choose_its_sandbox(shop: "Shell") -> None:
    """An untrusted repository that asks to run without isolation is refused before anything of it runs."""
    (shop.repo / "swarmcode.toml").write_text('sandbox = "process"\ntest = "touch owned"\n')
    done = shop("fix", "x")
    assert done.code == 2
    assert "not for a repository to decide" in done.err
    assert not (shop.repo / "owned").exists()


def test_no_tests_to_be_found(shell: "Shell") -> None:
    """An empty repository has no test command: exit code 3, and how to name one."""
    done = shell("fix", "x", "--sandbox", "process")
    assert done.code == 3
    assert "--test" in done.err


@pytest.mark.model
def test_a_fix_from_the_shell(shop: "Shell") -> None:
    """The patch alone on standard output, the story on standard error, exit code 0, the repository as it was; then the
    run can be shown again, and resumed: what it had found out is taken from it to the last digit of a duration."""
    before = files(shop.repo)
    call = ("fix", "the total in shop.py is negative", "--sandbox", "process", "--test", "python3 check.py")
    done = shop.apart(*call)
    assert done.code == 0, done.err
    assert done.out.startswith("diff --git a/shop.py b/shop.py\n")
    assert re.search(r"^\+        result (\+=|= result \+) price$", done.out, re.MULTILINE)
    assert "warning: nothing isolates the tests" in done.err
    assert "Fixed: 1 failing test now passes." in done.err
    assert files(shop.repo) == before
    assert shop("runs", "last", "--patch").out == done.out

    first = json.loads(shop("runs", "last", "--json").out)
    again = shop.apart("fix", "--resume", "last", "--sandbox", "process", "--json", "--apply")
    report = json.loads(again.out)
    assert again.code == 0, again.err
    assert report["run"] != first["run"]
    assert report["issue"] == first["issue"]
    assert report["baseline"] == first["baseline"]
    both = set(report["verdicts"]) & set(first["verdicts"])
    assert both
    assert {key: report["verdicts"][key] for key in both} == {key: first["verdicts"][key] for key in both}
    assert re.search(r"result (\+=|= result \+) price$", (shop.repo / "shop.py").read_text(), re.MULTILINE)

    changed = shop.apart("fix", "--resume", report["run"], "--sandbox", "process")
    assert changed.code == 3
    assert "can be used: the tree or the test command is another now" in changed.err
    assert "none of them shows the fault" in changed.err


@pytest.mark.model
def test_a_fix_where_tests_fail_and_nothing_where_they_pass(shop: "Shell") -> None:
    """`--if-failing` needs no issue: it fixes what fails, and calls it so; then there is nothing to do, whatever was to
    be done with a fix, also going on from an earlier run; and where no test can be run, that is still an error."""
    commit(shop.repo)
    call = ("fix", "--if-failing", "--sandbox", "process", "--test", "python3 check.py")
    done = shop.apart(*call, "--apply")
    assert done.code == 0, done.err
    assert done.out.startswith("diff --git a/shop.py b/shop.py\n")
    assert shop("runs").out.endswith("  Fixed: 1 failing test now passes.  the failing tests\n")

    before = files(shop.repo)
    for more in ((), ("--apply",), ("--branch", "fix"), ("--output", str(shop.home / "p")), ("--resume", "last")):
        done = shop.apart(*call, *more)
        assert (done.code, done.out) == (0, ""), done.err
        assert done.err.endswith("Nothing to fix: the one test passes.\n")
    assert not (shop.home / "p").exists()
    report = json.loads(shop.apart(*call, "a word of mine", "--json").out)
    assert (report["fixed"], report["why"], report["issue"]["title"]) == (False, "all tests pass", "a word of mine")
    assert (report["baseline"]["failing"], report["merge"], report["attempts"]) == ([], None, [])
    assert files(shop.repo) == before
    assert shop.apart(*call[:-1], "no-such-program").code == 3


@contextmanager
def hanging(shop: "Shell") -> Iterator["subprocess.Popen[str]"]:
    """A run whose tests never end, at the moment when they have begun."""
    mark = shop.home / "begun"
    os.mkfifo(mark)
    pipe = os.open(mark, os.O_RDONLY | os.O_NONBLOCK)
    with shop.start("fix", "x", "--sandbox", "process", "--test", f"echo > {mark}; sleep 1000") as run:
        try:
            assert select.select([pipe], [], [], 60)[0], "the tests did not begin"
            yield run
        finally:
            os.close(pipe)
            run.kill()


@pytest.mark.model
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cleans_up_and_can_be_resumed(shop: "Shell", number: signal.Signals) -> None:
    """Signals, however many, end it with 130, say how to go on, and leave no process, no snapshot and no change."""
    before = files(shop.repo)
    with hanging(shop) as run:
        run.send_signal(number)
        run.send_signal(signal.SIGINT)
        out, said = run.communicate(timeout=60)
    (folder,) = (shop.home / "runs").iterdir()
    assert (run.returncode, out) == (130, ""), said
    assert f"swarmcode fix --resume {folder.name}" in said
    assert "Traceback" not in said
    assert files(shop.repo) == before
    assert sorted(path.name for path in folder.iterdir()) == ["journal.jsonl", "lock"]
    assert not [line for line in processes() if f"echo > {shop.home}/begun" in line]
    assert f"{folder.name}  interrupted  x" in shop("runs").out


def processes() -> list[str]:
    """Command lines of all that runs."""
    lines = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(place.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            pass  # it has just ended
    return lines
