"""Boxes that are bubblewrap sandboxes: namespaces without an engine, for an ordinary user or for root.

Covered: as in `docker`: no network, only the host's programs and the toolchain visible and read-only, private
processes, IPC and names, no capability, no new privileges, a user that is not root, disk limited by tmpfs sizes, number
of processes and file size by resource limits, and a filter of system calls (`sandboxes/supervisor/syscalls.py`).
Weaker than `docker`: memory is watched ten times a second and limited for each process, not by a control group of the
box, so that a command can overshoot for a moment; processor time is not limited at all beyond the number of boxes.
Not covered: faults of the kernel, and reading what the mounts show (see `host`).
"""

import asyncio
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from swarmcode.errors import SandboxLost, SandboxUnavailable
from swarmcode.sandbox import host
from swarmcode.sandbox.box import MB, Layout, OpenBoxes, Restraint, SupervisedBox
from swarmcode.sandbox.line import Line, PipeLine, child
from swarmcode.sandbox.owner import Owner, sweep_folders
from swarmcode.sandbox.plan import SHM, TMP, Plan, plan
from swarmcode.sandbox.protocol import Base, Box, Limits, Toolchain
from swarmcode.sandbox.shield import acquire, finish
from swarmcode.sandbox.stage import Stage

OLDEST = (0, 7)
"""The first bubblewrap that limits the size of a tmpfs."""
MACHINES = ("x86_64", "aarch64")
"""Those that the filter of system calls knows."""
FIRST_UID = 1_800_000_000
"""From here on users are made up, one for each box, where swarmcode runs as root: the kernel counts processes by user.
No distribution and no directory service assigns them."""
COUNTS_APART = (5, 14)
"""From this kernel on a user's processes are counted in each user namespace by itself."""
OPEN_FILES = 4096
INSTALL = "Install it (`apt install bubblewrap`, `dnf install bubblewrap`), or use --sandbox docker."
ALLOW = "User namespaces must be allowed (`sysctl user.max_user_namespaces`, AppArmor); or use --sandbox docker."


class BwrapSandbox:
    """A `Sandbox`. Made by `connect`."""

    name = "bwrap"
    isolated = True

    def __init__(self, program: str, owner: Owner) -> None:
        self._program = program
        self._stage = Stage(owner)
        self._boxes = OpenBoxes()
        self._opened = 0

    @classmethod
    async def connect(cls, *, run: str) -> "BwrapSandbox":
        """Finds bubblewrap and tries it. Raises `SandboxUnavailable` where it is missing, too old or not allowed."""
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxUnavailable("bubblewrap (`bwrap`) is not installed", INSTALL)
        if platform.machine() not in MACHINES:
            raise SandboxUnavailable(
                f"bubblewrap is not confined enough on {platform.machine()}", "Use --sandbox docker."
            )
        await _check_version(program)
        sandbox = cls(program, Owner.current(run))
        await sandbox._try()
        return sandbox

    async def open(self, base: Base, toolchain: Toolchain, limits: Limits) -> Box:
        source = base.root if os.geteuid() != 0 else await self._stage.source(base.root)
        uid = self._next_uid()
        made = await asyncio.to_thread(plan, source, base.home, toolchain, limits, system=True, nested=True, uid=uid)
        restraint = Restraint(rlimits=_rlimits(limits), filtered=True, memory=True)
        launch = partial(self._launch, made, uid)
        return await self._boxes.open(SupervisedBox(launch, made.layout, limits, made.env, restraint))

    async def sweep(self) -> int:
        # A box ends with its owner, by itself: only folders can be left.
        return await asyncio.to_thread(sweep_folders)

    async def close(self) -> None:
        await finish(self._close())

    async def _close(self) -> None:
        await self._boxes.close()
        await self._stage.close()

    def _next_uid(self) -> int | None:
        """The user that a box is to become; None where it stays who we are."""
        if os.geteuid() != 0:
            return None
        self._opened += 1
        return FIRST_UID + os.getpid() % (1 << 22) * 64 + self._opened % 64

    async def _launch(self, made: Plan, uid: int | None) -> Line:
        ids = (os.geteuid(), os.getegid()) if uid is None else (uid, uid)
        tables = {"/etc/passwd": host.passwd(*ids), "/etc/group": host.group(ids[1]), "/etc/hosts": host.hosts()}
        files = {place: _memory_file(content) for place, content in tables.items()}
        try:
            return await acquire(child([self._program, *_arguments(made, files, uid)], files.values()), _end)
        except OSError as error:
            raise SandboxLost(f"bubblewrap cannot be started: {error}") from error
        finally:
            for fd in files.values():
                os.close(fd)

    async def _try(self) -> None:
        """Makes a box that does nothing. Raises `SandboxUnavailable` where this machine does not let it."""
        nowhere = Plan(
            layout=Layout(base="", home="", scratch="", folders=()),
            links=host.links(),
            sizes={},
            env={},
            mounts=(*host.supervisor().mounts, *host.system()),
        )
        line = await child([self._program, *_arguments(nowhere, {}, None)])
        try:
            line.hang_up()
            if code := await line.wait():
                reason = await line.complaint() or f"it ended with {code}"
                raise SandboxUnavailable(f"bubblewrap does not work here: {reason}", ALLOW)
        finally:
            await line.end()


