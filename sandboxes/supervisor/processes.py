"""Everything that runs in the box: ending it, and watching what it holds.

In a process namespace of its own the supervisor is process 1, and one signal reaches every process that there is, at
once, so that no fork escapes it. Without one (the unisolated sandbox) it is the subreaper of its descendants and hunts
them down one by one, which a fork bomb can win.
"""

import ctypes
import os
import re
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

FIRST = os.getpid() == 1
PAGE = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36
IPC_RMID = 0
HUNT_SECONDS = 5.0
RLIMITS = 16
"""How many kinds of resource limit Linux has."""
OOM_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))

libc = ctypes.CDLL(None, use_errno=True)


def protect() -> None:
    """Takes every hold on the supervisor from the commands, which run as the same user.

    Not dumpable: no ptrace, no access to its memory or its descriptors through /proc. As process 1 it gets no signal
    that it does not handle, not even SIGKILL, from inside.
    """
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def die_with_parent() -> None:
    """Asked for anew, because a change of user forgets it."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def posture(pid: int = 0) -> tuple[object, ...]:
    """What a process can change of another one of its user without tracing it. Commands inherit all of it.

    Raises `OSError` where there is no such process (0: this one).
    """
    limits = tuple(resource.prlimit(pid, kind) for kind in range(RLIMITS))
    return limits, os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid), os.sched_getscheduler(pid)


def reap() -> dict[int, int]:
    """Wait statuses, by process id, of what has ended since the last call."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def end_all() -> dict[int, int]:
    """Kills every process but the supervisor; the wait statuses of those that were its children."""
    return _end_namespace() if FIRST else _hunt()


def _end_namespace() -> dict[int, int]:
    ended: dict[int, int] = {}
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return ended | reap()
        try:
            pid, status = os.waitpid(-1, 0)
            ended[pid] = status
        except ChildProcessError:
            # Someone is there who is no child: a command that the engine ran in the box from outside.
            return ended
        ended |= reap()


def _hunt() -> dict[int, int]:
    ended: dict[int, int] = {}
    until = time.monotonic() + HUNT_SECONDS
    while (prey := _descendants()) and time.monotonic() < until:
        for pid in prey:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass  # gone already, or out of reach: a set-user-id program
        ended |= reap()
        time.sleep(0.001)
    return ended | reap()


def alone(pid: int) -> bool:
    """Whether nothing runs in the box but the supervisor and `pid`."""
    others = set(_pids()) - {os.getpid()} if FIRST else set(_descendants())
    return others == {pid}


def _descendants() -> list[int]:
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def held_memory(folders: list[str]) -> int:
    """Bytes held by the processes of the box and by its memory file systems: an upper estimate without privileges."""
    files = sum((stat.f_blocks - stat.f_bfree) * stat.f_frsize for stat in map(os.statvfs, folders))
    return files + sum(_resident(pid) for pid in _pids() if pid != os.getpid())


def _resident(pid: int) -> int:
    """Pages of its own, plus its part of the shared ones where the kernel tells."""
    try:
        if match := re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE):
            return int(match[1]) * 1024
    except OSError:
        pass  # it has ended, or made itself unreadable; what follows is always readable
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def oom_kills() -> int:
    """How often the kernel has killed in this box because its memory was full; 0 where it does not tell."""
    for counter in OOM_COUNTERS:
        try:
            if match := re.search(r"^oom_kill (\d+)", counter.read_text(), re.MULTILINE):
                return int(match[1])
        except OSError:
            continue
    return 0


def remove_ipc() -> None:
    """Removes System V shared memory, queues and semaphores, which outlive their processes."""
    removals: dict[str, Callable[[int], object]] = {
        "shm": lambda number: libc.shmctl(number, IPC_RMID, None),
        "msg": lambda number: libc.msgctl(number, IPC_RMID, None),
        "sem": lambda number: libc.semctl(number, 0, IPC_RMID),
    }
    for kind, remove in removals.items():
        try:
            lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
        except OSError:
            continue  # a kernel without System V IPC
        for line in lines:
            remove(int(line.split()[1]))
