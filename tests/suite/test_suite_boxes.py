"""The probe at work in every kind of box, on an example, from the whole suite to one test."""

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from swarmcode.errors import SandboxUnavailable
from swarmcode.sandbox.choose import choose
from swarmcode.sandbox.pool import Pool
from swarmcode.sandbox.protocol import Base, Limits
from swarmcode.sandbox.toolchain import discover
from swarmcode.suite import probe
from swarmcode.suite.ask import Ask
from swarmcode.suite.run import run_suite, trace_suite

EXAMPLE = Path(__file__).parents[2] / "examples" / "roombook"
LIMITS = Limits(seconds=60, memory_mb=512, disk_mb=128)
FAULT, MENDED = b"for i in range(count)]", b"for i in range(count + 1)]"


@asynccontextmanager
async def boxes(kind: str, root: Path):
    """A pool of one box on a tree, and the test command in it."""
    toolchain, command = discover(root, ("pytest",), os.environ)
    try:
        sandbox = await choose(kind, run=f"suite-tests-{kind}")
    except SandboxUnavailable as missing:
        pytest.skip(missing.message)
    toolchain = replace(toolchain, mounts=(*toolchain.mounts, probe.folder()))
    pool = Pool(sandbox, Base(root=root, home=root), toolchain, LIMITS, size=1)
    try:
        yield pool, command
    finally:
        await pool.close()
        await sandbox.close()


@pytest.mark.parametrize(
    "kind",
    [pytest.param("docker", marks=pytest.mark.docker), pytest.param("bwrap", marks=pytest.mark.bwrap), "process"],
)
def test_from_the_fault_to_its_end(tmp_path: Path, kind: str) -> None:
    """The whole suite with its spectrum, and one test on a candidate that mends the fault."""
    root = tmp_path / "roombook"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("__pycache__"))
    source = (root / "src/roombook/grid.py").read_bytes()

    async def story() -> None:
        async with boxes(kind, root) as (pool, command), pool.box() as box:
            traced = await trace_suite(box, command, Ask(), LIMITS, 30.0)
            (failing,) = traced.run.failing
            assert "src/roombook/grid.py" in traced.covered[failing]
            assert len(traced.run.passing) == 50
            await box.reset()
            await box.apply({"src/roombook/grid.py": source.replace(FAULT, MENDED)})
            run = await run_suite(box, command, Ask(select=(failing,)), LIMITS)
            assert run.passing == {failing}

    asyncio.run(story())
