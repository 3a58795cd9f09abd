"""What a model with its KV cache can do for whoever runs requests on it."""

from collections.abc import Sequence
from typing import Protocol

from swarmcode.engine.protocol import Constraint
from swarmcode.engine.sampling import Drawn, Floats, Pick
from swarmcode.engine.step import Capacity, Step


class StepFailed(Exception):
    """The backend could not compute a step, and can go on with others."""


class StepInterrupted(StepFailed):
    """The step was interrupted, because the engine is being closed."""


class Grammar(Constraint, Protocol):
    """A constraint that holds memory of the backend's."""

    def close(self) -> None:
        """Frees it. Idempotent."""
        ...


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

    def grammar(self, schema: str) -> Grammar:
        """A constraint to texts that follow the JSON schema. Raises `ModelError`."""
        ...

    def run(self, step: Step) -> Sequence[Floats]:
        """Makes the step's changes, computes its tokens, and gives a row of logits, shape (vocabulary,), for each of
        its reads; valid until the next call. Raises `StepFailed`, `StepInterrupted` after `interrupt`."""
        ...

    def draw(self, rows: Sequence[Floats], picks: Sequence[Pick]) -> list[Drawn]:
        """One token for each pick, as `sampling.draw`."""
        ...

    def interrupt(self) -> None:
        """Makes a `run` in progress, and any later one, fail soon. From any thread."""
        ...

    def close(self) -> None:
        """Frees the model. Idempotent."""
        ...
