"""A cache and a model that are small enough to be checked by hand, behind the interfaces of the real ones."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from swarmcode.engine.backend import StepFailed
from swarmcode.engine.cache import Change, Copy
from swarmcode.engine.sampling import WORD, Drawn, Pick, draw
from swarmcode.engine.step import Capacity, Step
from swarmcode.errors import ModelError

VOCABULARY = 8


class ToyCache:
    """Seats as lists of (token, cell). Fails where a real cache would: too many cells, holes, copies onto something."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.seats: dict[int, list[tuple[int, int]]] = {seat: [] for seat in range(capacity.seats)}
        self.computed = 0
        """Tokens computed so far; also the next cell."""

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, Copy):
                assert not self.seats[change.target], "copied onto something"
                assert len(self.seats[change.source]) >= change.length, "copied what is not there"
                self.seats[change.target] = self.seats[change.source][: change.length]
            else:
                del self.seats[change.seat][change.length :]

    def compute(self, step: Step) -> None:
        assert len(step.tokens) == len(step.positions) == len(step.seats) <= self.capacity.chunk
        for token, position, seat in zip(step.tokens, step.positions, step.seats, strict=True):
            assert len(self.seats[seat]) == position, "a hole in a sequence"
            self.seats[seat].append((token, self.computed))
            self.computed += 1
            assert len(self.seats[seat]) <= self.capacity.context
        assert self.cells <= self.capacity.cells, "more cells than there are"

    @property
    def cells(self) -> int:
        return len({cell for held in self.seats.values() for _, cell in held})

    def tokens(self, seat: int) -> list[int]:
        return [token for token, _ in self.seats[seat]]


class ToyBackend:
    """A model whose logits are a fixed function of the tokens that the cache holds for a sequence."""

    vocabulary = VOCABULARY
    ends = frozenset({0})
    begin: tuple[int, ...] = ()

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.cache = ToyCache(capacity)
        self.batches: list[int] = []
        """Tokens of each step."""
        self.failing: set[int] = set()
        """Steps (from 0) that fail."""
        self.broken: BaseException | None = None
        """Raised by the next step: a fault that nobody expects."""
        self.closed = 0
        self.entered = threading.Event()
        """Set when a step begins."""
        self.go = threading.Event()
        """Steps wait for it."""
        self.go.set()
        self.strides = False
        self.called = False
        self._last: tuple[Step, Sequence[NDArray[np.float32]]] = Step(), ()

    def tokenize(self, text: str, special: bool) -> tuple[int, ...]:
        return tuple(1 + ord(character) % (VOCABULARY - 1) for character in text)

    def piece(self, token: int) -> bytes:
        return b"-abcdefg"[token : token + 1] if token else b""

    def grammar(self, schema: str) -> "ToyGrammar":
        if schema == "impossible":
            raise ModelError("the schema is impossible", "take another")
        return ToyGrammar()

    def run(self, step: Step) -> Sequence[NDArray[np.float32]]:
        self.entered.set()
        assert self.go.wait(60)
        if self.broken:
            raise self.broken
        self.cache.apply(step.changes)
        if not step.tokens:
            return []
        self.batches.append(len(step.tokens))
        if len(self.batches) - 1 in self.failing:
            raise StepFailed("the toy fails")
        self.cache.compute(step)
        rows = [
            self.logits(self.cache.tokens(step.seats[read.row])[: step.positions[read.row] + 1]) for read in step.reads
        ]
        self._last = step, rows
        return rows

    draw = staticmethod(draw)

    def stride(self, picks: Sequence[Pick], most: int, ends: Iterable[int]) -> list[tuple[list[int], list[float]]]:
        step, rows = self._last
        assert len(step.tokens) == len(step.reads) == len(picks)
        times: list[list[Drawn]] = []
        while True:
            found = draw(rows, picks)
            times.append(found)
            tokens = [each.token for each in found]
            if len(times) == most or self.called or not set(ends).isdisjoint(tokens):
                own = zip(*times, strict=True)
                return [([each.token for each in drawn], [each.logprob for each in drawn]) for drawn in own]
            positions = [position + 1 for position in step.positions]
            step = Step(tokens=tokens, positions=positions, seats=step.seats, reads=step.reads)
            rows = self.run(step)
            picks = [replace(pick, key=(pick.key + 1) & WORD) for pick in picks]

    def call(self, waiting: bool) -> None:
        self.called = waiting

    def interrupt(self) -> None:
        self.go.set()

    def close(self) -> None:
        self.closed += 1

    @staticmethod
    def logits(tokens: Sequence[int]) -> NDArray[np.float32]:
        seed = np.random.SeedSequence([len(tokens), *tokens])
        row = np.random.default_rng(seed).normal(size=VOCABULARY) * 2
        row[0] -= 2  # answers of some length
        return row.astype(np.float32)


class ToyGrammar:
    """Odd tokens only, and memory that must be freed once at least."""

    freed = 0

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        return np.arange(VOCABULARY) % 2 == 1

    def close(self) -> None:
        type(self).freed += 1


@pytest.fixture
def toy() -> type[ToyBackend]:
    return ToyBackend


@pytest.fixture
def toy_cache() -> type[ToyCache]:
    return ToyCache
