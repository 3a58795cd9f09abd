"""Finds what ships beside the code: prompts, sandbox files, the embedded model.

In an installed wheel they lie inside the package; in a checkout, `prompts/` and `sandboxes/` lie at the top level.
"""

from pathlib import Path
from typing import Literal

PACKAGE = Path(__file__).parent


def folder(name: Literal["prompts", "sandboxes", "models"]) -> Path:
    """The folder that holds `name`. Raises `FileNotFoundError` where the installation is incomplete."""
    for place in (PACKAGE / name, PACKAGE.parent.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"{name} is missing from the installation at {PACKAGE}: install swarmcode again")
