"""A cache and a model that are small enough to be checked by hand, behind the interfaces of the real ones."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from swarmcode.engine.backend import Bounds, Going, StepFailed, Strode
from swarmcode.engine.cache import Change, Copy, Trim
from swarmcode.engine.draft import Drafter
from swarmcode.engine.sampling import WORD, draw
from swarmcode.engine.step import Capacity, Read, Step
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
        return [
            self.logits(self.cache.tokens(step.seats[read.row])[: step.positions[read.row] + 1]) for read in step.reads
        ]

    draw = staticmethod(draw)

    drafter = Drafter

    def stride(self, step: Step, going: Sequence[Going], bounds: Bounds) -> Strode:
        """As compiled code does it; there is time for a dozen steps."""
        assert len(step.tokens) == len(step.reads) == len(going)
        goers = [Goer(*each) for each in zip(going, step.tokens, step.positions, step.seats, strict=True)]
        steps: list[tuple[int, float]] = []
        self.cache.apply(step.changes)
        while True:
            batch = Step()
            room = min(self.capacity.chunk, self.capacity.reads) - len(goers)
            room = min(room, bounds.cells - sum(len(each.tokens) for each in goers))
            for each in goers:
                room -= each.put(batch, bounds, room)
            rows = self.run(batch)
            steps.append((len(batch.tokens), 0.001 + 0.0001 * len(batch.tokens)))
            for each in goers:
                each.draw(rows, bounds.ends)
                self.cache.apply([Trim(each.seat, each.position)])
            late = self.called or len(steps) == (12 if bounds.seconds else 1)
            if late or any(each.over for each in goers) or sum(len(each.tokens) for each in goers) > bounds.cells:
                return Strode(
                    tokens=[each.tokens for each in goers],
                    logprobs=[each.logprobs for each in goers],
                    drafted=sum(each.drafted for each in goers),
                    accepted=sum(each.accepted for each in goers),
                    steps=steps,
                )

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


@dataclass
class Goer:
    """A sequence in a stride."""

    going: Going
    token: int
    position: int
    seat: int
    row: int = 0
    guess: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    over: bool = False
    drafted: int = 0
    accepted: int = 0

    def put(self, batch: Step, bounds: Bounds, room: int) -> int:
        """Its last token, and what is guessed; how much is."""
        room = max(0, min(room, self.going.left - len(self.tokens) - 1))
        drafter = self.going.drafter
        self.guess = drafter.propose(bounds.costs)[:room] if drafter and bounds.costs else []
        self.row = len(batch.tokens)
        batch.tokens += [self.token, *self.guess]
        batch.positions += range(self.position, self.position + 1 + len(self.guess))
        batch.seats += [self.seat] * (1 + len(self.guess))
        batch.reads += [Read(row, []) for row in range(self.row, len(batch.tokens))]
        self.drafted += len(self.guess)
        return len(self.guess)

    def draw(self, rows: Sequence[NDArray[np.float32]], ends: frozenset[int]) -> None:
        """As many tokens as were guessed right, and one."""
        pick = self.going.pick
        for ahead, expected in enumerate([*self.guess, None]):
            key = (pick.key + len(self.tokens)) & WORD
            (found,) = draw(rows, [replace(pick, row=self.row + ahead, key=key)])
            self.tokens.append(found.token)
            self.logprobs.append(found.logprob)
            self.accepted += ahead > 0
            self.over = found.token in ends or len(self.tokens) == self.going.left or not np.isfinite(found.logprob)
            if self.over or found.token != expected:
                break
        self.token = found.token
        self.position += ahead + 1
        if self.going.drafter:
            self.going.drafter.extend(self.tokens[-ahead - 1 :])


class ToyGrammar:
    """Odd tokens only."""

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        return np.arange(VOCABULARY) % 2 == 1


@pytest.fixture
def toy() -> type[ToyBackend]:
    return ToyBackend


@pytest.fixture
def toy_cache() -> type[ToyCache]:
    return ToyCache
