"""What the scheduler and whoever runs the model say to each other."""

from collections.abc import Callable
from dataclasses import dataclass, field

from swarmcode.engine.cache import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the context can hold and do."""

    running: int
    """Sequences that are computed at once."""
    seats: int
    """Sequence ids; those that are not running keep prefixes. At least `running`."""
    cells: int
    """Tokens that fit into the cache, over all sequences."""
    context: int
    """Longest sequence in tokens, prompt and answer together. At most `cells`."""
    chunk: int
    """Tokens computed in one step. At least `running`, so that decoding never stalls behind prompts."""
    sharing: bool = True
    """Whether a part of a sequence can be copied and cut off; recurrent models cannot."""
    exact: bool = False
    """Whether answers must not depend, to the last bit, on what was computed before and beside them. Kernels for one
    token sum in another order than those for several, so a prompt is then never computed one token at a time, and
    what was decoded is not kept as a prefix. Holds unless cells run short."""

    reads: int = 1 << 30
    """Rows of logits that a step can have. At least `running`."""

    def __post_init__(self) -> None:
        assert self.running <= self.reads
        assert 0 < self.running <= min(self.seats, self.chunk - 2 * self.exact)
        assert 0 < self.context <= self.cells


@dataclass(slots=True)
class Read:
    """One row of logits, and the sequences whose next token is drawn from it. A sequence with guessed tokens has a
    read for its last token and one for each of those, in order."""

    row: int
    """Index into the step's tokens."""
    sequences: list[int]


@dataclass(slots=True, kw_only=True)
class Step:
    """One call of the model. The columns `tokens`, `positions` and `seats` belong together."""

    changes: tuple[Change, ...] = ()
    """To be made in the cache first, in this order."""
    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    seats: list[int] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    """In ascending order of rows."""
    prefilled: int = 0
    """How many of the tokens belong to prompts."""
    cells: Callable[[], int] = lambda: 0
    """That the sequences in it hold when it is computed; shared ones count once. To be asked before it is committed."""
    drafts: dict[int, list[int]] = field(default_factory=dict)
    """Guessed tokens that are computed, of the sequences that have some."""
    drafted: int = 0
    """How many there are: as many reads, the last ones, are behind them, in the order of `drafts`."""
    reused: int = 0
    """Prompt tokens that need not be computed, of the sequences that begin with this step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the prompt of a sequence has cost."""

    prefilled: int
    """Tokens computed; after parking, again."""
    reused: int
    """Tokens taken from the cache."""
