"""`swarmcode models`: which models there are, what each is, whether it fits this machine, and how to get one."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from swarmcode.cli.boundary import say
from swarmcode.cli.output import answer
from swarmcode.cli.table import byte_size, show_table
from swarmcode.config import load, state_home
from swarmcode.errors import ModelError, SwarmcodeError, UsageError
from swarmcode.report.terminal import counted, one_line

app = typer.Typer(
    help="Names models, fetches them, and says what each is and whether it fits this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of `swarmcode models list`, or the path of a GGUF.")]
AdapterFile = Annotated[
    Path | None,
    typer.Option("--adapter", metavar="PATH", help="A LoRA adapter that is put over it.", show_default=False),
]
NewName = Annotated[
    str, typer.Option("--name", metavar="NAME", help="How to call it.  [default: as its file]", show_default=False)
]


def default_model(home: Path) -> dict[str, str]:
    """The setting that `swarmcode models default` keeps; none where it is the embedded model. Raises `StateError`."""
    from swarmcode.engine import registry

    default = registry.load(home).default
    return {} if default == registry.EMBEDDED else {"model": default}


def _home() -> Path:
    return state_home(os.environ)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Lists the models that have a name.

    `*` marks the one that is used where neither a flag nor a setting names one.
    """
    from swarmcode.cli.model_facts import HEAD, listed, told
    from swarmcode.engine import registry

    home = _home()
    known = registry.load(home)
    names = (registry.EMBEDDED, *(entry.name for entry in known.entries))
    models = [told(name, known, home) for name in names]
    if as_json:
        answer(json.dumps({"default": known.default, "models": models}, indent=2))
        return
    show_table([HEAD, *(listed(model) for model in models)])


@app.command("add")
def add(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A GGUF file; of a model in parts, the first.")],
    name: NewName = "",
    adapter: AdapterFile = None,
) -> None:
    """Gives a GGUF file a name.

    It stays where it is. A file that swarmcode could not use is refused, and so is an adapter for another model.
    """
    from swarmcode.engine import models, registry

    place = path.expanduser().absolute()
    called = registry.checked_name(name) if name else registry.name_for(place)
    _check_free(called, place)
    model = models.describe(place, name=called)
    if adapter is not None:
        model = models.adapted(model, adapter)
    _register(registry.Entry(name=called, path=place, added=registry.now(), adapter=model.adapter))


@app.command("pull")
def pull_(
    model: Annotated[str, typer.Argument(metavar="REPO[:QUANT]", help="org/repo, org/repo:Q4_K_M, org/repo/file.gguf")],
    name: NewName = "",
) -> None:
    """Fetches a model from the Hugging Face hub.

    Its checksum is verified, and it is given a name. A download that broke off goes on when it is called again.
    """
    from swarmcode.engine import hub, models, offer, pull, registry

    home, endpoint = _home(), os.environ.get("HF_ENDPOINT") or None
    want = offer.wanted(model)
    if name:
        registry.checked_name(name)
    chosen = offer.choose(want, hub.ask(want, endpoint))
    called = name or registry.name_for(Path(chosen.files[0].name))
    _check_free(called, pull.target(chosen, home))
    say(f"{chosen.source}: {byte_size(chosen.size)} in {counted(len(chosen.files), 'file')}")
    try:
        place = _fetched(chosen, home, endpoint)
    except KeyboardInterrupt:
        say("swarmcode: interrupted; called again, it goes on where it stopped")
        raise
    try:
        models.describe(place, name=called)
    except ModelError as error:
        error.hint = f"{error.hint}; its files are in {place.parent}"
        raise
    _register(registry.Entry(name=called, path=place, added=registry.now(), source=chosen.source))


