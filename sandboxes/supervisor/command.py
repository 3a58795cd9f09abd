"""Runs one command to its end or its limit; afterwards nothing of it is left but what it wrote."""

import os
import resource
import select
import signal
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import processes
import syscalls
import warm
from warm import Warm
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
    warm: bool
    """Whether a copy of a runner that has started already will do."""

    @property
    def key(self) -> tuple[object, ...]:
        """All that a started runner cannot change any more."""
        return self.argv, self.env, self.rlimits, self.filtered


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
    """One command while it runs: from its beginning, or as a copy of a runner that has started before.

    Afterwards `warm` is all that is left in the box; where it is None, nothing is.
    """

    def __init__(self, order: Order, wire: Wire, wake: int, spare: Warm | None = None) -> None:
        self.warm = spare
        self._order = order
        self._wire = wire
        self._wake = wake
        self._tail = Tail(order.output_bytes)
        self._killed = ""
        self._statuses: dict[int, int] = {}
        self._main = 0
        self._said = ""
        """What the runner has answered."""

    def __call__(self) -> Ended:
        ooms = processes.oom_kills()
        started = time.monotonic()
        if self.warm and not (self._order.warm and self.warm.key == self._order.key and self.warm.fit):
            self._end_all()
        self._follow(self._begin, started + self._order.seconds)
        seconds = time.monotonic() - started
        status = warm.status(self._said) if self._said else None
        if status is None or not self._is_clean():
            self._end_all()
        self._drain()
        code = self._exit_code(self._statuses.get(self._main) if status is None else status)
        if not self._killed and code == 128 + signal.SIGKILL and processes.oom_kills() > ooms:
            self._killed = "memory"
        return Ended(
            exit_code=None if self._killed else code,
            killed=self._killed,
            output=self._tail.bytes(),
            seconds=seconds,
        )

    def warm_up(self) -> None:
        """Starts a runner and waits until it waits. `warm` stays None where the command is no such runner."""
        self._follow(self._begin_runner, time.monotonic() + self._order.seconds)
        if self.warm and self._said == warm.READY and self._is_clean():
            self.warm.settle()
        else:
            self._end_all()
        self._drain()

    def _follow(self, begin: Callable[[int], int], deadline: float) -> None:
        self._pipe, output = os.pipe()
        try:
            self._main = begin(output)
        finally:
            os.close(output)
        self._wait(deadline)

    def _begin(self, output: int) -> int:
        if self.warm is None:
            return _spawn(self._order, output, None)
        self.warm.begin(self._order.folder, output)
        return self.warm.pid

    def _begin_runner(self, output: int) -> int:
        ours, theirs = warm.pair()
        with theirs:
            pid = _spawn(self._order, output, theirs.fileno())
        self.warm = Warm(pid, ours, self._order.key)
        return pid

    def _is_clean(self) -> bool:
        """Whether there is nobody but a runner that may be used again."""
        self._statuses |= processes.reap()
        fine = self.warm is not None and not self._killed and self._main not in self._statuses
        return fine and processes.alone(self._main)

    def _end_all(self) -> None:
        self._statuses |= processes.end_all()
        if self.warm:
            self.warm.close()
        self.warm = None

    def _wait(self, deadline: float) -> None:
        poll = select.poll()
        for fd in (self._pipe, self._wake, 0, *([self.warm.fd] if self.warm else [])):
            poll.register(fd, select.POLLIN)
        while self._main not in self._statuses and not self._said and not self._killed:
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
                elif self.warm and fd == self.warm.fd:
                    self._said = self.warm.hear()
                    if not self._said:
                        poll.unregister(fd)
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

    def _exit_code(self, status: int | None) -> int | None:
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


def _spawn(order: Order, output: int, link: int | None) -> int:
    pid = os.fork()
    if pid == 0:
        _become(order, output, link)
    return pid


def _become(order: Order, output: int, link: int | None) -> NoReturn:
    env = {**os.environ, **order.env}
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if link is not None:
            os.dup2(link, warm.DESCRIPTOR)
            env[warm.VARIABLE] = str(warm.DESCRIPTOR)
        os.closerange(3 if link is None else warm.DESCRIPTOR + 1, 256)
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
        os.execvpe(order.argv[0], order.argv, env)  # noqa: S606
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
