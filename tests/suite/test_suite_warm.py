"""Runs that begin as copies of a waiting test runner: the same verdicts, whatever a run before has done to it."""

import asyncio
import os
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from swarmcode.errors import SandboxUnavailable
from swarmcode.flow import SuiteRun
from swarmcode.sandbox.choose import choose
from swarmcode.sandbox.pool import Pool
from swarmcode.sandbox.protocol import Base, Box, Limits
from swarmcode.sandbox.toolchain import discover
from swarmcode.suite import probe
from swarmcode.suite.ask import Ask
from swarmcode.suite.run import run_suite, warm_up

LIMITS = Limits(seconds=6, memory_mb=384, disk_mb=64)
ISOLATED = [pytest.param("docker", marks=pytest.mark.docker), pytest.param("bwrap", marks=pytest.mark.bwrap)]
TEST = """
    from shop import price
    def test_price(): assert price(2) == 20
    def test_same(): assert price(0) == 0
"""
WRONG, RIGHT = b"def price(n): return 11 * n\n", b"def price(n): return 10 * n\n"
PRICE = "test_shop.py::test_price"


class Shop:
    """A small project in one box."""

    def __init__(self, box: Box, command: tuple[str, ...]) -> None:
        self.box = box
        self._command = command

    async def waits(self) -> bool:
        """Has a runner wait in a clean box."""
        await self.box.reset()
        return await warm_up(self.box, self._command, LIMITS)

    async def run(self, source: bytes, *, path: str = "shop.py") -> SuiteRun:
        """A candidate's run, as the judge has it."""
        warm = await self.waits()
        await self.box.apply({path: source})
        return await run_suite(self.box, self._command, Ask(), LIMITS, warm=warm)


def plant(root: Path, ini: str) -> None:
    """The project on disk."""
    root.mkdir()
    (root / "shop.py").write_bytes(WRONG)
    (root / "test_shop.py").write_text(textwrap.dedent(TEST))
    (root / "plugin.py").write_text("import shop\n")
    (root / "pytest.ini").write_text(f"[pytest]\n{ini}\n")


@asynccontextmanager
async def shop(kind: str, root: Path, ini: str = "") -> AsyncIterator[Shop]:
    """A box on a new project at `root`; `ini`: further settings of pytest's."""
    plant(root, ini)
    toolchain, command = discover(root, ("pytest",), os.environ)
    try:
        sandbox = await choose(kind, run=f"warm-tests-{kind}")
    except SandboxUnavailable as missing:
        pytest.skip(missing.message)
    toolchain = replace(toolchain, mounts=(*toolchain.mounts, probe.folder()))
    pool = Pool(sandbox, Base(root=root, home=root), toolchain, LIMITS, size=1)
    try:
        async with pool.box() as box:
            yield Shop(box, command)
    finally:
        await pool.close()
        await sandbox.close()


@pytest.mark.parametrize("kind", [*ISOLATED, "process"])
def test_each_run_sees_its_own_tree(tmp_path: Path, kind: str) -> None:
    """One runner, many candidates: each has the verdict that a runner of its own gives it."""

    async def story() -> None:
        async with shop(kind, tmp_path / "shop") as project:
            assert await project.waits()
            for source, passing in ((WRONG, 1), (RIGHT, 2), (WRONG, 1), (b"import gone\n", 0), (RIGHT, 2)):
                run = await project.run(source)
                assert (run.outcome, len(run.passing)) == ("finished", passing), run.complaint
            assert await project.waits()

    asyncio.run(story())


@pytest.mark.parametrize("kind", [pytest.param("bwrap", marks=pytest.mark.bwrap), "process"])
def test_a_folder_may_have_any_name(tmp_path: Path, kind: str) -> None:
    """Also one that is no UTF-8; but for Docker, whose interface is JSON, and which says so."""

    async def story() -> None:
        folder = tmp_path / os.fsdecode(b"caf\xe9")
        async with shop(kind, folder) as project:
            assert await project.waits()
            run = await project.run(RIGHT)
            assert (run.outcome, len(run.passing)) == ("finished", 2), run.complaint

    asyncio.run(story())


