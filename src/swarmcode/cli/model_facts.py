"""What `swarmcode models` says of a model: as JSON, as a row of the list, as a card, and of how it fits the machine.

To be imported when one is asked for: it loads what reads models.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from swarmcode.cli.table import byte_size, short_count
from swarmcode.engine import adapter, card, machine, models
from swarmcode.engine.budget import Wish
from swarmcode.engine.card import Card
from swarmcode.engine.fit import Fit
from swarmcode.engine.models import ModelFile
from swarmcode.engine.placement import Host
from swarmcode.engine.protocol import Profile, Sampling
from swarmcode.engine.registry import Registry
from swarmcode.errors import ModelError
from swarmcode.report.terminal import counted

HEAD = ("", "name", "agents", "architecture", "parameters", "quantization", "size", "context")
"""Of the list."""


def told(name: str, known: Registry, home: Path) -> dict[str, Any]:
    """What is said of a model, in JSON or in a row; what is wrong with it, where its file cannot be used."""
    facts: dict[str, Any] = {"name": name, "default": name == known.default}
    entry = known.find(name)
    if entry is not None:
        facts |= {"path": str(entry.path), "added": entry.added, "source": entry.source}
        facts |= {"adapter": str(entry.adapter)} if entry.adapter else {}
    try:
        model = models.resolve(name, home)
        read = card.read(model.path)
    except ModelError as error:
        gone = entry is not None and not entry.path.is_file()
        return facts | {"error": "its file is gone" if gone else error.message}
    about = asdict(read)
    del about["layer_weights"]
    return facts | {
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


def listed(model: dict[str, Any]) -> tuple[str, ...]:
    """The row of a model, of which `told` tells: as long as `HEAD`, or shorter where its file cannot be used."""
    mark = "*" if model["default"] else ""
    if "error" in model:
        return (mark, model["name"], model["error"])
    experts = f" ({short_count(model['active'])} active)" if model["experts"] else ""
    return (
        mark,
        model["name"],
        ", ".join(model["protocols"]),
        model["architecture"],
        short_count(model["parameters"]) + experts,
        _quantized(model),
        byte_size(model["size"]),
        f"{model['context']:,}",
    )


def _quantized(model: dict[str, Any]) -> str:
    return str(model["file_type"] or next(iter(model["quantization"]), "?"))


def card_of(model: ModelFile) -> list[tuple[str, str]]:
    """What a model is, line by line."""
    read, profile = card.read(model.path), model.profile
    total = sum(read.quantization.values()) or 1
    shares = ", ".join(f"{kind} {100 * share / total:.0f}%" for kind, share in read.quantization.items())
    experts = f"{read.experts} a layer, {read.experts_used} used for a token" if read.experts else "none: it is dense"
    return [
        ("name", profile.name),
        ("architecture", read.architecture),
        ("parameters", short_count(read.parameters) + (f", {short_count(read.active)} active" if read.experts else "")),
        ("experts", experts),
        ("layers", str(read.layers)),
        ("quantization", f"{read.file_type}: {shares}" if read.file_type else shares),
        ("size on disk", f"{byte_size(read.size)} in {counted(read.files, 'file')}"),
        ("trained context", f"{read.trained_context:,} tokens" if read.trained_context else "its file does not say"),
        ("used context", f"{profile.context:,} tokens at most"),
        ("chat template", "yes" if read.template else "no"),
        ("agent protocols", ", ".join(profile.protocols) + (", and it plans" if profile.plans else "")),
        *_habits(profile),
        ("KV cache", f"{byte_size(model.cell_bytes)} a token, at most"),
        *([("adapter", _adapted(model.adapter, model))] if model.adapter else []),
        ("path", str(model.path)),
    ]


def _adapted(path: Path, model: ModelFile) -> str:
    told = adapter.read(path, model.path, model.profile.name)
    return f"{told.name}, of {counted(told.weights, 'weight')}, alpha {told.alpha:g}: {path}"


def _habits(profile: Profile) -> list[tuple[str, str]]:
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


def _sampled(sampling: Sampling) -> str:
    limits = {"top-k": sampling.top_k, "top-p": sampling.top_p if sampling.top_p < 1 else 0, "min-p": sampling.min_p}
    limits["repetition"] = sampling.repetition if sampling.repetition != 1 else 0
    told = [f"temperature {sampling.temperature:g}", *(f"{name} {value:g}" for name, value in limits.items() if value)]
    return f"{', '.join(told)}, {sampling.max_tokens:,} tokens at most"


def fitted(
    found: Fit, read: Card, host: Host, wish: Wish, unused: list[str], kernel: str = ""
) -> list[tuple[str, str]]:
    """How a model lies in memory, line by line. `unused`: cards that llama.cpp was built without support for; `kernel`:
    why llama.cpp computes attention on the CPU, empty where we do."""
    kept = "read from disk again and again: more than memory holds" if found.mapped else "mapped, and kept in memory"
    rows = [
        ("fits", "yes" if found.fits else f"no: {found.why}"),
        ("asked for", f"{counted(wish.agents, 'agent')} with up to {wish.context:,} tokens each"),
        ("memory", f"{byte_size(host.memory)} free, {counted(machine.cpus(), 'core')}"),
        ("weights", f"{byte_size(read.size)}, {kept}"),
        ("layout", found.layout),
    ]
    if not host.gpus:
        rows.append(("attention", f"llama.cpp's: {kernel}" if kernel else "swarmcode's"))
    if found.capacity is None:
        rows.append(("KV cache", "none: swarmcode would refuse to open the model"))
    else:
        rows += [
            ("KV cache", f"{byte_size(found.kv_bytes)} for {found.capacity.cells:,} tokens"),
            ("sequences", f"{found.capacity.context:,} tokens at most"),
            ("all full", f"{counted(found.full, 'agent')} at once, where nothing is shared; others wait"),
        ]
    rows.append(("most agents", f"{found.most_agents} with {found.context:,} tokens each"))
    host_memory = "in host memory, like all else" if read.experts else "none: it is dense"
    if found.placement is not None:
        placed = found.placement
        rows.append(("GPU", f"{byte_size(host.gpu_memory)} free on {counted(host.gpus, 'card')}"))
        rows.append(("GPU layers", f"{placed.gpu_layers} of {read.layers + 1}"))
        beside = "in host memory, all else on the GPU" if placed.experts_on_host else "with their layers"
        rows.append(("experts", beside if read.experts else host_memory))
    else:
        built = f"none used: llama.cpp was built without support for {unused[0]}" if unused else "none"
        rows += [("GPU", built), ("GPU layers", "0"), ("experts", host_memory)]
    return rows
