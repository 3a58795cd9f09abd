"""The hook of pre-commit, and the examples in `docs/ci.md`: that they say what the program understands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from swarmcode.cli import app

REPOSITORY = Path(__file__).parent.parent
(HOOK,) = yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text())
EXAMPLES = [
    yaml.safe_load(text)
    for text in re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / "ci.md").read_text(), re.DOTALL)
]


def understood(command: str) -> dict[str, Any]:
    """The options of a call of `swarmcode`, as the program reads them. Raises what it raises."""
    program, name, *arguments = shlex.split(command)
    assert program == "swarmcode"
    group: Any = get_command(app)
    params: dict[str, Any] = group.commands[name].make_context(name, arguments).params
    return params


def commands(part: object) -> Iterator[str]:
    """Every call of `swarmcode` in a script of an example."""
    if isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from commands(inner)
    elif isinstance(part, str):
        for line in part.splitlines():
            if line.startswith("swarmcode "):
                yield re.split(r" (?:>|\|\|)", line)[0]


def test_the_hook_does_nothing_where_tests_pass_and_writes_a_fix_where_they_fail() -> None:
    """Its entry is a call of ours that needs no issue; what a person adds as `args` comes behind it."""
    options = understood(HOOK["entry"] + " --sandbox bwrap --timeout 120")
    assert (options["if_failing"], options["apply"], options["issue"]) == (True, True, "")


def test_the_hook_is_one_run_at_a_push() -> None:
    """The suite runs once, whatever files have changed, if any of Python has; and by hand."""
    assert HOOK["id"] == "swarmcode"
    assert HOOK["language"] == "python"
    assert (HOOK["types"], HOOK["pass_filenames"], HOOK["require_serial"]) == (["python"], False, True)
    assert HOOK["stages"] == ["pre-push", "manual"]
    assert HOOK["verbose"]


def test_there_are_examples() -> None:
    """One for pre-commit, one for each of two kinds of CI."""
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("command", sorted({command for example in EXAMPLES for command in commands(example)}))
def test_calls_in_examples_are_understood(command: str) -> None:
    """Whoever copies one gets no usage error."""
    understood(command)