ATTACKS = {
    "kills it": "os.kill(parent, 9)",
    "stops it": "os.kill(parent, 19)",
    "limits it": "resource.prlimit(parent, resource.RLIMIT_NOFILE, (3, 3))",
    "slows it down": "os.setpriority(os.PRIO_PROCESS, parent, 19)",
    "leaves someone behind": """
if not os.fork():
    os.setsid()
    time.sleep(60)
""",
    "speaks in its place": """
for number in range(3, 64):
    try:
        os.write(number, b'0')
    except OSError:
        pass
""",
    "moves its folder": "os.rename(os.getcwd(), os.getcwd() + '2') if os.access('..', os.W_OK) else None",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("kind", ISOLATED)
def test_what_a_run_does_to_the_runner_is_no_harm_to_the_next(tmp_path: Path, kind: str, attack: str) -> None:
    """The attacker turns no test, and whoever comes after it has the verdict that is due."""
    hostile = f"import os, resource, time\nparent = os.getppid()\ntry:\n{textwrap.indent(attack, '    ')}\nfinally:\n"
    hostile += "    def price(n): return 11 * n\n"

    async def story() -> None:
        async with shop(kind, tmp_path / "shop") as project:
            assert await project.waits()
            run = await project.run(hostile.encode())
            assert PRICE not in run.passing
            for source, passing in ((RIGHT, 2), (WRONG, 1)):
                run = await project.run(source)
                assert (run.outcome, len(run.passing)) == ("finished", passing), run.complaint

    asyncio.run(story())


@pytest.mark.parametrize("kind", ISOLATED)
def test_the_runner_is_out_of_reach(tmp_path: Path, kind: str) -> None:
    """Neither its memory nor its descriptors can be opened, by a process of the same user that it has made."""
    spy = """
        import os
        def price(n): return 11 * n
        for name in ("mem", "fd", "environ", "maps", "cwd"):
            path = f"/proc/{os.getppid()}/{name}"
            try:
                os.listdir(path) if name == "fd" else os.readlink(path) if name == "cwd" else open(path, "rb+").read(1)
                def price(n): return 10 * n
            except PermissionError:
                pass
    """

    async def story() -> None:
        async with shop(kind, tmp_path / "shop") as project:
            assert await project.waits()
            run = await project.run(textwrap.dedent(spy).encode())
            assert run.outcome == "finished"
            assert PRICE not in run.passing

    asyncio.run(story())


@pytest.mark.parametrize("ini", ["addopts = -p shop", "addopts = -p plugin"])
def test_no_runner_waits_with_code_of_the_project_in_it(tmp_path: Path, ini: str) -> None:
    """A project whose own code pytest loads as a plugin would be tested as it was, not as it is."""

    async def story() -> None:
        async with shop("process", tmp_path / "shop", f"pythonpath = .\n{ini}") as project:
            assert not await project.waits()
            run = await project.run(RIGHT)
            assert (run.outcome, len(run.passing)) == ("finished", 2), run.complaint

    asyncio.run(story())


def test_a_copy_is_a_process_like_any_other(tmp_path: Path) -> None:
    """Own session, own output, no runner's socket among its descriptors, its folder as working folder."""
    look = """
        import os, sys
        def price(n):
            links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
            kinds = [os.readlink(link) for link in links if os.path.lexists(link)]
            assert not [kind for kind in kinds if kind.startswith("socket:")], kinds
            assert os.getsid(0) == os.getpid() and "SWARMCODE_WARM" not in os.environ
            assert os.path.exists("shop.py")
            return 0
    """

    async def story() -> None:
        async with shop("process", tmp_path / "shop") as project:
            assert await project.waits()
            run = await project.run(textwrap.dedent(look).encode())
            assert run.tests[PRICE].message.startswith("AssertionError: assert 0 == 20"), run.tests[PRICE].message
            assert "1 failed, 1 passed" in run.output

    asyncio.run(story())
