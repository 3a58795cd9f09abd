"""What a model with its KV cache can do for whoever runs requests on it."""

from collections.abc import Iterable, Sequence
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

    @property
    def strides(self) -> bool:
        """Whether there is `stride`."""
        ...

    def stride(self, picks: Sequence[Pick], most: int, ends: Iterable[int]) -> list[tuple[list[int], list[float]]]:
        """Goes on behind a step that was run and had a token and a read for each of its sequences, and no more. Draws a
        token for each, computes them, draws the next ones, and so on: `most` times at most, and not beyond a time at
        which one of `ends` was drawn, or the logits of one were no numbers. For each of `picks` its tokens, equally
        many, and their log-probabilities. Picks are of the first time, one for each read, with neither masks nor tops
        nor top-k; keys are counted on. Raises as `run`."""
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
