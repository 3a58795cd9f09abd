"""One box of each kind, shared by the tests that attack it: reused between tests as between candidates."""

import asyncio
import os
import textwrap
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pytest

from swarmcode.errors import SandboxUnavailable
from swarmcode.flow import Changes
from swarmcode.sandbox.choose import choose
from swarmcode.sandbox.protocol import Base, Box, Command, CommandResult, Limits, Sandbox, Toolchain
from swarmcode.sandbox.toolchain import discover

T = TypeVar("T")

LIMITS = Limits(seconds=20, memory_mb=384, processes=48, file_mb=16, disk_mb=128, output_kb=64)
ISOLATED = [pytest.param("docker", marks=pytest.mark.docker), pytest.param("bwrap", marks=pytest.mark.bwrap)]
ALL = [*ISOLATED, "process"]


FINGERPRINT = """
    import hashlib, os, stat
    for top in (".", os.environ["HOME"], os.environ["TMPDIR"]):
        for place, folders, names in os.walk(top):
            folders.sort()
            for name in [".", *sorted(folders + names)]:
                path = os.path.join(place, name)
                info = os.lstat(path)
                what = ()
                if stat.S_ISLNK(info.st_mode):
                    what = os.readlink(path)
                elif stat.S_ISREG(info.st_mode) and os.access(path, os.R_OK):
                    content = open(path, "rb").read()
                    what = hashlib.sha256(content).hexdigest(), info.st_nlink, info.st_mtime_ns
                mode = "" if stat.S_ISLNK(info.st_mode) else oct(info.st_mode)
                shown = os.path.relpath(path, top)
                print([ascii(shown), mode, what, os.listxattr(path, follow_symlinks=False)])
"""


class Bench:
    """A sandbox and one of its boxes, driven from plain test functions."""

    def __init__(self, kind: str, base: Base) -> None:
        self.kind = kind
        self.base = base
        self._runner = asyncio.Runner()
        self.sandbox: Sandbox = self.wait(choose(kind, run=f"tests-{kind}"))
        self.toolchain, (self.interpreter, *_) = discover(base.home, ("python3",), os.environ)
        self.box: Box = self.open()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def open(self, limits: Limits = LIMITS, base: Base | None = None, toolchain: Toolchain | None = None) -> Box:
        """Another box than the shared one; the caller closes it."""
        return self.wait(self.sandbox.open(base or self.base, toolchain or self.toolchain, limits))

    def apply(self, changes: Changes) -> None:
        self.wait(self.box.apply(changes))

    def reset(self) -> None:
        self.wait(self.box.reset())

    def run(
        self,
        *argv: str,
        box: Box | None = None,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        inputs: Mapping[str, bytes] | None = None,
        collect: tuple[str, ...] = (),
        **limits: Any,
    ) -> CommandResult:
        command = Command(
            argv=argv,
            cwd=cwd,
            env=env or {},
            inputs=inputs or {},
            collect=collect,
            limits=replace(LIMITS, **limits),
        )
        return self.wait((box or self.box).run(command))

    def shell(self, script: str, **options: Any) -> CommandResult:
        return self.run("sh", "-c", script, **options)

    def fingerprint(self) -> str:
        """All that a command can see of the places that it can write and that are the box's own."""
        result = self.python(FINGERPRINT, output_kb=512)
        assert result.exit_code == 0, result.output
        return result.output

    @cached_property
    def pristine(self) -> str:
        """The fingerprint of a box in which nothing was done yet."""
        box, self.box = self.box, self.open()
        try:
            return self.fingerprint()
        finally:
            self.wait(self.box.close())
            self.box = box

    def python(self, code: str, **options: Any) -> CommandResult:
        """Runs code on the toolchain's interpreter, without its packages: that starts in half the time."""
        return self.run(self.interpreter, "-I", "-S", "-c", textwrap.dedent(code), **options)

    def close(self) -> None:
        self.wait(self.box.close())
        self.wait(self.sandbox.close())
        self._runner.close()


def plant(root: Path) -> None:
    """A small work tree with all that a tree may hold."""
    (root / "src" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "app.py").write_text("print('base')\n")
    (root / "src" / "deep" / "data.txt").write_text("data\n")
    (root / "tool.sh").write_text("#!/bin/sh\necho tool\n")
    (root / "tool.sh").chmod(0o755)
    (root / "link").symlink_to("src/deep/data.txt")
    (root / "folder-link").symlink_to("src")


class Benches:
    """The shared benches, each made when it is first asked for."""

    def __init__(self, place: Path) -> None:
        self.base = Base(root=place / "snapshot", home=place / "home" / "repo")
        plant(self.base.root)
        self.base.home.mkdir(parents=True)
        self._made: dict[str, Bench] = {}

    def get(self, kind: str) -> Bench:
        """Skips the test where this machine has no sandbox of the kind."""
        if kind not in self._made:
            try:
                self._made[kind] = Bench(kind, self.base)
            except SandboxUnavailable as error:
                if kind in os.environ.get("REQUIRE_SANDBOXES", "").split():
                    pytest.fail(f"{kind} is required here: {error}")
                pytest.skip(str(error))
        bench = self._made[kind]
        bench.reset()
        return bench

    def close(self) -> None:
        for bench in self._made.values():
            bench.close()


@pytest.fixture(scope="session")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Benches]:
    made = Benches(tmp_path_factory.mktemp("bench"))
    yield made
    made.close()


@pytest.fixture(params=ISOLATED)
def bench(request: pytest.FixtureRequest, benches: Benches) -> Bench:
    """The shared box of each kind that isolates, reset."""
    return benches.get(request.param)


@pytest.fixture(params=ALL)
def anywhere(request: pytest.FixtureRequest, benches: Benches) -> Bench:
    """The shared box of each kind, reset."""
    return benches.get(request.param)
