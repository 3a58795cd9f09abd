"""LoRA adapters: small matrices beside a model's weights, as GGUF files of their own.

What is checked before anything is loaded: that it is an adapter, of the kind that llama.cpp knows, for a model of this
architecture, and that each of its matrices belongs to a weight that the model has. Not covered: whether it was trained
on this very model, which its file does not say; shapes are compared by llama.cpp.
"""

from dataclasses import dataclass
from pathlib import Path

from swarmcode.engine import gguf
from swarmcode.engine.gguf import Header
from swarmcode.errors import ModelError

_HALVES = (".lora_a", ".lora_b")
"""A change of a weight is the product of two matrices."""
_HINT = "convert it with llama.cpp's convert_lora_to_gguf.py, from the model that it was trained on"
_OTHER = "use the model that the adapter was trained on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What an adapter says of itself."""

    name: str
    alpha: float
    """By how much it counts, together with its rank."""
    weights: int
    """How many of the model's weights it changes."""
    size: int
    """Bytes of its file."""


def read(path: Path, model: Path, name: str) -> Adapter:
    """What the file says, checked against the model whose first file is `model` and that is called `name`. Raises
    `ModelError`."""
    if not path.exists():
        raise ModelError(f"there is no adapter {path}", "check the path given with --adapter")
    header = gguf.read(path)
    kind = header.text("general.type")
    if kind != "adapter":
        raise ModelError(f"{path} is no adapter, but {_called(kind)}", "name the .gguf file of a LoRA adapter")
    if header.text("adapter.type") != "lora":
        raise ModelError(f"{path} is an adapter of the kind {header.text('adapter.type')!r}, not 'lora'", _HINT)
    parts = gguf.read_all(model)
    wanted, given = parts[0].text("general.architecture"), header.text("general.architecture")
    if given != wanted:
        raise ModelError(
            f"the adapter {path} is for a model of the architecture {given!r}, and {name} is {wanted!r}", _OTHER
        )
    changed = _changed(path, header)
    if strange := sorted(changed - {tensor.name for part in parts for tensor in part.tensors}):
        raise ModelError(f"the adapter {path} changes {strange[0]}, which {name} does not have", _OTHER)
    return Adapter(
        name=header.text("general.name") or path.stem,
        alpha=header.number("adapter.lora.alpha"),
        weights=len(changed),
        size=header.size,
    )


def _called(kind: str) -> str:
    return f"a GGUF of the kind {kind!r}" if kind else "a GGUF of no kind that it names"


def _changed(path: Path, header: Header) -> set[str]:
    """The names of the weights that it changes. Raises `ModelError` where half of a change is missing."""
    names = [tensor.name for tensor in header.tensors]
    first, second = ({name.removesuffix(half) for name in names if name.endswith(half)} for half in _HALVES)
    if not first or first != second or len(names) != 2 * len(first):
        raise ModelError(f"the adapter {path} is not made of pairs of matrices", _HINT)
    return first
