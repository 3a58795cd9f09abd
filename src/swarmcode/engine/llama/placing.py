"""Where a model is put on this machine, decided before it is loaded."""

from dataclasses import dataclass, replace

from swarmcode.engine import budget, card, machine, placement
from swarmcode.engine.budget import Wish
from swarmcode.engine.models import ModelFile
from swarmcode.engine.placement import Overrides, Placement


@dataclass(frozen=True, slots=True)
class Place:
    """For weights, and for a context."""

    placement: Placement | None
    """None: where llama.cpp puts them, all layers on GPUs that it was built for."""
    room: int
    """Tokens that the KV cache may have; may be negative."""


def find(model: ModelFile, wish: Wish, overrides: Overrides) -> Place:
    """As `fit` foretells it. GPUs that `machine` knows nothing of have as many layers as a person says."""
    host = machine.host()
    here = budget.affordable(host.memory, model.size, model.cell_bytes)
    if not host.gpus:
        if overrides.gpu_layers is None and overrides.experts != "host":
            return Place(None, here)
        layers = card.read(model.path).layers + 1 if overrides.gpu_layers is None else overrides.gpu_layers
        return Place(Placement(gpu_layers=layers, experts_on_host=overrides.experts == "host"), here)
    read = card.read(model.path)
    wish = replace(wish, sharing=wish.sharing and not read.recurrent)
    found = placement.settle(read, host, model.cell_bytes, wish.pool, wish.context, overrides)
    return Place(found, placement.room(read, found, host, model.cell_bytes))
