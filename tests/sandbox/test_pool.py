"""The pool: how many boxes, when they are opened, how they come back, what happens when they break."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path

import pytest

from swarmcode.errors import SandboxLost
from swarmcode.sandbox.memory import Lose, MemorySandbox, at, never, seeded
from swarmcode.sandbox.pool import Pool, cpus
from swarmcode.sandbox.protocol import Base, Command, CommandResult, Limits, Toolchain

TRUE = Command(argv=("true",))


def answer(tree: dict[str, bytes], command: Command) -> CommandResult:
    output = b" ".join(tree.values()).decode()
    tree["left"] = b"behind"
    return CommandResult(exit_code=0, killed="", output=output, files={}, seconds=0.0)


def pool_of(size: int, folder: Path, *, lose: Lose = never) -> tuple[Pool, MemorySandbox]:
    (folder / "file").write_bytes(b"base")
    sandbox = MemorySandbox(answer, lose=lose)
    base = Base(root=folder, home=folder)
    return Pool(sandbox, base, Toolchain(path=(), mounts=()), Limits(), size=size), sandbox


def wait(work: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


def test_boxes_are_opened_when_needed_and_reused(tmp_path: Path) -> None:
    """Nothing is opened before the first use, and tasks one after another share one box."""
    pool, sandbox = pool_of(4, tmp_path)

    async def scenario() -> None:
        assert sandbox.opened == 0
        for _ in range(5):
            async with pool.box() as box:
                await box.run(TRUE)
        assert sandbox.opened == 1

    wait(scenario())


def test_box_is_as_good_as_new(tmp_path: Path) -> None:
    """What one task applied, or its command left, the next does not see."""
    pool, _ = pool_of(1, tmp_path)

    async def scenario() -> None:
        for _ in range(3):
            async with pool.box() as box:
                assert (await box.run(TRUE)).output == "base"
                await box.apply({"file": b"changed"})

    wait(scenario())


def test_no_more_boxes_than_seats(tmp_path: Path) -> None:
    """A hundred tasks over three seats use three boxes, never one box two at once, and all finish."""
    pool, sandbox = pool_of(3, tmp_path)
    inside = most = 0

    async def task() -> None:
        nonlocal inside, most
        async with pool.box() as box:
            inside += 1
            most = max(most, inside)
            await box.run(TRUE)
            inside -= 1

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(task())
        assert (most, sandbox.opened, len(sandbox.commands)) == (3, 3, 100)

    wait(scenario())


def test_lost_box_is_replaced(tmp_path: Path) -> None:
    """A box that breaks under a command is closed, the fault is the task's, and the next task has a new box."""
    pool, sandbox = pool_of(1, tmp_path, lose=at(2))

    async def scenario() -> None:
        with pytest.raises(SandboxLost):
            async with pool.box() as box:
                await box.run(TRUE)
        assert sandbox.closed == 1
        async with pool.box() as box:
            assert (await box.run(TRUE)).exit_code == 0

    wait(scenario())


def test_box_lost_between_tasks_is_replaced_silently(tmp_path: Path) -> None:
    """A box that breaks while it is reset, or opened, is nobody's fault: another one is tried."""
    pool, sandbox = pool_of(1, tmp_path, lose=at(1, 4))

    async def scenario() -> None:
        for _ in range(2):
            async with pool.box() as box:
                await box.run(TRUE)
        assert (sandbox.opened, sandbox.closed) == (2, 1)

    wait(scenario())


def test_endless_losses_end(tmp_path: Path) -> None:
    """Where every box breaks, the loss is raised instead of trying for ever; the seat is free again."""
    pool, sandbox = pool_of(1, tmp_path, lose=lambda step: True)

    async def scenario() -> None:
        for tries in (3, 6):
            with pytest.raises(SandboxLost):
                async with pool.box():
                    raise AssertionError
            assert sandbox.steps == tries

    wait(scenario())


@pytest.mark.parametrize("seed", range(10))
def test_nothing_leaks_or_hangs_under_chaos(tmp_path: Path, seed: int) -> None:
    """With boxes that break by chance and tasks that are cancelled, all tasks end and every box is closed."""
    pool, sandbox = pool_of(3, tmp_path, lose=seeded(seed, 0.2))

    async def task() -> None:
        try:
            async with pool.box() as box:
                await box.apply({"file": b"x"})
                await box.run(TRUE)
        except SandboxLost:
            pass

    async def scenario() -> None:
        tasks = [asyncio.create_task(task()) for _ in range(40)]
        for number in range(60):
            await asyncio.sleep(0)
            tasks[(number * 7 + seed) % 40].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await pool.close()
        assert sandbox.opened == sandbox.closed

    wait(scenario())


def test_box_of_a_cancelled_task_comes_back(tmp_path: Path) -> None:
    """Cancelling the only task that holds a box lets the waiting one have it, clean."""
    pool, sandbox = pool_of(1, tmp_path)

    async def holder(held: asyncio.Event) -> None:
        async with pool.box() as box:
            await box.apply({"file": b"changed"})
            held.set()
            await asyncio.Event().wait()

    async def scenario() -> None:
        held = asyncio.Event()
        task = asyncio.create_task(holder(held))
        await held.wait()
        task.cancel()
        async with pool.box() as box:
            assert (await box.run(TRUE)).output == "base"
        assert sandbox.opened == 1

    wait(scenario())


def test_closed_pool(tmp_path: Path) -> None:
    """Closing closes idle boxes now and held ones when they come back; whoever waits is told. Twice is no fault."""
    pool, sandbox = pool_of(1, tmp_path)

    async def late() -> None:
        async with pool.box():
            raise AssertionError

    async def scenario() -> None:
        async with pool.box() as box:
            waiting = asyncio.create_task(late())
            await pool.close()
            await pool.close()
            await box.run(TRUE)
            assert sandbox.closed == 0
        assert sandbox.closed == 1
        with pytest.raises(SandboxLost):
            await waiting

    wait(scenario())


def test_default_size_is_that_of_the_machine(tmp_path: Path) -> None:
    """Without a size there is one seat for each processor that may be used, and always one."""
    pool = Pool(MemorySandbox(answer), Base(root=tmp_path, home=tmp_path), Toolchain(path=(), mounts=()), Limits())
    assert pool.size == cpus() >= 1
