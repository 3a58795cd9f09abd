"""Run folders: named, locked, found again, and in the end removed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from swarmcode import runs
from swarmcode.errors import StateError, UsageError


def test_a_run_folder_is_named_by_time_and_closed_to_others(tmp_path: Path) -> None:
    """Ids read as a time and sort as one; two of the same second differ; no other user can look inside."""
    with runs.opened(tmp_path) as first, runs.opened(tmp_path) as second:
        assert first != second
        assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", first.name)
        assert first.parent == tmp_path / "runs"
        assert first.stat().st_mode & 0o077 == 0


def test_a_run_is_alive_while_it_is_open(tmp_path: Path) -> None:
    """The lock shows it, and goes with the block."""
    with runs.opened(tmp_path) as folder:
        assert runs.alive(folder)
    assert not runs.alive(folder)


def test_a_killed_run_is_not_alive(tmp_path: Path) -> None:
    """The lock goes with the process, even where nothing of it could clean up."""
    code = (
        "import os, pathlib, sys; from swarmcode import runs\n"
        "with runs.opened(pathlib.Path(sys.argv[1])) as folder:\n"
        "    print(folder, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == -9
    assert not runs.alive(Path(done.stdout.strip()))


def test_old_runs_go_and_living_ones_stay(tmp_path: Path) -> None:
    """The latest are kept, with the new one as one of them; a run that lives stays however old it is."""
    for number in range(5):
        (tmp_path / "runs" / f"2020010{number}-000000-0000").mkdir(parents=True)
    (tmp_path / "runs" / "20200101-000000-0000" / "tree").mkdir()
    lock = tmp_path / "runs" / "20200100-000000-0000" / "lock"
    lock.touch()
    code = (
        "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with runs.opened(tmp_path, keep=3) as new:
            left = [folder.name for folder in runs.folders(tmp_path)]
    assert left == ["20200100-000000-0000", "20200103-000000-0000", "20200104-000000-0000", new.name]


def test_the_copy_of_a_killed_run_goes_when_the_next_begins(tmp_path: Path) -> None:
    """The copy of the tree is large; what the run had found out is kept, and a run that lives keeps all."""
    with runs.opened(tmp_path) as killed:
        (killed / runs.SNAPSHOT / "base").mkdir(parents=True)
        (killed / "journal.jsonl").touch()
    with runs.opened(tmp_path) as living:
        (living / runs.SNAPSHOT).mkdir()
        assert [path.name for path in sorted(killed.iterdir())] == ["journal.jsonl", "lock"]
        with runs.opened(tmp_path):
            assert (living / runs.SNAPSHOT).is_dir()


def test_links_are_no_runs(tmp_path: Path) -> None:
    """A link among the runs is neither listed nor followed when old runs go."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "0000").symlink_to(precious)
    with runs.opened(tmp_path, keep=1):
        assert precious.is_dir()
        assert len(runs.folders(tmp_path)) == 1


def test_a_place_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    """A state directory that cannot be made ends with exit code 3 and the name of the variable."""
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be written") as caught, runs.opened(tmp_path / "file" / "home"):
        pass
    assert caught.value.exit_code == 3
    assert "SWARMCODE_HOME" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_place_says_what_to_do(tmp_path: Path) -> None:
    """The same where it is there and read-only."""
    tmp_path.chmod(0o500)
    with pytest.raises(StateError, match="Permission denied"), runs.opened(tmp_path / "home"):
        pass


def test_a_run_is_found_by_its_id_or_a_piece_of_it(tmp_path: Path) -> None:
    """Whole, by its beginning, by its end, or as the last one."""
    for name in ("20200101-000000-aaaa", "20200102-000000-bbbb", "20200102-000000-cccc"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name, meant in {"20200101": "aaaa", "bbbb": "bbbb", "20200102-000000-cccc": "cccc", "last": "cccc"}.items():
        assert runs.find(tmp_path, name).name.endswith(meant)


@pytest.mark.parametrize("name", ["", "x", "..", "../runs", "20200102", "last"])
def test_a_run_that_is_not_there_or_not_alone_is_a_usage_error(tmp_path: Path, name: str) -> None:
    """Nothing outside the run folders is ever meant, and what may mean two is not guessed."""
    if name != "last":
        for each in ("20200102-000000-bbbb", "20200102-000000-cccc"):
            (tmp_path / "runs" / each).mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        runs.find(tmp_path, name)
    assert caught.value.hint
