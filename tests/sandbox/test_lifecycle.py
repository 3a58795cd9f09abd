"""How boxes begin and end: cancellation, killed owners, sweeping, engines that die."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import swarmcode
from swarmcode import assets
from swarmcode.errors import SandboxLost, SandboxUnavailable
from swarmcode.sandbox.choose import choose
from swarmcode.sandbox.owner import Owner, started
from swarmcode.sandbox.protocol import Base, Command, Limits, Toolchain

if TYPE_CHECKING:
    from conftest import Bench, Benches

OWNER = """
import asyncio, sys
from pathlib import Path
from swarmcode.sandbox.choose import choose
from swarmcode.sandbox.protocol import Base, Command, Limits, Toolchain

async def main():
    sandbox = await choose(sys.argv[1], run=sys.argv[2])
    base = Base(root=Path(sys.argv[3]), home=Path(sys.argv[4]))
    box = await sandbox.open(base, Toolchain(path=("/usr/bin", "/bin"), mounts=()), Limits())
    print("open", flush=True)
    result = await box.run(Command(argv=tuple(sys.argv[5:])))
    print(result.output, end="")

asyncio.run(main())
"""
"""A run that holds a box and works in it until it is killed."""


@contextlib.contextmanager
def owner(bench: Bench, run: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", OWNER, bench.kind, run, str(bench.base.root), str(bench.base.home)]
    argv += ["sleep", "1000"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()


def containers(run: str) -> list[str]:
    argv = ["docker", "ps", "--all", "--quiet", "--filter", f"label=swarmcode.run={run}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def remove_one(run: str) -> None:
    """Removes the newest container of a run."""
    container, *_ = containers(run)
    subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)


def supervisors(parent: int) -> list[str]:
    """Command lines of what runs below a process."""
    listing = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if line.split()[0] == str(parent)]


def test_cancelled_command_is_killed(anywhere: Bench) -> None:
    """Cancelling a task kills its command; the box is usable at once, and holds what it held."""
    anywhere.apply({"app.py": b"print('applied')\n"})

    async def scenario() -> None:
        task = asyncio.create_task(anywhere.box.run(Command(argv=("sleep", "1000"), inputs={"in": b"x"})))
        while not task.done():
            await asyncio.sleep(0.02)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    anywhere.wait(scenario())
    assert anywhere.shell("cat app.py").output == "print('applied')\n"
    if anywhere.sandbox.isolated:
        assert anywhere.shell("cat /proc/[0-9]*/comm").output.splitlines().count("sleep") == 0


def test_cancelled_opening_leaves_nothing(anywhere: Bench) -> None:
    """A box that is still being made when its task is cancelled is unmade before the cancellation goes on."""

    async def scenario() -> None:
        opening = anywhere.sandbox.open(anywhere.base, anywhere.toolchain, Limits())
        task = asyncio.create_task(opening)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = len(containers(f"tests-{anywhere.kind}")) if anywhere.kind == "docker" else len(supervisors(os.getpid()))
    anywhere.wait(scenario())
    after = len(containers(f"tests-{anywhere.kind}")) if anywhere.kind == "docker" else len(supervisors(os.getpid()))
    assert after <= before


def test_closed_box_is_lost(anywhere: Bench) -> None:
    """Using a closed box raises `SandboxLost`; closing it twice does not."""
    box = anywhere.open()
    anywhere.wait(box.close())
    anywhere.wait(box.close())
    for use in (box.reset, lambda: box.run(Command(argv=("true",))), lambda: box.apply({"a": b""})):
        with pytest.raises(SandboxLost):
            anywhere.wait(use())


def test_killed_run_leaves_nothing(anywhere: Bench) -> None:
    """After the owner of a box was killed with SIGKILL, a sweep leaves no container, no process and no folder of it."""
    with owner(anywhere, "killed-run") as process:
        name = f"-{process.pid}-{started(process.pid)}-"
        process.send_signal(signal.SIGKILL)
        process.wait()
        anywhere.wait(anywhere.sandbox.sweep())
        if anywhere.kind == "docker":
            assert containers("killed-run") == []
        assert not [
            path for path in Path(os.environ.get("TMPDIR", "/tmp")).glob("swarmcode-box-*") if name in path.name
        ]
        assert supervisors(process.pid) == []


def test_sweep_spares_the_living(anywhere: Bench) -> None:
    """A sweep by another process removes nothing of a run that lives."""
    with owner(anywhere, "living-run") as process:
        anywhere.wait(anywhere.sandbox.sweep())
        assert process.poll() is None
        if anywhere.kind == "docker":
            assert len(containers("living-run")) == 1
        assert anywhere.shell("echo on").output == "on\n"


@pytest.mark.docker
def test_sweep_removes_containers_of_dead_owners(benches: Benches) -> None:
    """A container that outlived its owner (its engine was restarted, say) is found by its labels and removed."""
    bench = benches.get("docker")
    engine = bench.sandbox._daemon
    bench.wait(bench.sandbox.sweep())
    labels = Owner.current("dead-run").labels | {"swarmcode.start": "1"}, Owner.current("own-run").labels
    dead, own = (engine._client.containers.create(engine.prepare({}), ["none"], labels=some) for some in labels)
    try:
        assert bench.wait(bench.sandbox.sweep()) == 1
        assert containers("dead-run") == []
        assert containers("own-run") == [own.short_id]
    finally:
        engine.remove(dead)
        engine.remove(own)


def test_dead_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no engine answers, one line says so and names the place, another what to do."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(SandboxUnavailable) as caught:
        asyncio.run(choose("docker", run="r"))
    assert str(tmp_path) in caught.value.message
    assert "\n" not in caught.value.message
    assert "bwrap" in caught.value.hint
    assert caught.value.exit_code == 3


def test_engine_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine on another machine cannot show folders of this one: it is refused."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:1")
    with pytest.raises(SandboxUnavailable, match="another machine"):
        asyncio.run(choose("docker", run="r"))


class Relay:
    """A socket before the engine's, which can be cut."""

    def __init__(self, path: Path) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._server.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect("/var/run/docker.sock")
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.mark.docker
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_engine_that_dies_under_a_command(benches: Benches, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Losing the engine raises `SandboxLost` with what to do; closing afterwards still works, and nothing stays."""
    bench = benches.get("docker")
    place = tmp_path / "relay.sock"
    relay = Relay(place)

    async def scenario() -> None:
        with monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", f"unix://{place}")
            sandbox = await choose("docker", run="cut-off")
        box = await sandbox.open(bench.base, bench.toolchain, Limits())
        task = asyncio.create_task(box.run(Command(argv=("sleep", "1000"))))
        await asyncio.sleep(0.1)
        relay.cut()
        place.unlink()
        with pytest.raises(SandboxLost) as caught:
            await task
        assert "engine" in caught.value.message
        assert caught.value.hint
        await box.close()
        await sandbox.close()

    asyncio.run(scenario())
    if left := containers("cut-off"):
        subprocess.run(["docker", "wait", *left], capture_output=True, timeout=10, check=False)
    gc.collect()  # the SDK forgets sockets that it could not connect; the warnings belong to this test


@pytest.mark.docker
def test_container_that_is_taken_away(benches: Benches) -> None:
    """A container that somebody removes is lost, and is not taken for a command that ran out of memory."""
    bench = benches.get("docker")
    box = bench.open()

    async def scenario() -> None:
        task = asyncio.create_task(box.run(Command(argv=("sleep", "1000"))))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(remove_one, "tests-docker")
        with pytest.raises(SandboxLost, match="taken away"):
            await task

    bench.wait(scenario())
    bench.wait(box.close())


@pytest.mark.docker
def test_supervisor_killed_for_memory(benches: Benches) -> None:
    """Where the kernel takes the first process of a box for want of memory, the command is said to be the reason."""
    bench = benches.get("docker")
    limits = Limits(memory_mb=48, disk_mb=256, processes=64)
    box = bench.open(limits)
    bench.wait(box.apply({"app.py": b"applied"}))
    hoard = "for n in range(100):\n    open(f'{n}', 'wb').write(bytes(1 << 20))"
    result = bench.python(hoard, box=box)
    assert result.killed == "memory"
    assert bench.shell("cat app.py", box=box).output == "applied"
    bench.wait(box.close())


@pytest.mark.docker
def test_missing_image(tmp_path: Path) -> None:
    """An image that is not here and cannot be pulled is named, with what to do."""

    async def scenario() -> None:
        sandbox = await choose("docker", run="r", image="127.0.0.1:1/no/such:image")
        try:
            await sandbox.open(Base(root=tmp_path, home=Path("/srv/repo")), Toolchain(path=(), mounts=()), Limits())
        finally:
            await sandbox.close()

    with pytest.raises(SandboxUnavailable, match=r"no image 127\.0\.0\.1:1/no/such:image") as caught:
        asyncio.run(scenario())
    assert "docker pull" in caught.value.hint


def reachable(interpreter: str) -> bool:
    """Whether any user may run an interpreter, and it is new enough."""
    places = [Path(interpreter).resolve(), *Path(interpreter).resolve().parents]
    if not all(place.exists() and place.stat().st_mode & 0o005 == 0o005 for place in places):
        return False
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([interpreter, "-c", code], check=False).returncode == 0


@pytest.mark.bwrap
def test_ordinary_user(benches: Benches) -> None:
    """Bubblewrap needs no root: somebody without any rights opens a box, and is still nobody special in it."""
    benches.get("bwrap")
    if os.geteuid() != 0:
        pytest.skip("all other tests show it already: they run as an ordinary user")
    interpreter = next(filter(reachable, (sys.executable, "/usr/bin/python3")), None)
    if interpreter is None:
        pytest.skip("there is no Python 3.11 that other users may run")
    source = Path(swarmcode.__file__).parent.parent
    base = assets.folder("sandboxes") / "supervisor"
    result = subprocess.run(
        [interpreter, "-c", OWNER, "bwrap", "ordinary", base, "/srv/repo", "sh", "-c", "id -u; ls tree.py"],
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stderr, result.stdout) == ("", "open\n65534\ntree.py\n")
