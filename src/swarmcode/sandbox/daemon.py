"""The Docker engine: what swarmcode asks of it. The only caller of Docker."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound
from docker.models.containers import Container
from docker.types import LogConfig, Mount, Ulimit

from swarmcode.errors import SandboxLost, SandboxUnavailable
from swarmcode.sandbox import host, image
from swarmcode.sandbox.box import MB
from swarmcode.sandbox.line import Cause
from swarmcode.sandbox.owner import Owner
from swarmcode.sandbox.plan import SHM, Plan
from swarmcode.sandbox.protocol import Limits

T = TypeVar("T")

TIMEOUT = 60
"""Seconds that the engine may take for one answer."""
REMOVAL_SECONDS = 10
CONNECTIONS = 32
DEFAULT_SOCKET = Path("/var/run/docker.sock")
BOX_UID = 61000
"""Used where swarmcode itself runs as root; no distribution assigns it."""
INODES_PER_MB = 256
"""A file costs memory however short it is."""
OPEN_FILES = 4096
FAULTS = (DockerException, requests.RequestException, OSError)
"""The SDK lets faults of the transport through untranslated."""
START = "Start Docker (`systemctl start docker`, or `dockerd` as root), or use --sandbox bwrap."
ATTACH = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
KILLED = "137"
EVENT_TRIES, EVENT_PAUSE = 20, 0.1
RUN_LABEL = "swarmcode.run"


@dataclass(frozen=True, slots=True)
class Running:
    """A container, and the connection to its supervisor."""

    container: Container
    connection: socket.socket


class Daemon:
    """The engine; every method blocks. Faults come out as the SDK's; `call` translates them."""

    def __init__(self, owner: Owner, image: str) -> None:
        self.image = image
        """Given by the person; empty: the host's programs are shown."""
        self._owner = owner
        self._client, info = _connect()
        self._cpus = float(info.get("NCPU") or 1)
        options = " ".join(info.get("SecurityOptions") or ())
        self._ids = (os.geteuid(), os.getegid()) if os.geteuid() != 0 else (BOX_UID, BOX_UID)
        shifted = "name=rootless" in options or "name=userns" in options
        self.same_user = os.geteuid() == self._ids[0] and not shifted
        """Whether a box's user is, for the kernel, the one that swarmcode runs as."""

    def fetch(self) -> None:
        """Sees to it that a given image is there. Raises `SandboxUnavailable` where it cannot be had."""
        if not self.image or self._has(self.image):
            return
        try:
            self._client.images.pull(self.image)
        except FAULTS as error:
            raise SandboxUnavailable(
                f"there is no image {self.image} here, and it cannot be pulled: {_words(error)}",
                f"Check the name, or get it with `docker pull {self.image}` or `docker load`.",
            ) from error

    def prepare(self, links: Mapping[str, str]) -> str:
        """Name of the image to use: the given one, or one of links and tables, which is there afterwards."""
        if self.image:
            return self.image
        uid, gid = self._ids
        made = image.build(links, {"/etc/passwd": host.passwd(uid, gid), "/etc/group": host.group(gid)})
        if not self._has(made.tag):
            self._client.images.load(made.archive)
        return made.tag

    def start(self, name: str, plan: Plan, limits: Limits) -> Running:
        container = self._client.containers.create(name, **self._options(plan, limits))
        try:
            connection = _detached(container.attach_socket(params=ATTACH))
            try:
                container.start()
            except BaseException:
                connection.close()
                raise
        except BaseException:
            self.remove(container)
            raise
        return Running(container, connection)

    def cause(self, container: Container, since: float) -> Cause:
        """Why a container has ended. Raises `SandboxLost` where its command is not to blame."""
        wanted = {"container": container.id, "event": ["oom", "kill", "die"]}
        for _ in range(EVENT_TRIES):
            # Only what has happened so far: a stream that is left half read would leave its connection open.
            until = f"{time.time():.3f}"
            events = list(self._client.events(since=f"{since:.3f}", until=until, filters=wanted, decode=True))
            if events and events[-1]["Action"] == "die":
                return _cause(events)
            time.sleep(EVENT_PAUSE)
        raise SandboxLost(f"the container {container.short_id} does not answer, and has not ended either")

    def remove(self, container: Container) -> None:
        """Kills and removes; afterwards it is gone, unless the engine is."""
        try:
            container.remove(force=True)
        except APIError:
            # It is being removed already, because its connection ended, or is gone.
            self._await_removal(container)
        except FAULTS:
            pass  # the engine is dead: what it leaves is for a later sweep

    def _await_removal(self, container: Container) -> None:
        try:
            container.wait(condition="removed", timeout=REMOVAL_SECONDS)
        except FAULTS:
            pass  # gone

    def sweep(self) -> int:
        removed = 0
        found = self._client.containers.list(all=True, filters={"label": RUN_LABEL}, ignore_removed=True)
        for container in found:
            owner = Owner.from_labels(container.labels)
            if owner is not None and owner.gone:
                self.remove(container)
                removed += 1
        return removed

    def close(self) -> None:
        self._client.close()

    def _has(self, name: str) -> bool:
        try:
            self._client.images.get(name)
        except ImageNotFound:
            return False
        return True

    def _options(self, plan: Plan, limits: Limits) -> dict[str, Any]:
        uid, gid = self._ids
        memory = limits.memory_mb * MB
        program = host.supervisor().argv
        tmpfs = {place: _tmpfs(size, uid, gid) for place, size in plan.sizes.items() if place != SHM}
        return {
            "entrypoint": [program[0]],
            "command": list(program[1:]),
            "user": f"{uid}:{gid}",
            "working_dir": "/",
            "stdin_open": True,
            "labels": self._owner.labels,
            "auto_remove": True,
            "network_mode": "none",
            "ipc_mode": "private",
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "mounts": [_bind(mount) for mount in plan.mounts],
            "tmpfs": tmpfs,
            "shm_size": plan.sizes[SHM] * MB,
            "mem_limit": memory,
            "memswap_limit": memory,
            "nano_cpus": int(1e9 * min(limits.cpus, self._cpus)),
            "pids_limit": limits.processes + 1,
            "ulimits": [Ulimit(name="nofile", soft=OPEN_FILES, hard=OPEN_FILES)],
            "log_config": LogConfig(type="none"),
        }


