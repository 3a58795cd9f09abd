"""The fake behaves like the real ones where callers can tell, and breaks exactly where it is told to."""

import asyncio
from pathlib import Path

import pytest

from swarmcode.errors import DiffError, SandboxLost
from swarmcode.sandbox.memory import MemoryBox, MemorySandbox, at, seeded
from swarmcode.sandbox.protocol import Base, Command, CommandResult, Limits, Toolchain


def answer(tree: dict[str, bytes], command: Command) -> CommandResult:
    tree["made"] = b"by the command"
    return CommandResult(exit_code=len(tree), killed="", output=" ".join(sorted(tree)), files={}, seconds=0.0)


async def open_box(sandbox: MemorySandbox, folder: Path) -> MemoryBox:
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "a.py").write_bytes(b"base")
    box = await sandbox.open(Base(root=folder, home=folder), Toolchain(path=(), mounts=()), Limits())
    assert isinstance(box, MemoryBox)
    return box


def test_command_sees_and_changes_the_tree(tmp_path: Path) -> None:
    """A command gets the base with the changes applied; a reset takes back both its own and theirs."""

    async def scenario() -> None:
        box = await open_box(MemorySandbox(answer), tmp_path)
        await box.apply({"b.py": b"new", "src/a.py": None})
        assert (await box.run(Command(argv=("x",)))).output == "b.py made"
        await box.reset()
        assert box.tree == {"src/a.py": b"base"}

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["../x", "/x", "", ".git/config", "src/a.py/below"])
def test_bad_paths_are_refused(tmp_path: Path, path: str) -> None:
    """As in every sandbox, a bad path raises `DiffError` and nothing is changed."""

    async def scenario() -> None:
        box = await open_box(MemorySandbox(answer), tmp_path)
        with pytest.raises(DiffError):
            await box.apply({"fine": b"", path: b""})
        assert box.tree == {"src/a.py": b"base"}

    asyncio.run(scenario())


def test_breaks_where_it_is_told_to(tmp_path: Path) -> None:
    """A box breaks at the step that was named and stays broken; another one works."""

    async def scenario() -> None:
        sandbox = MemorySandbox(answer, lose=at(3))
        box = await open_box(sandbox, tmp_path)
        await box.reset()
        for _ in range(2):
            with pytest.raises(SandboxLost):
                await box.run(Command(argv=("x",)))
        await (await open_box(sandbox, tmp_path)).reset()
        await sandbox.close()
        assert (sandbox.opened, sandbox.closed) == (2, 2)

    asyncio.run(scenario())


def test_chance_is_the_same_for_the_same_seed() -> None:
    """Chaos can be repeated."""
    steps = range(1000)
    first, again, other = ([seeded(seed, 0.3)(step) for step in steps] for seed in (1, 1, 2))
    assert first == again != other
    assert 200 < sum(first) < 400


def test_one_box_serves_one_task(tmp_path: Path) -> None:
    """Two tasks in one box are a mistake of the caller, and found."""

    async def scenario() -> None:
        box = await open_box(MemorySandbox(answer), tmp_path)
        with pytest.raises(AssertionError, match="two tasks"):
            await asyncio.gather(box.reset(), box.reset())

    asyncio.run(scenario())
