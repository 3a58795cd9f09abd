"""How much of this machine a process may use: its CPU affinity, its control group's quota, the memory that is left.

Linux's /proc and cgroup files are read where they exist; elsewhere the operating system's totals stand.
"""

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


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
