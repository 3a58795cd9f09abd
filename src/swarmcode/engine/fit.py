"""Whether a model fits a machine, said before gigabytes are loaded.

Pure: what the machine has comes in, what the engine would do with it goes out, by the numbers of `budget` and
`placement`, by which the engine itself goes. Not covered: models whose layers need caches of different sizes, for which
the cache is counted too large.
"""

from dataclasses import dataclass, replace

from swarmcode.engine import budget, placement
from swarmcode.engine.budget import Layout, Wish
from swarmcode.engine.card import Card
from swarmcode.engine.placement import Host, Overrides, Placement
from swarmcode.engine.step import Capacity


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
    """What goes to GPUs; None: there are none."""


def fit(card: Card, longest: int, cell_bytes: int, host: Host, wish: Wish, overrides: Overrides | None = None) -> Fit:
    """What becomes of a wish. `longest`: tokens that the model's profile promises for a sequence; `cell_bytes`: bytes
    that one token takes in the KV cache."""
    asked = wish.context
    wish = replace(wish, context=min(asked, longest))
    room = budget.affordable(host.memory, card.size, cell_bytes)
    wish = replace(wish, sharing=wish.sharing and not card.recurrent, cpu=not host.gpus).settled(room)
    placed = None
    if host.gpus:
        placed = placement.settle(card, host, cell_bytes, wish.pool, wish.context, overrides or Overrides())
        room = placement.room(card, placed, host, cell_bytes)
    capacity = budget.capacity(wish, room)
    kv = budget.allocated(capacity, wish.laid_out) * cell_bytes if capacity else 0
    here = card.size - (placement.weights_on_gpu(card, placed) if placed else 0)
    beyond = f"the model can use sequences of {longest:,} tokens at most" if asked > longest else ""
    why = beyond or _obstacle(wish, room)
    return Fit(
        fits=not why,
        why=why,
        context=wish.context,
        layout=wish.laid_out,
        capacity=capacity,
        kv_bytes=kv,
        full=min(wish.agents, capacity.cells // capacity.context) if capacity else 0,
        most_agents=_most_agents(wish, room),
        mapped=here > host.memory,
        placement=placed,
    )


def _obstacle(wish: Wish, room: int) -> str:
    """The first thing that stands in the way; empty: nothing does."""
    if room < 0:
        return "the weights are larger than the memory that is free"
    if room < min(wish.context, budget.LEAST_CONTEXT):
        return "the weights leave no memory for a context"
    if room < wish.pool:
        return f"memory holds {room:,} tokens of context, and {wish.pool:,} are needed"
    return ""


def _most_agents(wish: Wish, room: int) -> int:
    """How many agents have their whole share of `room` tokens. So many would lie in one pool, where fewer have streams
    with flash attention."""
    if wish.laid_out == "streams":
        return max(0, min(budget.MAX_SEATS, room // wish.context))
    return max(0, min(budget.MAX_SEATS, (room - wish.context) // min(budget.PRIVATE_CELLS, wish.context)))
