"""A box without walls for the tests of this room: one folder, and real processes in it."""

import asyncio
import os
import signal
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from swarmcode.flow import Changes, SuiteRun
from swarmcode.sandbox.protocol import Box, Command, CommandResult, Limits
from swarmcode.suite.ask import Ask
from swarmcode.suite.run import Traced, run_suite, trace_suite

PYTEST = (sys.executable, "-m", "pytest")


class FolderBox:
    """Runs commands in a folder as they are. It isolates nothing and counts the boxes that were handed out."""

    def __init__(self, tree: Path, scratch: Path) -> None:
        self.tree = tree
        self.opened = 0
        self._scratch = scratch

    @asynccontextmanager
    async def box(self) -> AsyncIterator[Box]:
        self.opened += 1
        scratch = self._scratch / str(self.opened)
        scratch.mkdir(parents=True)
        yield FolderBox(self.tree, scratch)

    async def apply(self, changes: Changes) -> None:
        raise NotImplementedError

    async def reset(self) -> None:
        """The tests change nothing that matters to the next run."""

    async def close(self) -> None:
        """Nothing is held."""

    async def run(self, command: Command) -> CommandResult:
        self._scratch.mkdir(parents=True, exist_ok=True)
        for name, content in command.inputs.items():
            (self._scratch / name).write_bytes(content)
        env = {name: value.replace("{scratch}", str(self._scratch)) for name, value in command.env.items()}
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            cwd=self.tree / command.cwd,
            env={"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        killed = ""
        try:
            output, _ = await asyncio.wait_for(process.communicate(), command.limits.seconds)
        except TimeoutError:
            killed, output = "timeout", b""
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        code = process.returncode
        assert code is not None
        found = {name: self._scratch / name for name in command.collect if (self._scratch / name).is_file()}
        return CommandResult(
            exit_code=None if killed else 128 - code if code < 0 else code,
            killed="timeout" if killed else "",
            output=output.decode(errors="replace"),
            files={name: path.read_bytes() for name, path in found.items()},
            seconds=time.monotonic() - started,
        )


class Project:
    """A project on disk, and ways of running its tests through the real thing."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.boxes = FolderBox(root, scratch)

    def put(self, path: str, text: str) -> "Project":
        """Writes a file, its common indentation taken off."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return self

    def run(self, ask: Ask | None = None, command: tuple[str, ...] = PYTEST, limits: Limits | None = None) -> SuiteRun:
        return asyncio.run(self.run_async(ask, command, limits))

    async def run_async(
        self, ask: Ask | None = None, command: tuple[str, ...] = PYTEST, limits: Limits | None = None
    ) -> SuiteRun:
        return await run_suite(self.boxes, command, ask or Ask(), limits or Limits(seconds=60))

    def trace(self, ask: Ask | None = None, seconds: float = 60.0) -> Traced:
        return asyncio.run(trace_suite(self.boxes, PYTEST, ask or Ask(), Limits(seconds=60), seconds))


def _empty(folder: Path) -> Project:
    return Project(folder / "project", folder / "scratch").put("pytest.ini", "[pytest]\n")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project with a pytest configuration of its own."""
    return _empty(tmp_path)


def outcomes_of(run: SuiteRun) -> dict[str, str]:
    return {name: test.outcome for name, test in run.tests.items()}


@pytest.fixture(scope="session")
def outcomes() -> Callable[[SuiteRun], dict[str, str]]:
    """Test id -> outcome."""
    return outcomes_of


@pytest.fixture(scope="session")
def suite_command() -> tuple[str, ...]:
    """This very pytest, as a test command."""
    return PYTEST


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """Makes empty projects."""
    return lambda: _empty(tmp_path_factory.mktemp("suite"))


@pytest.fixture(scope="module")
def module_project(new_project: Callable[[], Project]) -> Project:
    """As `project`, shared by the tests of a module that only read what one run gave."""
    return new_project()