def _cause(events: Sequence[dict[str, Any]]) -> Cause:
    """What a container's own events say of its end. Raises `SandboxLost` where somebody else ended it."""
    actions = {event["Action"] for event in events}
    if "oom" in actions:
        return "memory"
    if "kill" in actions:
        raise SandboxLost("a container was taken away under a command", "Is someone removing containers?")
    # Only the kernel can kill the first process of a box, and only for want of memory.
    return "memory" if events[-1]["Actor"]["Attributes"].get("exitCode") == KILLED else ""


def _detached(stream: Any) -> socket.socket:
    """The connection under what the SDK gives. The SDK's own part of it is closed here, which it leaves to chance."""
    given = stream._sock
    connection: socket.socket = given.dup()
    stream._response.close()
    given.close()
    return connection


def _connect() -> tuple[docker.DockerClient, dict[str, Any]]:
    place = _place()
    try:
        # Tried by hand first: the SDK says of every fault of the socket that it is one of the protocol.
        with socket.socket(socket.AF_UNIX) as attempt:
            attempt.settimeout(TIMEOUT)
            attempt.connect(place)
        client = docker.DockerClient(
            base_url=f"unix://{place}", version="auto", timeout=TIMEOUT, max_pool_size=CONNECTIONS
        )
        return client, client.info()
    except PermissionError as error:
        raise SandboxUnavailable(
            f"you may not use the Docker engine at {place}",
            "Join the group that owns this socket (`sudo usermod -aG docker $USER`, then log in again), "
            "or use --sandbox bwrap.",
        ) from error
    except FAULTS as error:
        raise SandboxUnavailable(f"no Docker engine answers at {place}: {_words(error)}", START) from error


def _place() -> str:
    """The engine's socket: DOCKER_HOST, else the usual one, else that of a rootless engine."""
    if given := os.environ.get("DOCKER_HOST"):
        scheme, _, place = given.partition("://")
        if scheme not in ("unix", "http+unix"):
            raise SandboxUnavailable(
                f"the Docker engine at {given} may be on another machine",
                "Boxes show folders of this one: unset DOCKER_HOST, or use --sandbox bwrap.",
            )
        return place
    rootless = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"), "docker.sock")
    return str(rootless if rootless.exists() and not DEFAULT_SOCKET.exists() else DEFAULT_SOCKET)


def _bind(mount: host.Mount) -> Mount:
    bind = Mount(target=mount.target, source=str(mount.source), type="bind", read_only=True, propagation="rprivate")
    # File systems mounted further down would come along writable: older engines set only the top one read-only.
    bind["BindOptions"]["NonRecursive"] = True
    return bind


def _tmpfs(size: int, uid: int, gid: int) -> str:
    return f"rw,exec,nosuid,nodev,size={size}m,nr_inodes={size * INODES_PER_MB},mode=0755,uid={uid},gid={gid}"


async def call(asked: Callable[[], T]) -> T:
    """Asks the engine in a thread. Raises `SandboxLost` where it fails to answer."""
    try:
        return await asyncio.to_thread(asked)
    except FAULTS as error:
        raise _translated(error) from error


def _translated(error: Exception) -> SandboxLost | SandboxUnavailable:
    if not isinstance(error, APIError):
        return SandboxLost(f"the Docker engine does not answer any more: {_words(error)}", START)
    if error.is_client_error():
        return SandboxUnavailable(f"the Docker engine refuses: {_words(error)}", "Use --sandbox bwrap.")
    return SandboxLost(f"the Docker engine failed: {_words(error)}", "Try again, or use --sandbox bwrap.")


def _words(error: Exception) -> str:
    """The part of a message that a person can use."""
    text = getattr(error, "explanation", None) or getattr(error, "strerror", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__
