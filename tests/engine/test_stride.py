"""Strides in compiled code: the same tokens as step by step, whatever is guessed, and no further than asked."""

import ctypes
from array import array
from collections.abc import Callable, Iterable
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.engine.backend import Bounds, Going, StepFailed, Strode
from swarmcode.engine.call import Call
from swarmcode.engine.draft import DEPTHS, REACH, Drafter
from swarmcode.engine.llama import stride
from swarmcode.engine.llama.attention import kernel
from swarmcode.engine.llama.batch import Batch
from swarmcode.engine.llama.drafting import NativeDrafter
from swarmcode.engine.llama.library import lib
from swarmcode.engine.llama.stride import Strider
from swarmcode.engine.protocol import Sampling
from swarmcode.engine.sampling import WORD, Pick, draw, key

pytestmark = pytest.mark.model

VOCABULARY, ROWS = 300, 64
TOKENS, POSITIONS, SEATS = [5, 9, 11], [40, 3, 17], [2, 0, 7]
RULES = (Sampling(temperature=0.0), Sampling(), Sampling(temperature=0.6, top_p=0.9, min_p=0.01))


class Model:
    """Stands for llama.cpp: logits by the last token and its position, and a record of what was computed. Most tokens
    are followed by the next number of sixty."""

    def __init__(self) -> None:
        self.computed: list[tuple[list[int], list[int], list[int]]] = []
        self.cells: dict[int, list[int]] = {
            seat: [0] * position for seat, position in zip(SEATS, POSITIONS, strict=True)
        }
        """Tokens by sequence."""
        self.failing = -1
        """Call that fails."""
        self.broken = -1
        """Call whose logits are no numbers."""
        self.after: Callable[[], None] = lambda: None
        """Called after each call."""
        self._rows = np.zeros((ROWS, VOCABULARY), np.float32)
        decode = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, lib.llama_batch)(self._decode)
        logits = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda context: self._rows.ctypes.data)
        place = ctypes.c_int32
        cut = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, place, place, place)(self._cut)
        self.functions = SimpleNamespace(llama_decode=decode, llama_get_logits=logits, llama_memory_seq_rm=cut)

    def logits(self, token: int, position: int) -> Any:
        row = np.random.default_rng((token, position)).standard_normal(VOCABULARY, np.float32) * np.float32(3)
        row[(token + 1) % 60] += 12 if position % 7 else 0
        return row

    def _decode(self, context: object, batch: Any) -> int:
        count = batch.n_tokens
        tokens, positions = batch.token[:count], batch.pos[:count]
        seats = [batch.seq_id[row][0] for row in range(count)]
        self.computed.append((tokens, positions, seats))
        for row, (token, position, seat) in enumerate(zip(tokens, positions, seats, strict=True)):
            assert batch.logits[row]
            assert len(self.cells[seat]) == position
            self.cells[seat].append(token)
            self._rows[row] = self.logits(token, position)
        if len(self.computed) == self.broken:
            self._rows[1, 7] = np.nan
        self.after()
        return 2 if len(self.computed) == self.failing else 0

    def _cut(self, memory: object, seat: int, first: int, last: int) -> bool:
        assert last == -1
        assert len(self.cells[seat]) > first
        del self.cells[seat][first:]
        return True


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    made = Model()
    monkeypatch.setattr(stride, "lib", SimpleNamespace(_lib=made.functions, llama_get_memory=lambda context: None))
    return made


PROMPTS = [[*range(first, first + 60), token] for first, token in zip((3, 0, 8), TOKENS, strict=True)]
CHEAP = array("d", [1.0, *(1 + 0.01 * count for count in DEPTHS)])


def strider(model: Model) -> Strider:
    """For three sequences."""
    native = kernel().stride
    assert native, kernel().why_not
    batch = Batch(ROWS)
    batch.fill(Call(TOKENS, POSITIONS, SEATS, [1, 1, 1], range(3)))
    return Strider(native, ctypes.c_void_p(), batch, vocabulary=VOCABULARY, rows=ROWS, products_from=6, threads=2)


def strode(
    model: Model, left: int = 12, *, drafting: bool = False, going: Strider | None = None, **bounds: Any
) -> Strode:
    drafters = map(kernel().drafter, PROMPTS)
    goers = [Going(Pick(row, RULES[row], key(row, 4)), left, next(drafters) if drafting else None) for row in range(3)]
    given: dict[str, Any] = {"seconds": 60, "cells": 1000, "ends": frozenset(), "costs": CHEAP if drafting else None}
    return (going or strider(model))(goers, Bounds(**(given | bounds)))


def step_by_step(model: Model, counts: Iterable[int]) -> list[list[int]]:
    """The tokens of each sequence, as numpy draws them."""
    found: list[list[int]] = []
    for row, (token, position, count) in enumerate(zip(TOKENS, POSITIONS, counts, strict=True)):
        drawn: list[int] = []
        for time in range(count):
            pick = Pick(0, RULES[row], (key(row, 4) + time) & WORD)
            token = draw([model.logits(token, position + time)], [pick])[0].token
            drawn.append(token)
        found.append(drawn)
    return found


def test_it_draws_what_is_drawn_step_by_step(model: Model) -> None:
    """Each token is computed at its place, of its sequence, before the next is drawn; the last ones are not."""
    right = step_by_step(model, [12] * 3)
    found = strode(model)
    assert found.tokens == right
    assert all(np.isfinite(logprobs).all() and len(logprobs) == 12 for logprobs in found.logprobs)
    assert [count for count, _ in found.steps] == [3] * 12
    for time, (tokens, positions, seats) in enumerate(model.computed):
        assert tokens == [[token, *own][time] for token, own in zip(TOKENS, right, strict=True)]
        assert positions == [position + time for position in POSITIONS]
        assert seats == SEATS


