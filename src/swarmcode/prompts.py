"""Loads and renders what is said to models: the files in `prompts/`, strictly (an unknown name is an error)."""

from functools import cache
from typing import Any

import jinja2

from swarmcode.assets import folder


@cache
def _environment() -> jinja2.Environment:
    # Prompts are plain text for a model, not HTML: escaping would change the code that they quote.
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder("prompts")),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )


def render(name: str, **values: Any) -> str:
    """The prompt `name`: a file in `prompts/` without its suffix. Raises `jinja2.UndefinedError` on a missing value."""
    return _environment().get_template(f"{name}.md.j2").render(**values)
