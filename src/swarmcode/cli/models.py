"""`swarmcode models`: which models there are, what each is, whether it fits this machine, and how to get one."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from swarmcode.cli.boundary import say
from swarmcode.config import state_home
from swarmcode.errors import ModelError, SwarmcodeError, UsageError
from swarmcode.report.terminal import counted, one_line

LONGEST_CELL = 4096
"""Characters: that of a path."""

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
    from swarmcode.engine import registry

    known = registry.load(_home())
    models = [_told(name, known) for name in (registry.EMBEDDED, *(entry.name for entry in known.entries))]
    if as_json:
        typer.echo(json.dumps({"default": known.default, "models": models}, indent=2))
        return
    head = ("", "name", "agents", "architecture", "parameters", "quantization", "size", "context")
    _table([head, *(_row(model) for model in models)])


def _told(name: str, known: Any) -> dict[str, Any]:
    """What is said of a model, in JSON or in a row; what is wrong with it, where its file cannot be used."""
    from swarmcode.engine import card, models

    told: dict[str, Any] = {"name": name, "default": name == known.default}
    entry = known.find(name)
    if entry is not None:
        told |= {"path": str(entry.path), "added": entry.added, "source": entry.source}
        told |= {"adapter": str(entry.adapter)} if entry.adapter else {}
    try:
        model = models.resolve(name, _home())
        read = card.read(model.path)
    except ModelError as error:
        gone = entry is not None and not entry.path.is_file()
        return told | {"error": "its file is gone" if gone else error.message}
    about = asdict(read)
    del about["layer_weights"]
    return told | {
        "path": str(model.path),
        "protocols": list(model.profile.protocols),
        "plans": model.profile.plans,
        "family": model.profile.family,
        "dialect": model.profile.dialect,
        "thinking_switch": model.profile.switch,
        "sampling": {
            name: asdict(sampling)
            for name, sampling in (("instant", model.profile.sampling), ("thinking", model.profile.reasoning))
            if sampling
        },
        "context": model.profile.context,
        "kv_bytes_per_token": model.cell_bytes,
        **about,
    }


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    mark = "*" if model["default"] else ""
    if "error" in model:
        return (mark, model["name"], model["error"])
    experts = f" ({_count(model['active'])} active)" if model["experts"] else ""
    return (
        mark,
        model["name"],
        ", ".join(model["protocols"]),
        model["architecture"],
        _count(model["parameters"]) + experts,
        _quantized(model),
        _bytes(model["size"]),
        f"{model['context']:,}",
    )


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
    say(f"{chosen.source}: {_bytes(chosen.size)} in {counted(len(chosen.files), 'file')}")
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
    typer.echo(entry.name)
    say(f"  use it with: swarmcode fix --model {entry.name}, or always: swarmcode models default {entry.name}")


@app.command("show")
def show(name: Name, as_json: AsJson = False) -> None:
    """Says what a model is."""
    from swarmcode.engine import card, models, registry

    model = models.resolve(name, _home())
    if as_json:
        known = registry.load(_home())
        typer.echo(json.dumps(_told(name, known), indent=2))
        return
    read, profile = card.read(model.path), model.profile
    total = sum(read.quantization.values()) or 1
    shares = ", ".join(f"{kind} {100 * share / total:.0f}%" for kind, share in read.quantization.items())
    experts = f"{read.experts} a layer, {read.experts_used} used for a token" if read.experts else "none: it is dense"
    _table(
        [
            ("name", profile.name),
            ("architecture", read.architecture),
            ("parameters", _count(read.parameters) + (f", {_count(read.active)} active" if read.experts else "")),
            ("experts", experts),
            ("layers", str(read.layers)),
            ("quantization", f"{read.file_type}: {shares}" if read.file_type else shares),
            ("size on disk", f"{_bytes(read.size)} in {counted(read.files, 'file')}"),
            (
                "trained context",
                f"{read.trained_context:,} tokens" if read.trained_context else "its file does not say",
            ),
            ("used context", f"{profile.context:,} tokens at most"),
            ("chat template", "yes" if read.template else "no"),
            ("agent protocols", ", ".join(profile.protocols) + (", and it plans" if profile.plans else "")),
            *_habits(profile),
            ("KV cache", f"{_bytes(model.cell_bytes)} a token, at most"),
            *([("adapter", _adapted(model))] if model.adapter else []),
            ("path", str(model.path)),
        ]
    )


def _adapted(model: Any) -> str:
    from swarmcode.engine import adapter

    told = adapter.read(model.adapter, model.path, model.profile.name)
    return f"{told.name}, of {counted(told.weights, 'weight')}, alpha {told.alpha:g}: {model.adapter}"


def _habits(profile: Any) -> list[tuple[str, str]]:
    """How an instruction-tuned model is spoken with."""
    if not profile.chat_template:
        return []
    return [
        ("family", profile.family or "none that is known"),
        ("tool calls", f"in the form of {profile.dialect}" if profile.dialect else "its template shows none"),
        ("thoughts", f"turned on by {profile.switch}" if profile.switch else "cannot be turned on or off"),
        ("sampling", _sampled(profile.sampling)),
        *([("with thoughts", _sampled(profile.reasoning))] if profile.reasoning else []),
        *([("ends its turns", " ".join(profile.stops))] if profile.stops else []),
    ]


def _sampled(sampling: Any) -> str:
    limits = {"top-k": sampling.top_k, "top-p": sampling.top_p if sampling.top_p < 1 else 0, "min-p": sampling.min_p}
    told = [f"temperature {sampling.temperature:g}", *(f"{name} {value:g}" for name, value in limits.items() if value)]
    return f"{', '.join(told)}, {sampling.max_tokens:,} tokens at most"


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
        typer.echo(registry.load(home).default)
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

    And how it would lie in memory: the KV cache and its layout, and what could go to a GPU. Exit code 0 if it fits
    with nothing cut, else 1.
    """
    from swarmcode.engine import budget, card, machine, models
    from swarmcode.engine.fit import Host, fit

    if not 0 < agents <= budget.MAX_SEATS:
        raise UsageError(f"{agents} agents cannot run at once", f"ask for 1 to {budget.MAX_SEATS}")
    if not 0 <= context <= 1 << 24:
        raise UsageError(f"a context of {context} tokens is none", f"ask for 1 to {1 << 24}, or 0")
    model = models.resolve(name, _home())
    read, gpus = card.read(model.path), machine.gpus()
    host = Host(memory=machine.memory(), gpus=len(gpus), gpu_memory=sum(gpu.free for gpu in gpus))
    wish = budget.Wish(agents=agents, context=context or model.profile.context)
    found = fit(read, model.profile.context, model.cell_bytes, host, wish)
    unused = [gpu.name for gpu in machine.cards()] if not gpus else []
    _table(_fit_rows(found, read, host, wish, unused))
    if not found.fits:
        raise typer.Exit(SwarmcodeError.exit_code)