@pytest.mark.parametrize("cells", [1000, 60, 20, 2])
def test_guesses_change_no_token(model: Model, cells: int) -> None:
    """They save calls of the model; wrong ones hold no cells, and none are guessed for which there are no cells."""
    found = strode(model, 90, drafting=True, cells=cells)
    counts = [len(tokens) for tokens in found.tokens]
    assert found.tokens == step_by_step(model, counts)
    assert [len(logprobs) for logprobs in found.logprobs] == counts
    for seat, position, token, own in zip(SEATS, POSITIONS, TOKENS, found.tokens, strict=True):
        assert model.cells[seat][position:] == [token, *own[:-1]]
    assert found.drafted == sum(count for count, _ in found.steps) - 3 * len(found.steps)
    assert found.accepted == sum(counts) - 3 * len(found.steps)
    taken, held = 0, 3
    for tokens, positions, seats in model.computed:
        first = {seat: positions[seats.index(seat)] for seat in SEATS}
        held = sum(first[seat] - start for seat, start in zip(SEATS, POSITIONS, strict=True))
        taken = max(taken, held + len(tokens) - 3)
    assert taken <= cells
    if cells == 1000:
        assert max(counts) == 90
        assert 1.4 * len(found.steps) < sum(counts) / 3
        assert max(count for count, _ in found.steps) <= ROWS


def test_guesses_are_those_of_the_drafter(model: Model) -> None:
    """Each batch has what Python's drafter guesses, and afterwards that of the stride knows what was said."""
    found = strode(model, 60, drafting=True)
    mine = [Drafter(prompt) for prompt in PROMPTS]
    said = [0, 0, 0]
    for tokens, positions, seats in model.computed:
        for at, seat in enumerate(SEATS):
            rows = [row for row, owner in enumerate(seats) if owner == seat]
            said_now = positions[rows[0]] - POSITIONS[at]
            mine[at].extend(found.tokens[at][said[at] : said_now])
            said[at] = said_now
            guess = mine[at].propose(CHEAP)[: 60 - said_now - 1]
            assert [tokens[row] for row in rows[1:]] == guess[: len(rows) - 1]
            assert len(rows) - 1 == len(guess) or len(tokens) == ROWS


def test_it_ends_where_one_of_them_may(model: Model) -> None:
    """With an end token, which is told and not computed. Ends that the model has no tokens for are none."""
    right = step_by_step(model, [12] * 3)
    found = strode(model, ends=frozenset({right[1][4], VOCABULARY, 1 << 40, -1}))
    times = next(time for time in range(12) if right[1][4] in [own[time] for own in right]) + 1
    assert found.tokens == [own[:times] for own in right]
    assert len(model.computed) == times


def test_nothing_follows_an_end_that_was_guessed(model: Model) -> None:
    ended = 0
    for end in step_by_step(model, [12] * 3)[0]:
        model.__init__()  # type: ignore[misc]
        found = strode(model, drafting=True, ends=frozenset({end}))
        assert all(end not in own[:-1] for own in found.tokens)
        ended += end == found.tokens[0][-1] and found.accepted > 0
    assert ended > 2


def test_it_ends_where_logits_are_no_numbers(model: Model) -> None:
    model.broken = 3
    found = strode(model)
    assert [len(tokens) for tokens in found.tokens] == [3, 3, 3]
    assert [bool(np.isfinite(logprobs[-1])) for logprobs in found.logprobs] == [True, False, True]


def test_it_ends_when_it_is_called(model: Model) -> None:
    going = strider(model)

    def call() -> None:
        if len(model.computed) == 2:
            going.called[0] = b"!"

    model.after = call
    assert [len(tokens) for tokens in strode(model, going=going).tokens] == [2, 2, 2]


def test_it_ends_when_time_is_up(model: Model) -> None:
    assert [len(tokens) for tokens in strode(model, seconds=0).tokens] == [1, 1, 1]


def test_a_step_that_fails_ends_it_with_a_reason(model: Model) -> None:
    model.failing = 3
    with pytest.raises(StepFailed, match="gave 2 for 3 tokens"):
        strode(model)


@given(st.lists(st.sampled_from([0, 1, 2, 3, 255, 256, 65_536, 2**31]), max_size=80), st.lists(st.integers(0, 3)))
def test_compiled_guesses_are_those_of_python(prompt: list[int], said: list[int]) -> None:
    """Whatever a sequence begins with and however it goes on."""
    one, other = kernel().drafter(prompt), Drafter(prompt)
    assert isinstance(one, NativeDrafter)
    for count in range(len(said)):
        assert one.propose(CHEAP) == other.propose(CHEAP)
        one.extend(said[count : count + 1])
        other.extend(said[count : count + 1])
        assert one.length == other.length == len(prompt) + count + 1
    assert one.propose(CHEAP) == other.propose(CHEAP)


def test_compiled_guesses_look_as_far_back_as_those_of_python() -> None:
    random = Random(3)
    passage = [random.randrange(1000) for _ in range(40)]
    for far in (REACH - 20, REACH - 4, REACH, REACH + 40):
        prompt = [*passage, *(random.randrange(1000, 2000) for _ in range(far - 40)), *passage[:4]]
        guess = kernel().drafter(prompt).propose(CHEAP)
        assert guess == Drafter(prompt).propose(CHEAP)
        assert bool(guess) == (far < REACH)
