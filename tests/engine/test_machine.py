"""What a process may use is read from the control group and the affinity, whichever is less."""

import os
from pathlib import Path

import pytest

from swarmcode.engine import machine


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu_dot_max": "50000 100000\n"}, 1),
        ({"cpu_dot_max": "max 100000\n"}, 10_000),
        ({"cpu__cpu.cfs_quota_us": "100000", "cpu__cpu.cfs_period_us": "100000"}, 1),
        ({"cpu__cpu.cfs_quota_us": "-1", "cpu__cpu.cfs_period_us": "100000"}, 10_000),
        ({"cpu_dot_max": "nonsense"}, 10_000),
        ({}, 10_000),
    ],
)
def test_cpus_are_limited_by_quota_and_affinity(tmp_path: Path, files: dict[str, str], quota: int) -> None:
    """Both versions of control groups, none, and one that cannot be read; always at least one."""
    assert machine.cpus(write(tmp_path, **files)) == min(quota, len(os.sched_getaffinity(0)))


def test_memory_is_what_the_group_and_the_machine_leave(tmp_path: Path) -> None:
    """The smaller of both; a group without a limit leaves what the machine has."""
    meminfo = write(tmp_path, meminfo="MemTotal: 9 kB\nMemAvailable:   4096 kB\n") / "meminfo"
    assert machine.memory(tmp_path, meminfo) == 4096 * 1024
    write(tmp_path, memory_dot_max="max", memory_dot_current="77")
    assert machine.memory(tmp_path, meminfo) == 4096 * 1024
    write(tmp_path, memory_dot_max="3000", memory_dot_current="1000")
    assert machine.memory(tmp_path, meminfo) == 2000
    write(tmp_path, memory_dot_max="3000", memory_dot_current="4000")
    assert machine.memory(tmp_path, meminfo) == 0


def test_memory_without_meminfo_is_half_of_the_machine(tmp_path: Path) -> None:
    """Where the system does not tell what is available."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.memory(tmp_path, tmp_path / "none") == total // 2
