"""Which models there are, and what is true of each.

What a model is, is read from its metadata and never from its file name: span-edit models carry the control tokens of
the span prompt in their vocabulary, instruction-tuned ones a chat template. A model with neither is refused, because
no agent knows how to speak with it.
"""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from swarmcode import assets
from swarmcode.config import state_home
from swarmcode.dialect import choose
from swarmcode.engine import adapter, gguf, registry
from swarmcode.engine.families import family
from swarmcode.engine.gguf import Header
from swarmcode.engine.protocol import Profile, Sampling, SpanFormat
from swarmcode.errors import ModelError, UsageError

EMBEDDED = registry.EMBEDDED
"""The model that ships with swarmcode."""
SPAN_VERSION = 2
"""Of the span-edit protocol (`agent/pointers.py`)."""
_SPAN_TOKENS = frozenset({"<|bug|>", "<|fix|>"})
_SPAN_SAMPLING = Sampling(temperature=1.0, max_tokens=64)
_NO_MODELS = {
    **{"clip": "an image encoder", "mmproj": "an image encoder", "adapter": "an adapter (LoRA)"},
    **{"imatrix": "an importance matrix", "vocab": "a vocabulary"},
}
"""What else comes as GGUF, beside models: by `general.type` or `general.architecture`."""
_CONTEXT = 2048
"""Where a file does not tell how long a context the model was trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A GGUF on disk that can be opened."""

    path: Path
    """Absolute; of a model in several files, the first."""
    profile: Profile
    """What is true of it."""
    size: int
    """Bytes of its file, or of all its files, its adapter's among them."""
    cell_bytes: int
    """Bytes that one token takes in the KV cache, at 16 bits a number; an upper bound where layers differ."""
    adapter: Path | None = None
    """A LoRA adapter that is put over it (`adapter.py`)."""


def resolve(name_or_path: str, home: Path | None = None) -> ModelFile:
    """The model that a person means by a name or a path; a name of the registry goes before a file of that name.

    `home` is the state directory, None where the environment says. Raises `UsageError` for a name that is none,
    `ModelError` for a file that is missing, damaged or of no use, `StateError` where the registry cannot be read.
    """
    if "://" in name_or_path:
        raise UsageError(
            f"a model cannot be fetched from {name_or_path}",
            "download the .gguf file, and give its path to --model; or the address of a server: http://host:port/v1#model",
        )
    if name_or_path == EMBEDDED:
        return describe(_embedded(), name=EMBEDDED)
    path = Path(name_or_path).expanduser()
    if path.name == name_or_path and path.suffix != ".gguf":
        entry = registry.load(home or state_home(os.environ)).find(name_or_path)
        if entry is not None:
            model = describe(registry.located(entry), name=name_or_path)
            return adapted(model, entry.adapter) if entry.adapter else model
        if not path.exists():
            raise UsageError(
                f"there is no model called {name_or_path!r}",
                f"give {EMBEDDED!r}, a name of `swarmcode models list`, or the path of a .gguf file",
            )
    return describe(path.absolute())


def adapted(model: ModelFile, path: Path) -> ModelFile:
    """The model with the LoRA adapter of that file over it, under a name that tells. Raises `ModelError` where the two
    do not fit."""
    path = path.expanduser().absolute()
    told = adapter.read(path, model.path, model.profile.name)
    profile = replace(model.profile, name=f"{model.profile.name}+{told.name}")
    return replace(model, profile=profile, adapter=path, size=model.size + told.size)


def describe(path: Path, *, name: str = "") -> ModelFile:
    """Reads what a GGUF says of itself. Raises `ModelError`."""
    headers = gguf.read_all(path)
    header = headers[0]
    if not header.text("general.architecture"):
        raise ModelError(f"{path} does not say which architecture it has", "convert the model anew")
    if other := _NO_MODELS.get(header.text("general.type")) or _NO_MODELS.get(header.text("general.architecture")):
        raise ModelError(f"{path} is {other}, and no language model", "name the .gguf file of the model itself")
    return ModelFile(
        path=path,
        profile=_profile(header, name or header.text("general.name") or path.stem, path),
        size=sum(each.size for each in headers),
        cell_bytes=_cell_bytes(header),
    )


def _embedded() -> Path:
    try:
        return assets.folder("models") / f"{EMBEDDED}.gguf"
    except FileNotFoundError as error:
        raise ModelError(str(error), "or give the path of a .gguf file to --model") from error


def _profile(header: Header, name: str, path: Path) -> Profile:
    context = max(1, int(header.number(f"{header.text('general.architecture')}.context_length", _CONTEXT)))
    template = header.text("tokenizer.chat_template")
    vocabulary = header.lengths.get("tokenizer.ggml.tokens", 0)
    if set(header.strings("tokenizer.ggml.tokens")) >= _SPAN_TOKENS:
        span = _span_format(header, path)
        return Profile(
            name=name,
            protocols=("span",),
            context=min(context, _span_context(span)),
            vocabulary=vocabulary,
            sampling=_SPAN_SAMPLING,
            span=span,
        )
    if not template:
        raise ModelError(
            f"{path} knows neither span edits nor a chat template, so no agent can speak with it",
            "use an instruction-tuned model",
        )
    return chatting(
        Profile(name=name, protocols=("blocks",), context=context, vocabulary=vocabulary, chat_template=template),
        called=" ".join((name, header.text("general.name"), header.text("general.basename"))),
    )


def chatting(profile: Profile, called: str) -> Profile:
    """With all that is known of instruction-tuned models that call themselves so: what the template shows, and what
    their publishers recommend."""
    able = choose.ability(profile.chat_template)
    dialect = choose.dialect_of(profile.chat_template) if able.calls else None
    known = family(called, dialect.name if dialect else "")
    return replace(
        profile,
        protocols=("tools", "blocks") if dialect else profile.protocols,
        plans=True,
        sampling=known.instant,
        reasoning=known.reasoning(profile.context),
        family=known.name,
        dialect=dialect.name if dialect else "",
        switch=able.switch,
        stops=tuple(end for end in dialect.ends if end in profile.chat_template) if dialect else (),
    )


def _span_format(header: Header, path: Path) -> SpanFormat:
    """Raises `ModelError` for another version."""
    told = {name: int(header.number(f"swarmcode.span.{name}", value)) for name, value in asdict(SpanFormat()).items()}
    if header.number("swarmcode.span.version", 1) != SPAN_VERSION or min(told.values()) < 0:
        raise ModelError(f"{path} was trained on another form of span edits", f"use {EMBEDDED!r}, or a newer swarmcode")
    return SpanFormat(**told)


def _span_context(span: SpanFormat) -> int:
    """The longest prompt with its answer: the file's own context length promises what the model never saw."""
    marked = 2 * span.line_tokens + 1
    return span.before_tokens + span.after_tokens + marked + 4 + span.answer_tokens


def _cell_bytes(header: Header) -> int:
    """Two bytes for each number of the keys and values of all layers; with latent attention (MLA) of the keys alone,
    which contain the values."""
    prefix = header.text("general.architecture")
    layers = header.number(f"{prefix}.block_count", 1)
    heads = header.number(f"{prefix}.attention.head_count", 1)
    width = header.number(f"{prefix}.embedding_length", 0) / max(1, heads)
    shared = header.number(f"{prefix}.attention.head_count_kv", heads)
    keys = header.number(f"{prefix}.attention.key_length", width)
    values = header.number(f"{prefix}.attention.value_length", width)
    if header.number(f"{prefix}.attention.key_length_mla"):
        values = 0
    return max(1, int(2 * layers * shared * (keys + values)))
