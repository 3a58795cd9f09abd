"""`swarmcode config`: every setting, its value, and where that came from."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from swarmcode.cli.boundary import say
from swarmcode.cli.models import default_model
from swarmcode.cli.output import answer
from swarmcode.cli.place import folder_of
from swarmcode.config import load, state_home, user_file
from swarmcode.options import SETTINGS


def config(
    repo: Annotated[Path, typer.Option(metavar="DIR", help="The repository whose project file counts.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Prints each setting with its source.

    A setting is taken from the first of: a flag, the environment (SWARMCODE_*), the project (swarmcode.toml, or
    [tool.swarmcode] in pyproject.toml), the user's file, `swarmcode models default`, the default.
    """
    home = state_home(os.environ)
    found = load({}, environ=os.environ, repo=folder_of(repo), kept=default_model(home))
    for warning in found.warnings:
        say(f"warning: {warning}")
    if as_json:
        values = {
            key: {"value": found.values[key], "origin": source.origin, "place": source.place}
            for key, source in found.sources.items()
        }
        answer(json.dumps({"settings": values, "user_file": str(user_file()), "state": str(home)}, indent=2))
        return
    for key, declared in SETTINGS.items():
        answer(f"{key:<18} {_shown(found.values[key]):<12} {found.sources[key]!s:<10} # {declared.what}")
    answer(f"\nuser file: {user_file()}\nstate:     {home}")


def _shown(value: Any) -> str:
    """A value as one would write it in a file."""
    return json.dumps(value)
