"""What is installed is complete: prompts, sandbox files and the embedded model are in the wheel, and found there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(REPOSITORY),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_everything_that_ships_is_inside(wheel: Path) -> None:
    """Every file of the three folders, and nothing of training or tests."""
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("prompts", "sandboxes"):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"swarmcode/{path.relative_to(REPOSITORY)}" in names
    assert "swarmcode/models/repair.gguf" in names
    assert "swarmcode/py.typed" in names
    assert "swarmcode/engine/llama/native/attention.cpp" in names
    assert not [name for name in names if name.startswith(("tests/", "training/", "bench/", "examples/"))]


def test_an_installed_copy_finds_its_files(wheel: Path, tmp_path: Path) -> None:
    """Away from the checkout, prompts render and the model is found."""
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    code = (
        "from swarmcode.assets import folder; from swarmcode.prompts import render; import swarmcode\n"
        "print(swarmcode.__file__); print((folder('models') / 'repair.gguf').stat().st_size > 1_000_000)\n"
        "print((folder('sandboxes') / 'README.md').is_file(), len(render('edit-system')) > 100)"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    where, model, rest = done.stdout.splitlines()
    assert Path(where).is_relative_to(target)
    assert model == "True"
    assert rest == "True True"
