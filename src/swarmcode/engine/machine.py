"""How much of this machine a process may use: its CPU affinity, its control group's quota, the memory that is left, and
the GPUs that llama.cpp was built for.

Linux's /proc and cgroup files are read where they exist; elsewhere the operating system's totals stand. Of GPUs, those
of NVIDIA are asked for through `nvidia-smi`, those of AMD are read from /sys. Not covered: Metal, and GPUs of others.
"""

import importlib.util
import math
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from swarmcode.engine.placement import Host

_CGROUP = Path("/sys/fs/cgroup")
_DRM = Path("/sys/class/drm")
_VENDORS = {"nvidia": frozenset({"cuda", "vulkan"}), "amd": frozenset({"hip", "vulkan"})}
"""llama.cpp's back ends that can use a vendor's GPUs."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A graphics card, as its driver tells of it."""

    vendor: str
    """A key of `_VENDORS`."""
    name: str
    total: int
    """Bytes of its memory."""
    free: int


def cpus(cgroup: Path = _CGROUP) -> int:
    """CPUs that computing threads may be spread over; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(affinity, _quota(cgroup))))


def memory(cgroup: Path = _CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes that can still be taken without swapping or being killed."""
    free = _number(cgroup / "memory.max") - _number(cgroup / "memory.current", absent=0)
    for line in _text(meminfo).splitlines():
        if line.startswith("MemAvailable:"):
            return int(max(0, min(free, int(line.split()[1]) * 1024)))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(max(0, min(free, total // 2)))


def gpus(built: frozenset[str] | None = None) -> tuple[Gpu, ...]:
    """The GPUs that llama.cpp can use where it was `built` for these back ends; None: as it is installed."""
    usable = backends() if built is None else built
    if usable.isdisjoint(frozenset().union(*_VENDORS.values())):
        return ()  # asking the drivers may take a second
    return tuple(gpu for gpu in cards() if _VENDORS[gpu.vendor] & usable)


def host() -> Host:
    """What there is to compute with."""
    found = gpus()
    return Host(memory=memory(), gpus=len(found), gpu_memory=sum(gpu.free for gpu in found))


def memory_nodes(nodes: Path = Path("/sys/devices/system/node")) -> int:
    """Nodes of memory, each near to some of the processors; 1 where nothing says so."""
    return max(1, len(list(nodes.glob("node[0-9]*"))))


def cards(environ: Mapping[str, str] = os.environ, drm: Path = _DRM) -> tuple[Gpu, ...]:
    """The GPUs of this machine that a process with this environment may use, whatever llama.cpp was built for."""
    return (*_nvidia(environ), *_amd(drm))


def backends() -> frozenset[str]:
    """What llama.cpp was built for, by the libraries that its Python package brings: `cpu`, `cuda`, ... Loads none."""
    package = importlib.util.find_spec("llama_cpp")
    folders = package.submodule_search_locations if package else None
    found = (file for folder in folders or () for file in Path(folder).glob("lib/*ggml-*"))
    return frozenset(file.name.partition("ggml-")[2].partition(".")[0] for file in found)


def _nvidia(environ: Mapping[str, str]) -> Iterator[Gpu]:
    command = ["nvidia-smi", "--query-gpu=index,uuid,name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=10, env=dict(environ), check=True
        )
    except (OSError, subprocess.SubprocessError):
        return
    rows = [[field.strip() for field in line.split(",")] for line in done.stdout.splitlines()]
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    wanted = None if chosen is None else tuple(one.strip() for one in chosen.split(",") if one.strip())
    for row in rows:
        if len(row) == 5 and row[3].isdecimal() and row[4].isdecimal() and _visible(row[0], row[1], wanted):
            yield Gpu(vendor="nvidia", name=row[2], total=int(row[3]) * _MIB, free=int(row[4]) * _MIB)


def _visible(index: str, uuid: str, wanted: tuple[str, ...] | None) -> bool:
    """As CUDA_VISIBLE_DEVICES has it: by number, or by the beginning of an id."""
    return wanted is None or any(one == index or (one.startswith("GPU-") and uuid.startswith(one)) for one in wanted)


def _amd(drm: Path) -> Iterator[Gpu]:
    for file in sorted(drm.glob("card*/device/mem_info_vram_total")):
        total, used = _number(file), _number(file.with_name("mem_info_vram_used"), absent=0)
        if math.isfinite(total):
            name = _text(file.with_name("product_name")) or "AMD GPU"
            yield Gpu(vendor="amd", name=name, total=int(total), free=int(max(0, total - used)))


def _quota(cgroup: Path) -> float:
    """CPUs' worth of time that the control group grants; infinity where it sets no limit."""
    quota, _, period = _text(cgroup / "cpu.max").partition(" ")
    if not period:  # version 1
        quota, period = _text(cgroup / "cpu/cpu.cfs_quota_us"), _text(cgroup / "cpu/cpu.cfs_period_us")
    try:
        granted = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return granted if granted > 0 else math.inf


def _number(file: Path, absent: float = math.inf) -> float:
    try:
        return int(_text(file))
    except ValueError:
        return absent


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
