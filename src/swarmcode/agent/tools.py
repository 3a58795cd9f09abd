"""The tools that a model is offered: those of Kimi's published runs, with `run_tests` in place of a shell.

A shell is not among them: what an agent may do is what is listed here, and code runs only in the boxes that judge it.
"""

from typing import Any

from swarmcode.dialect.messages import Tool


def _tool(name: str, description: str, required: tuple[str, ...] = (), **properties: tuple[str, str]) -> Tool:
    """Properties are given by their type and what they mean."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: {"type": kind, "description": told} for key, (kind, told) in properties.items()},
        "required": list(required),
        "additionalProperties": False,
    }
    return Tool(name=name, description=description, parameters=schema)


TOOLS = (
    _tool(
        "view",
        "Shows a file with line numbers, or a range of its lines.",
        ("path",),
        path=("string", "The file, relative to the repository."),
        start=("integer", "First line, from 1."),
        end=("integer", "Last line, inclusive."),
    ),
    _tool(
        "search",
        "Finds lines that contain a text, in all files. In the text, .* stands for anything, and | parts alternatives.",
        ("text",),
        text=("string", "What to look for."),
        path=("string", "Only in this folder or file."),
    ),
    _tool("list", "Lists a folder.", path=("string", "The folder; without it, the top of the repository.")),
    _tool(
        "strreplace",
        "Replaces a text that stands exactly once in a file.",
        ("path", "old", "new"),
        path=("string", "The file."),
        old=("string", "The text as it stands, whole lines with their indentation, without line numbers."),
        new=("string", "The text that shall stand there instead."),
    ),
    _tool(
        "insert",
        "Inserts lines behind a line of a file.",
        ("path", "line", "text"),
        path=("string", "The file."),
        line=("integer", "Number of the line; 0 is the top of the file."),
        text=("string", "The lines."),
    ),
    _tool(
        "createfile",
        "Makes a new file.",
        ("path", "text"),
        path=("string", "The file."),
        text=("string", "Its whole content."),
    ),
    _tool(
        "run_tests",
        "Runs the failing tests on your changes, in a sandbox without network.",
        all=("boolean", "Run the whole suite instead."),
    ),
    _tool("submit", "Ends the work: your changes are tried against the whole suite."),
)
