"""A test runner that has been started once, and of which a copy is made for each run: most of what a short run costs
is the start of the interpreter and of the runner, and that is the same every time.

The runner itself offers it (see `swarmcode_probe`): before anything of the project is loaded it says `ready` over a
socket, and from then on forks for every job that comes. It runs as the same user as what it forks, so:

- it is not dumpable: what runs in the box cannot trace it, nor reach its memory or descriptors;
- what a process can change of another one without tracing it (limits, priority, affinity) is compared before each job;
- it is alone in the box before each job: where a run leaves a process behind, both are ended.

What is left to a hostile run is to stop or kill it. That ends this run, with the verdict that it gets for it, and the
next one starts anew.
"""

import array
import os
import select
import socket

import processes

DESCRIPTOR = 3
"""Where the runner finds the socket."""
VARIABLE = "SWARMCODE_WARM"
MESSAGE = 4096
READY = "ready"


class Warm:
    """A runner that waits for jobs, or is on its way there."""

    def __init__(self, pid: int, link: socket.socket, key: object) -> None:
        self.pid = pid
        self.key = key
        """What it was started with: jobs that differ in that need another one."""
        self.fd = link.fileno()
        self._link = link
        self._posture: object = None

    def settle(self) -> None:
        """It waits, and nothing of the project has run in the box since it began."""
        self._posture = processes.posture(self.pid)

    @property
    def fit(self) -> bool:
        """Whether nobody has laid a hand on it. It never speaks between two jobs."""
        try:
            return processes.posture(self.pid) == self._posture and not select.select([self.fd], [], [], 0)[0]
        except OSError:
            return False

    def begin(self, folder: str, output: int) -> None:
        """Starts a copy in `folder`, its output going to the descriptor `output`."""
        rights = array.array("i", [output])
        try:
            self._link.sendmsg([os.fsencode(folder)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError:
            pass  # it is gone, which is about to be noticed

    def hear(self) -> str:
        """What it says: `ready`, the wait status of the copy, or nothing where it is gone."""
        try:
            return self._link.recv(MESSAGE).decode("ascii", "replace")
        except OSError:
            return ""

    def close(self) -> None:
        """Lets go of it. Idempotent."""
        self._link.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a line that keeps messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def status(said: str) -> int | None:
    """The wait status that a message holds; None where it holds none."""
    if not said.isdecimal():
        return None
    number = int(said)
    plain = os.WIFEXITED(number) or os.WIFSIGNALED(number)
    return number if plain and number < 1 << 16 else None
