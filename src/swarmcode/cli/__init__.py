"""The command line: one file per command, each flags -> config -> a call -> exit code. The only place that prints.

0    a fix, proven on the combined tree; with `fix --if-failing` also: all tests pass
1    no fix within the budget, or only a part of one
2    usage
3    the surroundings are missing something; the message says what to do
70   an error inside swarmcode itself
75   a passing fault, worth retrying
130  interrupted; the run can be resumed
"""

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from swarmcode import __version__
from swarmcode.cli import boundary, config, fix, models, runs, serve
from swarmcode.cli.output import answer
from swarmcode.engine.garbage import collect_seldom
from swarmcode.errors import SwarmcodeError

app = typer.Typer(
    name="swarmcode",
    help="Fixes failing tests with a swarm of agents on a local model, judged by the project's own tests.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)
app.command("fix", epilog=fix.EPILOG)(fix.fix)
app.command("config")(config.config)
app.command("runs")(runs.runs)
app.command("serve", epilog=serve.EPILOG)(serve.serve)
app.add_typer(models.app, name="models")


def _version(wanted: bool) -> None:
    if wanted:
        answer(f"swarmcode {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which one.")
    ] = False,
) -> None: ...


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point: one call of `swarmcode`. Leaves by `SystemExit` with an exit code of the table above."""
    boundary.install()
    collect_seldom()
    try:
        get_command(app).main(arguments, prog_name="swarmcode")
    except SwarmcodeError as error:
        boundary.tell(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(boundary.INTERRUPTED)
    raise AssertionError("typer leaves by SystemExit")