def _fit_rows(found: Any, read: Any, host: Any, wish: Any, unused: list[str]) -> list[tuple[str, str]]:
    from swarmcode.engine import machine

    kept = "read from disk again and again: more than memory holds" if found.mapped else "mapped, and kept in memory"
    rows = [
        ("fits", "yes" if found.fits else f"no: {found.why}"),
        ("asked for", f"{counted(wish.agents, 'agent')} with up to {wish.context:,} tokens each"),
        ("memory", f"{_bytes(host.memory)} free, {counted(machine.cpus(), 'core')}"),
        ("weights", f"{_bytes(read.size)}, {kept}"),
        ("layout", found.layout),
    ]
    if found.capacity is None:
        rows.append(("KV cache", "none: swarmcode would refuse to open the model"))
    else:
        rows += [
            ("KV cache", f"{_bytes(found.kv_bytes)} for {found.capacity.cells:,} tokens"),
            ("sequences", f"{found.capacity.context:,} tokens at most"),
            ("all full", f"{counted(found.full, 'agent')} at once, where nothing is shared; others wait"),
        ]
    rows.append(("most agents", f"{found.most_agents} with {found.context:,} tokens each"))
    host_memory = "in host memory, like all else" if read.experts else "none: it is dense"
    if found.placement is not None:
        placed = found.placement
        rows.append(("GPU", f"{_bytes(host.gpu_memory)} free on {counted(host.gpus, 'card')}"))
        rows.append(("GPU layers", f"{placed.gpu_layers} of {read.layers + 1} would fit"))
        beside = "in host memory, all else on the GPU" if placed.experts_on_host else "with their layers"
        rows.append(("experts", beside if read.experts else host_memory))
    else:
        built = f"none used: llama.cpp was built without support for {unused[0]}" if unused else "none"
        rows += [("GPU", built), ("GPU layers", "0"), ("experts", host_memory)]
    return rows


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as they must be; the last is free, and so is the last cell of a row that is shorter."""
    shown = [tuple(one_line(cell, LONGEST_CELL) for cell in row) for row in rows]
    whole = [row for row in shown if len(row) == len(shown[0])]
    widths = [max(len(row[column]) for row in whole) for column in range(len(shown[0]))]
    widths[1] = max(len(row[1]) for row in shown) if len(widths) > 2 else widths[1]
    for row in shown:
        cells = [cell if at == len(row) - 1 else cell.ljust(widths[at]) for at, cell in enumerate(row)]
        typer.echo("  ".join(cells).rstrip())


def _quantized(model: dict[str, Any]) -> str:
    return str(model["file_type"] or next(iter(model["quantization"]), "?"))


def _count(number: int) -> str:
    """`1.0T`, `32B`, `12M`."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _bytes(number: float) -> str:
    """`13.1 MB`: powers of a thousand, as publishers count."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} B"
