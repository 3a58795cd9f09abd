"""The ground that a run stands on, and what an earlier run gives to it."""

import asyncio
import os
from pathlib import Path

import pytest

from swarmcode.cli.order import Ground, Order, prepare
from swarmcode.config import load
from swarmcode.issue import IssueText
from swarmcode.journal import Recall


@pytest.fixture
def tools(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with a program of the same name, and a project beside them."""
    for name in ("one", "other"):
        program = tmp_path / name / "bin" / "checker"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    (tmp_path / "project" / "tool").mkdir(parents=True)
    (tmp_path / "project" / "tool" / "check").write_text("#!/bin/sh\n")
    return tmp_path / "one" / "bin", tmp_path / "other" / "bin"


def order(project: Path, home: Path, test: str = "", recalled: Recall | None = None, **settings: str) -> Order:
    given = {**settings, **({"test": test} if test else {})}
    return Order(
        config=load(given, environ={}, repo=project, user=home / "none.toml"),
        issue=IssueText(title="x", text="x"),
        repo=project,
        home=home,
        resumes=recalled.run if recalled else "",
        recalled=recalled,
    )


def ground(wanted: Order, folder: Path) -> Ground:
    folder.mkdir()
    return asyncio.run(prepare(wanted, folder, lambda event: None))


def remembered(first: Ground) -> Recall:
    return Recall(run="r1", issue=first.issue)


def test_another_path_is_no_other_command(
    tmp_path: Path, tools: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going on from a run takes the very program that ran its tests, whatever PATH says by now; a command that is
    given anew is looked for anew."""
    project, home = tmp_path / "project", tmp_path / "home"
    monkeypatch.setenv("PATH", f"{tools[0]}:{os.environ['PATH']}")
    first = ground(order(project, home, "checker --all"), tmp_path / "1")
    assert first.issue.test == (str(tools[0] / "checker"), "--all")
    monkeypatch.setenv("PATH", f"{tools[1]}:{os.environ['PATH']}")
    again = ground(order(project, home, recalled=remembered(first)), tmp_path / "2")
    assert again.issue.test == first.issue.test
    assert again.recalled is not None
    named = ground(order(project, home, "checker --all", remembered(first)), tmp_path / "3")
    assert named.issue.test == (str(tools[1] / "checker"), "--all")
    assert named.recalled is None


def test_an_image_has_programs_of_its_own(
    tmp_path: Path, tools: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going on in an image from a run on the host, the command is asked for by name."""
    project, home = tmp_path / "project", tmp_path / "home"
    monkeypatch.setenv("PATH", f"{tools[0]}:{os.environ['PATH']}")
    first = ground(order(project, home, "checker --all"), tmp_path / "1")
    again = ground(order(project, home, recalled=remembered(first), image="python:3"), tmp_path / "2")
    assert again.issue.test == ("checker", "--all")


def test_a_run_of_the_tests_leaves_time_for_a_fix(tmp_path: Path, tools: tuple[Path, Path]) -> None:
    """It gets half of all the time, or its own limit if that is less."""
    project, home = tmp_path / "project", tmp_path / "home"
    short = ground(order(project, home, "sh check", timeout="40"), tmp_path / "1")
    long = ground(order(project, home, "sh check", timeout="4000"), tmp_path / "2")
    assert (short.limits.seconds, long.limits.seconds) == (20, 120)


def test_a_program_of_the_project_keeps_its_folder(tmp_path: Path, tools: tuple[Path, Path]) -> None:
    """It is found again; where the project has been moved, in its new place."""
    project, home = tmp_path / "project", tmp_path / "home"
    first = ground(order(project, home, "tool/check"), tmp_path / "1")
    again = ground(order(project, home, recalled=remembered(first)), tmp_path / "2")
    assert again.issue.test == (str(project / "tool" / "check"),)
    assert again.recalled is not None
    moved = project.rename(tmp_path / "moved")
    assert ground(order(moved, home, recalled=remembered(first)), tmp_path / "3").issue.test == (
        str(moved / "tool" / "check"),
    )


def test_a_command_that_a_shell_reads_comes_again(tmp_path: Path, tools: tuple[Path, Path]) -> None:
    """Word by word."""
    project, home = tmp_path / "project", tmp_path / "home"
    first = ground(order(project, home, "true && tool/check 'a b'"), tmp_path / "1")
    again = ground(order(project, home, recalled=remembered(first)), tmp_path / "2")
    assert again.issue.test == first.issue.test
    assert again.issue.test[1:] == ("-c", "true && tool/check 'a b'")


def test_the_place_in_the_repository_is_kept(tmp_path: Path, tools: tuple[Path, Path]) -> None:
    """A run in a subfolder knows where its repository has it."""
    (tmp_path / "project" / ".git").mkdir()
    (tmp_path / "project" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    for name in ("objects", "refs"):
        (tmp_path / "project" / ".git" / name).mkdir()
    found = ground(order(tmp_path / "project" / "tool", tmp_path / "home", "./check"), tmp_path / "1")
    assert found.issue.inside == "tool"
