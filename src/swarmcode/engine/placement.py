"""Where a model's weights and its KV cache go: to GPUs as far as they fit there, else to host memory.

A token needs few of a layer's experts, so these are the first to stay in host memory; then whole layers do, the first
ones. The KV cache of a layer lies beside it, and may have half of what the weights leave, in host memory and on GPUs
alike, so that the other half is there for what computing needs. Not covered: the bandwidth of any of these memories,
and GPUs of unequal size, whose memory is added up.

Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from swarmcode.engine.card import Card

Experts = Literal["auto", "gpu", "host"]
Mmap = Literal["auto", "on", "off"]
Numa = Literal["auto", "off", "distribute", "isolate", "numactl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What there is to compute with."""

    memory: int
    """Bytes that can be taken."""
    gpus: int = 0
    """Those that llama.cpp can use."""
    gpu_memory: int = 0
    """Bytes that are free on them, together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a person has decided of what is chosen otherwise."""

    gpu_layers: int | None = None
    """As in `Placement`; None: as many as fit."""
    experts: Experts = "auto"
    """Where routed experts of layers that are on a GPU lie; `auto`: there, if they fit."""
    mmap: Mmap = "auto"
    """Whether weights in host memory are mapped from their file; `auto`: as llama.cpp has it."""
    numa: Numa = "auto"
    """How threads are spread over memory nodes; `auto`: evenly, where there are several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the weights go."""

    gpu_layers: int
    """Of the model's layers, the last so many; the output, which follows them, counts as one more."""
    experts_on_host: bool = False
    """Whether routed experts stay in host memory while all else of their layers is on the GPU."""


def settle(card: Card, host: Host, cell_bytes: int, pool: int, context: int, overrides: Overrides) -> Placement:
    """The best of those that have room for `pool` tokens; where none has, for a sequence of `context`; else the one
    that has room for most."""
    options = list(_options(card, overrides))
    rooms = [room(card, option, host, cell_bytes) for option in options]
    for wanted in (pool, context):
        for option, tokens in zip(options, rooms, strict=True):
            if tokens >= wanted:
                return option
    return options[rooms.index(max(rooms))]


def room(card: Card, placed: Placement, host: Host, cell_bytes: int) -> int:
    """How many tokens the KV cache may have; negative where the weights do not fit."""
    on_gpu = weights_on_gpu(card, placed)
    here = host.memory - (card.size - on_gpu)
    there = host.gpu_memory - on_gpu
    if here < 0 or there < 0:
        return -1
    layers = max(1, card.layers)
    share = min(layers, max(0, placed.gpu_layers - 1))
    tokens = []
    if share:
        tokens.append(there * layers // (2 * cell_bytes * share))
    if share < layers:
        tokens.append(here * layers // (2 * cell_bytes * (layers - share)))
    return min(tokens)


def weights_on_gpu(card: Card, placed: Placement) -> int:
    """Bytes of the weights that go to GPUs."""
    if not placed.gpu_layers:
        return 0
    outside = card.weights - sum(card.layer_weights)
    there = card.layer_weights[max(0, len(card.layer_weights) + 1 - placed.gpu_layers) :]
    experts = card.expert_weights * len(there) // max(1, len(card.layer_weights)) if placed.experts_on_host else 0
    return outside + sum(there) - experts


def _options(card: Card, overrides: Overrides) -> Iterator[Placement]:
    """All that may be, the best first."""
    whole = card.layers + 1
    counts = range(whole, -1, -1) if overrides.gpu_layers is None else (min(overrides.gpu_layers, whole),)
    kinds = {"auto": (False, True), "gpu": (False,), "host": (True,)}[overrides.experts if card.experts else "gpu"]
    for count in counts:
        for experts_on_host in kinds if count else (False,):
            yield Placement(gpu_layers=count, experts_on_host=experts_on_host)
