"""`swarmcode runs`: what earlier runs left."""

import os
from pathlib import Path
from typing import Annotated

import typer

from swarmcode.cli.boundary import say
from swarmcode.cli.output import answer, write_result
from swarmcode.config import state_home
from swarmcode.errors import StateError, UsageError
from swarmcode.events import RunEnded, RunFailed, RunStarted
from swarmcode.journal import edges
from swarmcode.report.jsonreport import render
from swarmcode.report.markdown import markdown
from swarmcode.report.patch import patch as proven
from swarmcode.report.summary import headline, summary
from swarmcode.report.terminal import one_line
from swarmcode.runs import alive, find, folders


def runs(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Id, a piece of it, or `last`; without it: a list.")] = "",
    patch: Annotated[bool, typer.Option("--patch", help="Print its proven patch.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print its report.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print it as Markdown, for a CI job's summary or a comment.")
    ] = False,
) -> None:
    """Lists the runs that are kept, or shows one again: its summary, its patch, or its report."""
    home = state_home(os.environ)
    forms = [flag for flag, on in (("--patch", patch), ("--json", as_json), ("--markdown", as_markdown)) if on]
    if len(forms) > 1:
        raise UsageError(f"{' and '.join(forms)} exclude each other", "give one of them")
    if run:
        _show(find(home, run), *forms)
        return
    if forms:
        raise UsageError("of which run?", f"name one: swarmcode runs last {forms[0]}")
    kept = folders(home)
    for folder in kept:
        answer(_row(folder))
    if not kept:
        say(f"there are no runs in {home}")


def _row(folder: Path) -> str:
    """One line: id, how it stands, what it was about."""
    try:
        first, last = edges(folder)
    except StateError as error:
        return f"{folder.name}  {error.message}"
    title = one_line(first.issue.title, 60) if isinstance(first, RunStarted) else ""
    if isinstance(last, RunEnded):
        return f"{folder.name}  {headline(last.report)}  {title}"
    if isinstance(last, RunFailed):
        return f"{folder.name}  failed: {one_line(last.message, 100)}  {title}"
    return f"{folder.name}  {'running' if alive(folder) else 'interrupted'}  {title}".rstrip()


def _show(folder: Path, form: str = "") -> None:
    _, last = edges(folder)
    if not isinstance(last, RunEnded):
        raise UsageError(
            f"run {folder.name} came to no report",
            f"where it still runs, wait; where it was ended, go on from it: swarmcode fix --resume {folder.name}",
        )
    match form:
        case "--json":
            write_result(render(last.report), None, folder.name)
        case "--markdown":
            write_result(markdown(last.report), None, folder.name)
        case "--patch":
            if not proven(last.report):
                raise UsageError(f"run {folder.name} proved no patch", f"see: swarmcode runs {folder.name}")
            write_result(proven(last.report), None, folder.name)
        case _:
            answer("\n".join(summary(last.report)))
