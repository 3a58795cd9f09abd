"""`swarmcode config`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from swarmcode.options import SETTINGS

if TYPE_CHECKING:
    from conftest import Shell


def test_every_value_comes_with_its_source(shell: "Shell") -> None:
    """One line a setting: key, value, where it came from, what it means."""
    (shell.repo / "swarmcode.toml").write_text('mode = "instant"\n')
    done = shell("config", SWARMCODE_AGENTS="7")
    lines = {line.split()[0]: line for line in done.out.splitlines() if line}
    assert done.code == 0
    assert set(SETTINGS) <= set(lines)
    assert "7" in lines["agents"]
    assert "SWARMCODE_AGENTS" in lines["agents"]
    assert "swarmcode.toml" in lines["mode"]
    assert "default" in lines["seed"]
    assert str(shell.home) in lines["state:"]


def test_json_has_the_same(shell: "Shell") -> None:
    """For programs: value, origin and place of each setting."""
    done = shell("config", "--json", SWARMCODE_AGENTS="7")
    data = json.loads(done.out)
    assert set(data["settings"]) == set(SETTINGS)
    assert data["settings"]["agents"] == {"value": 7, "origin": "environment", "place": "SWARMCODE_AGENTS"}
    assert data["settings"]["limits.memory_mb"]["origin"] == "default"


def test_a_bad_value_is_exit_code_2(shell: "Shell") -> None:
    """The line names value, place and choices; nothing is printed on standard output."""
    done = shell("config", SWARMCODE_MODE="fast")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        'swarmcode: mode is "fast" in SWARMCODE_MODE\n  expected one of auto, instant, thinking, agent, swarm\n'
    )


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_repository_that_is_none_is_exit_code_2(shell: "Shell", name: str) -> None:
    """What is told would be of no project at all."""
    (shell.repo / "file").touch()
    done = shell("config", "--repo", name)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"swarmcode: {shell.repo / name} is no folder\n")


@pytest.mark.parametrize("command", [("config",), ("fix", "x"), ("config", "--json")])
def test_a_current_folder_that_is_gone(
    shell: "Shell", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Exit code 3 and what to do; with --repo it works from there."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = shell(*command)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("swarmcode: the current folder is not there any more\n  change to one that is")
    assert shell("config", "--repo", str(shell.repo)).code == 0


def test_a_project_cannot_command_the_terminal(shell: "Shell") -> None:
    """What a project file says is shown without its escape sequences."""
    (shell.repo / "swarmcode.toml").write_text('"\\u001b]0;owned\\u0007x" = 1\n')
    done = shell("config")
    assert done.code == 2
    assert "\x1b" not in done.err
    assert "unknown key x" in done.err


def test_a_warning_goes_to_standard_error(shell: "Shell") -> None:
    """A variable that is no setting is told, and the table is whole."""
    done = shell("config", SWARMCODE_AGENT="7")
    assert done.code == 0
    assert "the nearest one is SWARMCODE_AGENTS" in done.err
    assert "the nearest one" not in done.out
