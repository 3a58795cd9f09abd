"""Runs one command to its end or its limit; afterwards nothing of it is left but what it wrote."""

import os
import resource
import select
import signal
import stat
import time
from dataclasses import dataclass
from typing import NoReturn

import processes
import syscalls
from wire import Blob, Wire

CHUNK = 1 << 16
WATCH_SECONDS = 0.1
REAP_SECONDS = 0.25
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run, and what it may use."""

    argv: list[str]
    env: dict[str, str]
    """Beside the supervisor's own, which holds what a given image sets and nothing of the host's."""
    folder: str
    seconds: float
    output_bytes: int
    """Of its output, the tail that is kept."""
    rlimits: dict[str, int]
    """Name as in `resource`, without `RLIMIT_` -> soft and hard limit."""
    memory_bytes: int
    """Of the whole box, watched from here; 0 where the kernel sees to it."""
    filtered: bool
    """Whether system calls that no test needs are refused."""
    folders: list[str]
    """Memory file systems that count as memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    exit_code: int | None
    killed: str
    """``, `timeout`, `memory`, or `cancelled`."""
    output: bytes
    seconds: float


class Tail:
    """The last bytes of a stream, in memory of at most twice that."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > 2 * self._size:
            del self._kept[: -self._size or None]

    def bytes(self) -> bytes:
        return bytes(self._kept[-self._size :] if self._size else b"")


class Run:
    """One command while it runs."""

    def __init__(self, order: Order, wire: Wire, wake: int) -> None:
        self._order = order
        self._wire = wire
        self._wake = wake
        self._tail = Tail(order.output_bytes)
        self._killed = ""
        self._statuses: dict[int, int] = {}

    def __call__(self) -> Ended:
        ooms = processes.oom_kills()
        started = time.monotonic()
        self._pipe, write_end = os.pipe()
        try:
            main = _spawn(self._order, write_end)
        finally:
            os.close(write_end)
        self._wait(main, started + self._order.seconds)
        seconds = time.monotonic() - started
        self._statuses |= processes.end_all()
        self._drain()
        code = self._exit_code(main)
        if not self._killed and code == 128 + signal.SIGKILL and processes.oom_kills() > ooms:
            self._killed = "memory"
        return Ended(
            exit_code=None if self._killed else code,
            killed=self._killed,
            output=self._tail.bytes(),
            seconds=seconds,
        )

    def _wait(self, main: int, deadline: float) -> None:
        poll = select.poll()
        for fd in (self._pipe, self._wake, 0):
            poll.register(fd, select.POLLIN)
        while main not in self._statuses and not self._killed:
            left = deadline - time.monotonic()
            if left <= 0:
                self._killed = "timeout"
                return
            pause = WATCH_SECONDS if self._order.memory_bytes else REAP_SECONDS
            for fd, _ in poll.poll(1000 * min(left, pause)):
                if fd == self._pipe:
                    if not self._read():
                        poll.unregister(fd)
                elif fd == self._wake:
                    os.read(self._wake, CHUNK)
                else:
                    self._listen()
            self._statuses |= processes.reap()
            if self._order.memory_bytes and processes.held_memory(self._order.folders) > self._order.memory_bytes:
                self._killed = "memory"

    def _read(self) -> bool:
        data = os.read(self._pipe, CHUNK)
        self._tail.add(data)
        return bool(data)

    def _listen(self) -> None:
        """The only word that may come now is to stop; a host that has hung up means the same."""
        frame = self._wire.poll()
        if self._wire.ended or (frame is not None and frame.header["do"] == "kill"):
            self._killed = "cancelled"

    def _drain(self) -> None:
        os.set_blocking(self._pipe, False)
        try:
            while self._read():
                pass
        except BlockingIOError:
            pass  # without a process namespace someone may have escaped and hold the other end
        finally:
            os.close(self._pipe)

    def _exit_code(self, main: int) -> int | None:
        status = self._statuses.get(main)
        if status is None:
            return None
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code


def collect(folder: str, names: list[str], limit: int) -> dict[str, Blob]:
    """Opens those of the named files that are there, are regular and not longer than `limit` bytes."""
    found = {}
    for name in names:
        try:
            fd = os.open(os.path.join(folder, name), READ)
        except OSError:
            continue  # missing, a link, or made unreadable: as if it were not there
        info = os.fstat(fd)
        if stat.S_ISREG(info.st_mode) and info.st_size <= limit:
            found[name] = Blob(fd, info.st_size)
        else:
            os.close(fd)
    return found


def _spawn(order: Order, output: int) -> int:
    pid = os.fork()
    if pid == 0:
        _become(order, output)
    return pid


def _become(order: Order, output: int) -> NoReturn:
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 256)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _volunteer()
        if order.filtered:
            syscalls.restrict()
        for name, limit in order.rlimits.items():
            kind = getattr(resource, f"RLIMIT_{name}")
            hard = resource.getrlimit(kind)[1]
            limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (limit, limit))
        os.chdir(order.folder)
        os.execvpe(order.argv[0], order.argv, {**os.environ, **order.env})  # noqa: S606
    except (FileNotFoundError, NotADirectoryError) as error:
        _fail(127, order, error)
    except OSError as error:
        _fail(126, order, error)
    finally:
        os._exit(126)


def _volunteer() -> None:
    """Where memory is short the kernel is to take the command, not the supervisor."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, b"900")
        os.close(fd)
    except OSError:
        pass  # a hint that not every kernel takes


def _fail(code: int, order: Order, error: OSError) -> NoReturn:
    where = order.folder if error.filename == order.folder else order.argv[0]
    os.write(2, f"{where}: {error.strerror}\n".encode(errors="replace"))
    os._exit(code)