def _fetched(offer: Any, home: Path, endpoint: str | None) -> Path:
    """The files, with a line on standard error that shows how far it is."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from swarmcode.engine import pull

    columns = (
        TextColumn("{task.description}", markup=False),
        *(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(one_line(what, 60), total=total)
            shown.update(tasks[what], completed=done)

        return pull.fetch(offer, home, progress, endpoint)


def _check_free(name: str, path: Path) -> None:
    from swarmcode.engine import registry

    known = registry.load(_home()).find(name)
    if known is not None and known.path != path:
        raise UsageError(f"there is a model {name} already: {known.path}", "give another name with --name")


def _register(entry: Any) -> None:
    """A name that was there for this very file keeps what is known of it: that it was pulled, say."""
    from swarmcode.engine import registry

    def added(known: registry.Registry) -> registry.Registry:
        earlier = known.find(entry.name)
        same = earlier and (earlier.path, earlier.adapter) == (entry.path, entry.adapter)
        return known if same and not entry.source else known.with_entry(entry)

    registry.change(_home(), added)
    answer(entry.name)
    say(f"  use it with: swarmcode fix --model {entry.name}, or always: swarmcode models default {entry.name}")


@app.command("show")
def show(name: Name, as_json: AsJson = False) -> None:
    """Says what a model is."""
    from swarmcode.cli.model_facts import card_of, told
    from swarmcode.engine import models, registry

    home = _home()
    model = models.resolve(name, home)
    if as_json:
        answer(json.dumps(told(name, registry.load(home), home), indent=2))
        return
    show_table(card_of(model))


@app.command("remove")
def remove(
    name: Name,
    delete: Annotated[bool, typer.Option("--delete", help="Delete its files too, if they were pulled.")] = False,
) -> None:
    """Forgets the name of a model.

    Its files stay, unless --delete is given and swarmcode had pulled them.
    """
    from swarmcode.engine import pull, registry

    home = _home()
    known = registry.load(home)
    left = known.without(name)
    entry = known.known(name)
    others = [each.name for each in left.entries if each.path == entry.path]
    if delete and not (entry.pulled and entry.path.is_relative_to(home / "models")):
        raise UsageError(f"the files of {name} were not pulled, so they are yours: {entry.path}", "leave --delete out")
    if delete and others:
        raise UsageError(f"the files of {name} are those of {others[0]} too", "leave --delete out")
    registry.change(home, lambda now: now.without(name))
    if delete:
        pull.delete(entry.path)
    say(f"forgotten: {name}{'' if delete else f'; its files stay: {entry.path}'}")
    if known.default == name:
        say(f"  the default is {registry.EMBEDDED} again")


@app.command("default")
def default(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Without it: which one it is.", show_default=False)
    ] = "",
) -> None:
    """Sets the model that is used by default.

    That is: where neither a flag nor a setting names one.
    """
    from swarmcode.engine import models, registry

    home = _home()
    if not name:
        answer(registry.load(home).default)
        return
    registry.load(home).with_default(name)
    models.resolve(name, home)
    registry.change(home, lambda known: known.with_default(name))
    say(f"the default is {name}")


@app.command("fit")
def fit_(
    name: Name,
    agents: Annotated[int, typer.Option("--agents", metavar="N", help="Agents at once.")] = 100,
    context: Annotated[
        int, typer.Option("--context", metavar="C", help="Tokens of the longest sequence; 0: as many as the model can.")
    ] = 0,
) -> None:
    """Says whether a model fits this machine.

    And how it would lie in memory: the KV cache and its layout, and what goes to a GPU, by your settings (gpu_layers,
    experts). Exit code 0 if it fits with nothing cut, else 1.
    """
    from swarmcode.cli.engines import overrides
    from swarmcode.cli.model_facts import fitted
    from swarmcode.engine import budget, card, machine, models
    from swarmcode.engine.fit import fit
    from swarmcode.engine.llama.attention import kernel

    if not 0 < agents <= budget.MAX_SEATS:
        raise UsageError(f"{agents} agents cannot run at once", f"ask for 1 to {budget.MAX_SEATS}")
    if not 0 <= context <= 1 << 24:
        raise UsageError(f"a context of {context} tokens is none", f"ask for 1 to {1 << 24}, or 0")
    model = models.resolve(name, _home())
    read, host = card.read(model.path), machine.host()
    why_not = "" if host.gpus else kernel().why_not
    wish = budget.Wish(
        agents=agents,
        context=context or model.profile.context,
        pooled=not host.gpus and not why_not,
        exact=False,
    )
    decided = overrides(load({}, environ=os.environ, repo=None).settings.model)
    found = fit(read, model.profile.context, model.cell_bytes, host, wish, decided)
    unused = [gpu.name for gpu in machine.cards()] if not host.gpus else []
    show_table(fitted(found, read, host, wish, unused, why_not))
    if not found.fits:
        raise typer.Exit(SwarmcodeError.exit_code)