async def _end(line: PipeLine) -> None:
    await line.end()


def _arguments(made: Plan, files: Mapping[str, int], uid: int | None) -> Iterator[str]:
    """How bubblewrap is called. What lies deeper comes later, or it would be covered."""
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    if os.geteuid() != 0:
        yield from ("--unshare-user", "--cap-drop", "ALL")
    else:
        yield from ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_CHOWN")
    yield from ("--die-with-parent", "--as-pid-1", "--hostname", "box", "--proc", "/proc", "--dev", "/dev")
    steps: list[tuple[str, tuple[str, ...]]] = []
    steps += [(mount.target, ("--ro-bind", str(mount.source), mount.target)) for mount in made.mounts]
    steps += [(place, _tmpfs(place, size)) for place, size in made.sizes.items()]
    steps += [(place, ("--symlink", target, place)) for place, target in made.links.items()]
    steps += [(place, ("--perms", "0644", "--ro-bind-data", str(fd), place)) for place, fd in files.items()]
    # Made by themselves, the folders on the way would be closed to the box's user.
    ways = {str(way) for place, _ in steps for way in Path(place).parents} - {"/", "/dev"}
    steps += [(way, ("--perms", "0755", "--dir", way)) for way in ways - {place for place, _ in steps}]
    for _, step in sorted(steps, key=lambda step: len(Path(step[0]).parts)):
        yield from step
    yield from ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--", *host.supervisor().argv)


def _tmpfs(place: str, size: int) -> tuple[str, ...]:
    mode = "1777" if place in (TMP, SHM) else "0755"
    return ("--perms", mode, "--size", str(size * MB), "--tmpfs", place)


def _rlimits(limits: Limits) -> dict[str, int]:
    processes = limits.processes + 1 + (0 if os.geteuid() == 0 or _counts_apart(os.uname().release) else _own())
    return {"NPROC": processes, "DATA": limits.memory_mb * MB, "MSGQUEUE": 0, "NOFILE": OPEN_FILES}


def _counts_apart(release: str) -> bool:
    """Whether the kernel counts a user's processes in each user namespace by itself."""
    return _numbers(release) >= COUNTS_APART


def _own() -> int:
    """Processes and threads of this user, on the whole machine."""
    uid, count = os.geteuid(), 0
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and place.stat().st_uid == uid:
                count += len(os.listdir(place / "task"))
        except OSError:
            continue  # it has ended
    return count


async def _check_version(program: str) -> None:
    line = await child([program, "--version"])
    text = (await line.rest()).decode(errors="replace").strip()
    await line.end()
    if _numbers(text) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise SandboxUnavailable(
            f"{text or program} is too old: {wanted} is needed", "Update it, or use --sandbox docker."
        )


def _numbers(text: str) -> tuple[int, ...]:
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _memory_file(content: str) -> int:
    fd = os.memfd_create("swarmcode")
    os.write(fd, content.encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
