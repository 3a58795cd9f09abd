"""Whether a model fits a machine, said before gigabytes are loaded.

Pure: what the machine has comes in, what the engine would do with it goes out, by the numbers of `budget`, by which the
engine itself goes. Two rules: the KV cache may have half of what the weights leave, in host memory and on a GPU alike,
so that the other half is there for what computing needs; and with a GPU, the engine puts all layers on it.

What would help where that fails is said too, by the same rules: experts in host memory first (a token needs few of
them), else as many layers as there is room for. Not covered: the bandwidth of any of these memories, GPUs of unequal
size (their memory is added up), and models whose layers need caches of different sizes, for which the cache is counted
too large.
"""

from dataclasses import dataclass, replace
from itertools import accumulate

from swarmcode.engine import budget
from swarmcode.engine.budget import Layout, Wish
from swarmcode.engine.card import Card
from swarmcode.engine.step import Capacity


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
class Placement:
    """Where the weights go."""

    gpu_layers: int
    """Of the model's layers, the last so many; the output, which follows them, counts as one more."""
    experts_on_host: bool = False
    """Whether routed experts stay in host memory while all else is on the GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The answer."""

    fits: bool
    """Whether the engine opens the model and nothing that was asked for is cut."""
    why: str
    """What stands in the way; empty where it fits."""
    context: int
    """Longest sequence, in tokens, that all this holds for: as asked, or as much as the model can use."""
    layout: Layout
    capacity: Capacity | None
    """What the engine would have; None: it would refuse."""
    kv_bytes: int
    """Of the KV cache that is allocated; 0 where the engine would refuse."""
    full: int
    """Agents that could fill the whole context at once, sharing nothing: the others would wait their turn."""
    most_agents: int
    """So many could run at this context with nothing cut."""
    mapped: bool
    """Whether weights have to be read from disk again and again, because host memory cannot hold them."""
    placement: Placement | None
    """What would fit the GPUs; None: there are none."""


def fit(card: Card, longest: int, cell_bytes: int, host: Host, wish: Wish) -> Fit:
    """What becomes of a wish. `longest`: tokens that the model's profile promises for a sequence; `cell_bytes`: bytes
    that one token takes in the KV cache."""
    asked = wish.context
    wish = replace(wish, context=min(asked, longest))
    room = budget.affordable(host.memory, card.size, cell_bytes)
    wish = replace(wish, sharing=wish.sharing and not card.recurrent, cpu=not host.gpus).settled(room)
    capacity = budget.capacity(wish, room)
    kv = budget.allocated(capacity, wish.laid_out) * cell_bytes if capacity else 0
    placed = place(card, max(kv, wish.pool * cell_bytes), host) if host.gpus else None
    beyond = f"the model can use sequences of {longest:,} tokens at most" if asked > longest else ""
    why = beyond or _obstacle(card, host, wish, room, placed)
    return Fit(
        fits=not why,
        why=why,
        context=wish.context,
        layout=wish.laid_out,
        capacity=capacity,
        kv_bytes=kv,
        full=min(wish.agents, capacity.cells // capacity.context) if capacity else 0,
        most_agents=_most_agents(wish, room),
        mapped=card.size > host.memory,
        placement=placed,
    )


def place(card: Card, kv: int, host: Host) -> Placement:
    """The best of what fits the GPUs, for a cache of `kv` bytes: everything, all but the experts, or some layers."""
    if card.weights + 2 * kv <= host.gpu_memory:
        return Placement(gpu_layers=card.layers + 1)
    attention = card.weights - card.expert_weights
    if card.expert_weights and attention + 2 * kv <= host.gpu_memory and card.expert_weights <= host.memory:
        return Placement(gpu_layers=card.layers + 1, experts_on_host=True)
    outside = card.weights - sum(card.layer_weights)
    share = 2 * kv // max(1, len(card.layer_weights))
    parts = (outside, *(weights + share for weights in reversed(card.layer_weights)))
    return Placement(gpu_layers=sum(taken <= host.gpu_memory for taken in accumulate(parts)))


def _obstacle(card: Card, host: Host, wish: Wish, room: int, placed: Placement | None) -> str:
    """The first thing that stands in the way; empty: nothing does."""
    if card.size > host.memory:
        return "the weights are larger than the memory that is free"
    if room < min(wish.context, budget.LEAST_CONTEXT):
        return "the weights leave no memory for a context"
    if room < wish.pool:
        return f"memory holds {room:,} tokens of context, and {wish.pool:,} are needed"
    if placed and (placed.experts_on_host or placed.gpu_layers <= card.layers):
        return "the engine puts all layers on the GPU, and they do not fit there with the KV cache"
    return ""


def _most_agents(wish: Wish, room: int) -> int:
    """How many agents have their whole share of `room` tokens. So many would lie in one pool, where fewer have streams
    with flash attention."""
    if wish.laid_out == "streams":
        return max(0, min(budget.MAX_SEATS, room // wish.context))
    return max(0, min(budget.MAX_SEATS, (room - wish.context) // min(budget.PRIVATE_CELLS, wish.context)))
