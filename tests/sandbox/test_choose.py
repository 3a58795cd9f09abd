"""Which sandbox is taken, and what a person is told where there is none."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from swarmcode.errors import SandboxUnavailable, UsageError
from swarmcode.sandbox.bwrap import BwrapSandbox
from swarmcode.sandbox.choose import choose


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without an engine and with an empty PATH."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, text: str) -> None:
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_unknown_name() -> None:
    """A name that is none raises a usage error with the names that are."""
    with pytest.raises(UsageError) as caught:
        asyncio.run(choose("podman", run="r"))
    assert "auto, docker, bwrap, process" in caught.value.hint


def test_image_needs_docker() -> None:
    """An image with a sandbox that has none is a usage error, not ignored."""
    for name in ("bwrap", "process"):
        with pytest.raises(UsageError, match="--image needs Docker"):
            asyncio.run(choose(name, run="r", image="python:3.12"))


def test_process_is_only_taken_when_asked_for(bare: Path) -> None:
    """With neither engine nor bubblewrap, `auto` says what is missing and does not fall back on no isolation."""
    with pytest.raises(SandboxUnavailable) as caught:
        asyncio.run(choose("auto", run="r"))
    assert "no Docker engine answers" in caught.value.message
    assert "bubblewrap" in caught.value.message
    assert "--sandbox process" in caught.value.hint
    assert caught.value.exit_code == 3
    assert not asyncio.run(choose("process", run="r")).isolated


def test_image_without_engine_does_not_become_bwrap(bare: Path) -> None:
    """An image was asked for: without an engine that fails, whatever else is there."""
    with pytest.raises(SandboxUnavailable, match="no Docker engine"):
        asyncio.run(choose("auto", run="r", image="python:3.12"))


def test_bwrap_that_is_missing(bare: Path) -> None:
    """Without bubblewrap the hint says how to install it."""
    with pytest.raises(SandboxUnavailable) as caught:
        asyncio.run(choose("bwrap", run="r"))
    assert "apt install bubblewrap" in caught.value.hint


def test_bwrap_that_is_too_old(bare: Path) -> None:
    """A bubblewrap that cannot limit disk is refused, with the version that is needed."""
    program(bare, "echo bubblewrap 0.6.1")
    with pytest.raises(SandboxUnavailable, match=r"bubblewrap 0\.6\.1 is too old: 0\.7 is needed"):
        asyncio.run(choose("bwrap", run="r"))


def test_bwrap_that_is_not_allowed(bare: Path) -> None:
    """Where the machine forbids namespaces, bubblewrap's own words come through, and what to change."""
    program(bare, 'case "$1" in --version) echo bubblewrap 0.8.0;; *) echo "bwrap: No permissions" >&2; exit 1;; esac')
    with pytest.raises(SandboxUnavailable, match="bwrap: No permissions") as caught:
        asyncio.run(choose("bwrap", run="r"))
    assert "max_user_namespaces" in caught.value.hint


@pytest.mark.bwrap
def test_bwrap_is_second_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an engine `auto` takes bubblewrap."""
    try:
        asyncio.run(BwrapSandbox.connect(run="r"))
    except SandboxUnavailable as error:
        if "bwrap" in os.environ.get("REQUIRE_SANDBOXES", "").split():
            raise
        pytest.skip(str(error))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    assert asyncio.run(choose("auto", run="r")).name == "bwrap"


@pytest.mark.docker
def test_docker_is_first_choice(benches: object) -> None:
    """With an engine `auto` takes it."""
    benches.get("docker")  # type: ignore[attr-defined]

    async def scenario() -> str:
        sandbox = await choose("auto", run="r")
        await sandbox.close()
        return sandbox.name

    assert asyncio.run(scenario()) == "docker"
