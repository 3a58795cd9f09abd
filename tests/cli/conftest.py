"""A place of its own for every test that calls the program: no settings and no state of whoever runs the tests."""

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from swarmcode.cli import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a call ended, and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Calls `swarmcode` as a person would, standing in the repository."""

    repo: Path
    home: Path
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *arguments: str, stdin: bytes = b"", **variables: str) -> Shown:
        """A call in this process: quick, and good for all that opens neither a model nor a sandbox."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape") for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), self.monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                main(arguments)
        code = end.value.code or 0
        assert isinstance(code, int)
        return Shown(code=code, out=_text(out), err=_text(err))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """A call in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", "from swarmcode.cli import main; main()", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def apart(self, *arguments: str) -> Shown:
        """The same, to its end."""
        with self.start(*arguments) as run:
            out, err = run.communicate(timeout=120)
        return Shown(code=run.returncode, out=out, err=err)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode("utf-8", "surrogateescape")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """An empty repository, and empty places for settings and state."""
    for name in ("repo", "home", "config"):
        (tmp_path / name).mkdir()
    for name in [name for name in os.environ if name.startswith(("SWARMCODE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SWARMCODE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path / "repo")
    return Shell(repo=tmp_path / "repo", home=tmp_path / "home", monkeypatch=monkeypatch)
