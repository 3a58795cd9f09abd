"""Runs inside a box: the one process that the host talks to, over standard input and output.

    start    -> takes its place, fills the tree
    apply    -> changes files of the tree, all or none
    warm     -> starts a test runner that waits for runs (see `warm`)
    run      -> runs a command
    kill     -> (only while a command runs; no answer of its own)
    reset    -> base tree, empty scratch and temporary folders, no process

When the host hangs up, in whatever way it died, the supervisor ends everything and itself. It runs on swarmcode's own
interpreter with nothing but the standard library, so that a box needs neither a shell nor a Python.

Covered: commands run as the supervisor's user and can neither trace nor signal it (see `processes`). Whatever they can
change of it (limits, priority, affinity) is compared before the box is used again, and the box given up if it differs.
Not covered: the supervisor limits neither network nor file access; that is for the namespaces that it was started in.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any

import processes
from command import Order, Run, collect
from tree import NEW, Refused, Tree, clear, parents, remove
from warm import Warm
from wire import Frame, Wire, write

TAMPERED = 3


class Supervisor:
    """Holds the box's tree and folders between requests."""

    def __init__(self, wire: Wire, config: dict[str, Any]) -> None:
        self._wire = wire
        self._config = config
        self._scratch: str = config["scratch"]
        self._folders = {folder: os.stat(folder).st_mode & 0o7777 for folder in config["folders"]}
        self._tree = Tree(config["base"], config["home"], config["mounts"], config["links"])
        self._outer: list[str] = config["outer_mounts"]
        self._wake, wake = os.pipe()
        for fd in (self._wake, wake):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, _noted)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._posture = processes.posture()
        self._warm: Warm | None = None
        """Alone in the box, if there is one."""

    def reset(self) -> None:
        if self._warm is None:
            processes.end_all()
        if processes.posture() != self._posture:
            os._exit(TAMPERED)
        if processes.FIRST:
            processes.remove_ipc()
        for folder, mode in self._folders.items():
            clear(folder, mode, self._outer)
        self._tree.reset()

    def apply(self, frame: Frame) -> None:
        contents = iter(frame.blobs)
        changes = {path: next(contents) if there else None for path, there in frame.header["changes"]}
        self._tree.apply(changes)

    def warm(self, frame: Frame) -> None:
        """Has a runner wait for runs with this very order, started on the tree as it is now."""
        order = Order(**frame.header["order"])
        if self._warm and (self._warm.key != order.key or not self._warm.fit):
            processes.end_all()
            self._warm.close()
            self._warm = None
        if self._warm is None:
            run = Run(order, self._wire, self._wake)
            run.warm_up()
            self._warm = run.warm
        self._wire.send({"warm": self._warm is not None})

    def run(self, frame: Frame) -> None:
        request = frame.header
        for name in request["collect"]:
            self._forget(name)
        for name, content in zip(request["inputs"], frame.blobs, strict=True):
            self._put(name, content)
        run = Run(Order(**request["order"]), self._wire, self._wake, self._warm)
        self._warm = None
        ended = run()
        self._warm = run.warm
        files = collect(self._scratch, request["collect"], request["file_bytes"])
        try:
            self._wire.send(
                {"exit_code": ended.exit_code, "killed": ended.killed, "seconds": ended.seconds, "files": list(files)},
                [ended.output, *files.values()],
            )
        finally:
            for blob in files.values():
                os.close(blob.fd)

    def _forget(self, name: str) -> None:
        fd = os.open(self._scratch, os.O_RDONLY | os.O_DIRECTORY)
        try:
            remove(fd, name)
        except FileNotFoundError:
            pass
        finally:
            os.close(fd)

    def _put(self, name: str, content: bytes) -> None:
        self._forget(name)
        fd = os.open(os.path.join(self._scratch, name), NEW, 0o644)
        try:
            write(fd, content)
        finally:
            os.close(fd)


def _noted(number: int, frame: FrameType | None) -> None:
    """A child has ended: the wake-up descriptor has told."""


def drop_privileges(uid: int, config: dict[str, Any]) -> None:
    """From the root that made the box to a user of its own, which then owns the folders."""
    ways = {os.path.join(config["home"], way) for mount in config["mounts"] for way in parents(mount)}
    for folder in (*config["folders"], config["home"], *ways):
        os.chown(folder, uid, uid)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    processes.die_with_parent()


def serve(wire: Wire) -> None:
    frame = wire.receive()
    if frame is None:
        return
    config = frame.header
    os.umask(0o022)
    if config["uid"] is not None:
        drop_privileges(config["uid"], config)
    processes.protect()
    supervisor = Supervisor(wire, config)
    supervisor.reset()
    wire.send({})
    while (frame := wire.receive()) is not None:
        match frame.header["do"]:
            case "reset":
                supervisor.reset()
                wire.send({})
            case "apply":
                try:
                    supervisor.apply(frame)
                    wire.send({})
                except Refused as refusal:
                    wire.send({"refused": str(refusal)})
            case "warm":
                supervisor.warm(frame)
            case "run":
                supervisor.run(frame)
            case "kill":
                pass  # what it was to end has ended by itself


def main() -> None:
    wire = Wire()
    try:
        serve(wire)
    except OSError as error:
        if wire.ended:
            return
        place = f" at {error.filename}" if error.filename else ""
        wire.send({"broken": f"{error.strerror}{place}", "errno": error.errno})
        sys.exit(1)
    finally:
        processes.end_all()


if __name__ == "__main__":
    main()
