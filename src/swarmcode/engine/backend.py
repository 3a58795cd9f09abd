"""What a model with its KV cache can do for whoever runs requests on it."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from swarmcode.engine.draft import Drafting
from swarmcode.engine.protocol import Constraint
from swarmcode.engine.sampling import Drawn, Floats, Pick
from swarmcode.engine.step import Capacity, Step


class StepFailed(Exception):
    """The backend could not compute a step, and can go on with others."""


class StepInterrupted(StepFailed):
    """The step was interrupted, because the engine is being closed."""


@dataclass(frozen=True, slots=True)
class Going:
    """A sequence that decodes."""

    pick: Pick
    """Of its next token, from a read of the step; with neither mask nor tops nor top-k. The key is counted on."""
    left: int
    """Tokens that it may still get, at least one."""
    drafter: Drafting | None
    """Of the backend's own. It is told of what is drawn. None: nothing is guessed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far a stride goes."""

    seconds: float
    """After which the model is computed no more."""
    cells: int
    """That are free, beside those for the step."""
    ends: frozenset[int]
    """Tokens behind which it does not go on."""
    costs: "array[float] | None" = None
    """As `Drafting.propose` wants them; None: nothing is guessed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strode:
    """What came of a stride. Of each sequence all tokens but the last one are in the cache now."""

    tokens: list[list[int]]
    """Of each sequence, at least one."""
    logprobs: list[list[float]]
    drafted: int
    accepted: int
    """Tokens that were guessed, and those that came true."""
    steps: list[tuple[int, float]]
    """How many tokens the model computed, and in how many seconds, each time."""


class Backend(Protocol):
    """A model with its KV cache. `tokenize`, `piece` and `grammar` may be called from any thread."""

    @property
    def capacity(self) -> Capacity: ...

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        ...

    @property
    def ends(self) -> frozenset[int]:
        """The model's own end-of-generation tokens."""
        ...

    @property
    def begin(self) -> tuple[int, ...]:
        """What the model wants before any text: its begin token, or nothing."""
        ...

    def tokenize(self, text: str, special: bool) -> tuple[int, ...]: ...

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; nothing for control tokens and for what is no token."""
        ...

    def grammar(self, schema: str) -> Constraint:
        """A constraint to texts that follow the JSON schema. Raises `ModelError`."""
        ...

    def run(self, step: Step) -> Sequence[Floats]:
        """Makes the step's changes, computes its tokens, and gives a row of logits, shape (vocabulary,), for each of
        its reads; valid until the next call. Raises `StepFailed`, `StepInterrupted` after `interrupt`."""
        ...

    def draw(self, rows: Sequence[Floats], picks: Sequence[Pick]) -> list[Drawn]:
        """One token for each pick, as `sampling.draw`."""
        ...

    @property
    def strides(self) -> bool:
        """Whether there is `stride`."""
        ...

    def stride(self, step: Step, going: Sequence[Going], bounds: Bounds) -> Strode:
        """Runs a step with a token and a read for each of its sequences, `going` in their order, and no more, together
        with what is guessed to follow. Then draws tokens for each, computes the last of them, with further guesses, and
        so on: until somebody calls, time or cells are up, or one of the sequences has ended or has logits that are no
        numbers. Raises as `run`."""
        ...

    def drafter(self, prompt: Sequence[int]) -> Drafting:
        """Guesses for a sequence that begins so."""
        ...

    def call(self, waiting: bool) -> None:
        """Whether somebody waits for the end of a stride: it then ends soon. From any thread."""
        ...

    def interrupt(self) -> None:
        """Makes a `run` in progress, and any later one, fail soon. From any thread."""
        ...

    def close(self) -> None:
        """Frees the model. Idempotent."""
        ...
