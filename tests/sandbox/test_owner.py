"""What belongs to a living process is never taken for abandoned, and nothing foreign is ever removed."""

import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from swarmcode.sandbox.owner import Owner, remove_folder, started, sweep_folders


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_this_process_lives() -> None:
    """The process that asks is not gone; its labels give back the same owner."""
    owner = Owner.current("run")
    assert not owner.gone
    assert Owner.from_labels(owner.labels) == owner


def test_ended_process_is_gone() -> None:
    """A process that has ended is gone, also where its number is in use again, and after a restart."""
    with subprocess.Popen(["true"]) as process:
        pass
    owner = Owner.current("run")
    assert replace(owner, pid=process.pid).gone
    assert replace(owner, start=owner.start - 1).gone
    assert replace(owner, boot="0" * 32).gone
    assert started(process.pid) is None


def test_foreign_process_is_left_alone() -> None:
    """A number from another process namespace says nothing here, so its owner counts as living."""
    owner = Owner.current("run")
    assert not replace(owner, space=owner.space + 1, start=1).gone


@pytest.mark.parametrize("labels", [{}, {"swarmcode.run": "x"}, {"other": "y"}])
def test_labels_of_others(labels: dict[str, str]) -> None:
    """Labels that are not ours, or not whole, name no owner."""
    assert Owner.from_labels(labels) is None
    damaged = Owner.current("run").labels | {"swarmcode.pid": "many"}
    assert Owner.from_labels(damaged) is None


def test_only_abandoned_folders_are_swept(temporary: Path) -> None:
    """A sweep removes folders of ended processes, whatever is in them, and no other file, folder or link."""
    mine = Owner.current("run").new_folder()
    dead = replace(Owner.current("run"), start=1).new_folder()
    (dead / "locked").mkdir()
    (dead / "locked" / "file").touch()
    (dead / "locked").chmod(0)
    (temporary / "swarmcode-box-notes").mkdir()
    target = temporary / "precious"
    target.mkdir()
    (target / "file").touch()
    (temporary / dead.name.replace("-1-", "-2-")).symlink_to(target)
    (dead / "link").symlink_to(target)
    assert sweep_folders() == 1
    assert not dead.exists()
    assert mine.exists()
    assert (temporary / "swarmcode-box-notes").exists()
    assert (target / "file").exists()


def test_folder_is_private(temporary: Path) -> None:
    """Temporary folders are closed to other users."""
    assert Owner.current("run").new_folder().stat().st_mode & 0o077 == 0


def test_removing_follows_no_link(tmp_path: Path) -> None:
    """Removing a folder leaves alone what its links lead to, and their modes."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(outside)
    mode = os.stat(outside).st_mode
    remove_folder(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    assert (outside / "file").exists()
    assert os.stat(outside).st_mode == mode
