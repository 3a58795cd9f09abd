"""How an isolated box is laid out: what is mounted where, and what is memory. Containers and bubblewrap share it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmcode.sandbox import host
from swarmcode.sandbox.box import Layout
from swarmcode.sandbox.host import Mount
from swarmcode.sandbox.protocol import Limits, Toolchain

TMP, SHM = "/tmp", "/dev/shm"  # noqa: S108
EIGHTHS = {host.SCRATCH: 1, TMP: 2, SHM: 1}
"""Of a box's disk; the tree has the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A box before it is made."""

    layout: Layout
    mounts: tuple[Mount, ...]
    """All read-only."""
    links: Mapping[str, str]
    """Symbolic links outside the tree: place -> target."""
    sizes: Mapping[str, int]
    """Memory file systems: place -> megabytes."""
    env: Mapping[str, str]
    """What every command gets."""


def plan(
    base: Path,
    home: Path,
    toolchain: Toolchain,
    limits: Limits,
    *,
    system: bool,
    nested: bool,
    uid: int | None = None,
) -> Plan:
    """`system`: the host's programs are shown. `nested`: a mount may stand deep in the tree. `uid`: see `Layout`.

    Raises `SandboxUnavailable` where the tree cannot stand at `home`.
    """
    host.check_home(home)
    system_mounts = host.system() if system else ()
    shown, links = _place(toolchain, home, system_mounts, nested=nested)
    inner = {str(Path(place).relative_to(home)): target for place, target in links.items() if _below(Path(place), home)}
    outer = {place: target for place, target in links.items() if not _below(Path(place), home)}
    mounts = (
        Mount(source=base, target=host.BASE),
        *host.supervisor().mounts,
        *system_mounts,
        *shown,
    )
    inside = [str(path.relative_to(home)) for path in (Path(mount.target) for mount in shown) if _below(path, home)]
    layout = Layout(
        base=host.BASE,
        home=str(home),
        scratch=host.SCRATCH,
        folders=tuple(EIGHTHS),
        mounts=tuple(inside),
        links=inner,
        outer_mounts=(str(home), *(mount.target for mount in mounts)),
        uid=uid,
    )
    sizes = {place: max(1, limits.disk_mb * part // 8) for place, part in EIGHTHS.items()}
    sizes[str(home)] = max(1, limits.disk_mb - sum(sizes.values()))
    links = {**(host.links() if system else {}), **outer}
    return Plan(layout=layout, mounts=mounts, links=links, sizes=sizes, env=_env(toolchain, system=system))


def _place(
    toolchain: Toolchain, home: Path, system: Sequence[Mount], *, nested: bool
) -> tuple[tuple[Mount, ...], dict[str, str]]:
    """Where the toolchain appears: mounts, and links by their absolute place. What is a link on the host stays one."""
    mounts, links = [], {}
    shown = [Path(mount.target) for mount in system]
    for number, path in enumerate(host.distinct(toolchain.mounts)):
        if path == home or any(_below(path, other) for other in shown):
            continue
        target = str(path)
        if path.is_symlink():
            links[target] = str(path.readlink())
            continue
        if _below(path, home) and path.parent != home and not nested:
            # The folders on the way to such a mount would belong to whoever makes the box, not to its user.
            target = f"{host.TREES}/{number}"
            links[str(path)] = target
        mounts.append(Mount(source=path, target=target))
    return tuple(mounts), links


def _below(path: Path, other: Path) -> bool:
    return path == other or path.is_relative_to(other)


def _env(toolchain: Toolchain, *, system: bool) -> dict[str, str]:
    path = {"PATH": ":".join(toolchain.path)} if system and toolchain.path else {}
    return {"HOME": "{scratch}", "TMPDIR": TMP, **path, **toolchain.env}
