"""The supervisor's pure parts: bringing any tree back, and the filter of system calls."""

import importlib
import itertools
import os
import shutil
import stat
import struct
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode import assets

FOLDER = str(assets.folder("sandboxes") / "supervisor")


def load(name: str) -> ModuleType:
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, FOLDER)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(FOLDER)
        sys.dont_write_bytecode = writes


tree, syscalls, command = load("tree"), load("syscalls"), load("command")

NAMES = st.sampled_from(["a", "b", "file", "removed-0", "sub"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["write", "folder", "link", "delete", "mode", "pipe"]), PATHS), max_size=12
)


def attempt(kind: str, path: Path, target: Path) -> None:
    """What a command may do to a path, with links to `target`; failing is no matter. Nothing is done through a link."""
    if path.parent.resolve() != path.parent.absolute():
        return
    try:
        match kind:
            case "write":
                path.parent.mkdir(parents=True, exist_ok=True)
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOFOLLOW)
                os.write(fd, b"changed")
                os.close(fd)
            case "folder":
                path.mkdir(parents=True, exist_ok=True)
            case "link":
                path.symlink_to(target)
            case "pipe":
                os.mkfifo(path)
            case "mode":
                if not path.is_symlink():
                    path.chmod(0o500)
            case "delete":
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError:
        pass


def picture(folder: Path) -> dict[str, object]:
    """All that is in a folder, with modes, times and contents."""
    found: dict[str, object] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else os.readlink(path) if path.is_symlink() else b""
        time = info.st_mtime_ns if stat.S_ISREG(info.st_mode) else 0
        found[str(path.relative_to(folder))] = info.st_mode, content, time
    return found


@settings(max_examples=60, deadline=None)
@given(made=ACTIONS, done=ACTIONS)
def test_any_tree_comes_back(made: list[tuple[str, str]], done: list[tuple[str, str]]) -> None:
    """Whatever the base holds and whatever is done to its copy: a reset makes the copy what the base is."""
    with tempfile.TemporaryDirectory() as place:
        base, home, outside = (Path(place).resolve() / name for name in ("base", "home", "outside"))
        for folder in (base, home, outside):
            folder.mkdir()
        for kind, path in made:
            if kind != "pipe":
                attempt(kind, base / path, outside)
        before = picture(base)
        copy = tree.Tree(str(base), str(home), [], {})
        copy.reset()
        assert picture(home) == before
        for kind, path in done:
            attempt(kind, home / path, outside)
        copy.reset()
        assert picture(home) == before
        assert picture(base) == before
        assert not list(outside.iterdir())


@settings(max_examples=60, deadline=None)
@given(done=ACTIONS, path=PATHS)
def test_changes_never_pass_a_link(done: list[tuple[str, str]], path: str) -> None:
    """Wherever a command has put links, applying a change writes in the tree or is refused."""
    with tempfile.TemporaryDirectory() as place:
        base, home, outside = (Path(place).resolve() / name for name in ("base", "home", "outside"))
        for folder in (base, home, outside):
            folder.mkdir()
        copy = tree.Tree(str(base), str(home), [], {})
        copy.reset()
        for kind, where in done:
            attempt(kind, home / where, outside)
        try:
            copy.apply({path: b"new"})
            assert (home / path).resolve() == home / path
            assert (home / path).read_bytes() == b"new"
        except tree.Refused:
            pass
        assert not list(outside.iterdir())


def test_mounts_and_links_of_the_maker_stay(tmp_path: Path) -> None:
    """What is mounted in the tree is neither copied nor removed; links are laid over the base, and put back."""
    base, home = tmp_path / "base", tmp_path / "home"
    (base / ".venv").mkdir(parents=True)
    (base / ".venv" / "of-the-base").touch()
    (home / ".venv" / "mounted").mkdir(parents=True)
    copy = tree.Tree(str(base), str(home), [".venv"], {"deep/env": "/elsewhere"})
    copy.reset()
    (home / "deep" / "env").unlink()
    (home / "deep" / "junk").touch()
    copy.reset()
    assert sorted(str(path.relative_to(home)) for path in home.rglob("*")) == [
        ".venv",
        ".venv/mounted",
        "deep",
        "deep/env",
    ]
    assert os.readlink(home / "deep" / "env") == "/elsewhere"
    for path in (".venv", ".venv/x", "deep/env", "deep/env/x"):
        with pytest.raises(tree.Refused):
            copy.apply({path: b""})


@given(st.integers(0, 20), st.lists(st.binary(max_size=30)))
def test_tail(size: int, pieces: list[bytes]) -> None:
    """However output comes in, exactly its last bytes are kept."""
    tail = command.Tail(size)
    for piece in pieces:
        tail.add(piece)
    whole = b"".join(pieces)
    assert tail.bytes() == whole[max(0, len(whole) - size) :]


def verdict(code: bytes, machine: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What a filter says of a system call: a small machine for the part of classic BPF that it uses."""
    padded = (*arguments, *[0] * 6)[:6]
    data = struct.pack("=iIQ6Q", number, machine, 0, *padded)
    steps = list(struct.iter_unpack("=HBBI", code))
    place = accumulator = 0
    for _ in itertools.repeat(None, len(steps)):
        operation, yes, no, value = steps[place]
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
                place += 1
            case 0x06:
                return value
            case _:
                met = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}
                place += 1 + (yes if met[operation] else no)
    raise AssertionError("the filter has no end")


ALLOW, NOT_PERMITTED, NO_SUCH_CALL = 0x7FFF0000, 0x00050001, 0x00050026
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


@pytest.mark.parametrize("machine", MACHINES)
def test_filter(machine: str) -> None:
    """Calls on the list are refused, calls with bad arguments too, all others are let through, on each architecture."""
    code, which = syscalls.program(machine), list(MACHINES).index(machine)

    def ask(number: int, *arguments: int) -> int:
        return verdict(code, MACHINES[machine], number, arguments)

    refused = {numbers[which] for numbers in syscalls.REFUSED.values()}
    unknown = {numbers[which] for numbers in syscalls.UNKNOWN.values()}
    for number in range(600):
        expected = NOT_PERMITTED if number in refused else NO_SUCH_CALL if number in unknown else ALLOW
        assert ask(number) == expected
    clone, socket, ioctl = syscalls.CLONE[which], syscalls.SOCKET[which], syscalls.IOCTL[which]
    assert ask(clone, 17) == ALLOW
    assert ask(clone, 0x10000000 | 17) == NOT_PERMITTED
    assert ask(socket, 1) == ALLOW
    assert ask(socket, 40) == NOT_PERMITTED
    assert ask(ioctl, 0, 0x5401) == ALLOW
    assert ask(ioctl, 0, 0x5412) == NOT_PERMITTED
    assert ask(ioctl, 0, 0x5412 | 1 << 32) == NOT_PERMITTED
    assert verdict(code, 0x40000003, 0) == NO_SUCH_CALL
    assert ask(0x40000000 + 1) == NO_SUCH_CALL


def test_no_filter_for_an_unknown_machine() -> None:
    """A machine whose numbers are not known gets no filter, rather than a wrong one."""
    assert syscalls.program("riscv64") == b""
