"""What is printed is printed whole, or the command says that it was not."""

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from swarmcode import runs

if TYPE_CHECKING:
    from conftest import Shell

PROGRAM = (sys.executable, "-c", "from swarmcode.cli import main; main()")


def in_a_shell(line: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The program as `$@` of a line of bash."""
    command = ["bash", "-c", f"set -o pipefail; {line}", "bash", *PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", ["runs", "config", "config --json", "models list --json", "--version"])
def test_a_full_disk_is_told(shell: "Shell", arguments: str) -> None:
    """Exit code 3 and two lines: no traceback, no complaint of the interpreter at its end."""
    with runs.opened(shell.home):
        pass
    done = in_a_shell('"$@" >/dev/full', *arguments.split())
    assert done.returncode == 3
    assert done.stderr == (
        "swarmcode: standard output cannot be written: No space left on device\n"
        "  send it to a place that can be written\n"
    )


def test_a_reader_that_has_seen_enough_is_no_error(shell: "Shell") -> None:
    """`swarmcode config | head -1` says nothing on standard error."""
    done = in_a_shell('"$@" | true', "config")
    assert done.stderr == ""
