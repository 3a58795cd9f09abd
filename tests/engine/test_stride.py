"""Strides in compiled code: the same tokens as step by step, and no further than asked."""

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swarmcode.engine.backend import StepFailed
from swarmcode.engine.call import Call
from swarmcode.engine.llama import stride
from swarmcode.engine.llama.attention import kernel
from swarmcode.engine.llama.batch import Batch
from swarmcode.engine.llama.library import lib
from swarmcode.engine.llama.stride import Strider
from swarmcode.engine.protocol import Sampling
from swarmcode.engine.sampling import WORD, Pick, draw, key

pytestmark = pytest.mark.model

VOCABULARY = 300
RULES = (Sampling(temperature=0.0), Sampling(), Sampling(temperature=0.6, top_p=0.9, min_p=0.01))


class Model:
    """Stands for llama.cpp: logits by the last token and its position, and a record of what was computed."""

    def __init__(self) -> None:
        self.computed: list[tuple[list[int], list[int], list[int]]] = []
        self.failing = -1
        """Call that fails."""
        self.broken = -1
        """Call whose logits are no numbers."""
        self.after: Callable[[], None] = lambda: None
        """Called after each call."""
        self._rows = np.zeros((16, VOCABULARY), np.float32)
        decode = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, lib.llama_batch)(self._decode)
        logits = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda context: self._rows.ctypes.data)
        self.functions = SimpleNamespace(llama_decode=decode, llama_get_logits=logits)

    def logits(self, token: int, position: int) -> Any:
        return np.random.default_rng((token, position)).standard_normal(VOCABULARY, np.float32) * np.float32(3)

    def compute(self, tokens: list[int], positions: list[int]) -> None:
        for row, (token, position) in enumerate(zip(tokens, positions, strict=True)):
            self._rows[row] = self.logits(token, position)

    def _decode(self, context: object, batch: Any) -> int:
        count = batch.n_tokens
        tokens, positions = batch.token[:count], batch.pos[:count]
        self.computed.append((tokens, positions, [batch.seq_id[row][0] for row in range(count)]))
        self.compute(tokens, positions)
        if len(self.computed) == self.broken:
            self._rows[1, 7] = np.nan
        self.after()
        return 2 if len(self.computed) == self.failing else 0


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    made = Model()
    monkeypatch.setattr(stride, "lib", SimpleNamespace(_lib=made.functions))
    return made


TOKENS, POSITIONS, SEATS = [5, 9, 11], [40, 3, 17], [2, 0, 7]


def strider(model: Model) -> Strider:
    """Behind a step of three sequences."""
    native = kernel().stride
    assert native, kernel().why_not
    batch = Batch(8)
    batch.fill(Call(TOKENS, POSITIONS, SEATS, [1, 1, 1], range(3)))
    model.compute(TOKENS, POSITIONS)
    return Strider(native, ctypes.c_void_p(), batch, VOCABULARY, threads=2)


def picks() -> list[Pick]:
    return [Pick(row, RULES[row], key(row, 4)) for row in range(3)]


def step_by_step(model: Model, times: int) -> list[list[int]]:
    """The tokens of each sequence, as numpy draws them."""
    found: list[list[int]] = [[], [], []]
    for row, (token, position) in enumerate(zip(TOKENS, POSITIONS, strict=True)):
        for time in range(times):
            pick = Pick(0, RULES[row], (key(row, 4) + time) & WORD)
            token = draw([model.logits(token, position + time)], [pick])[0].token
            found[row].append(token)
    return found


def test_it_draws_what_is_drawn_step_by_step(model: Model) -> None:
    """Each token is computed at its place, of its sequence, before the next is drawn; the last ones are not."""
    right = step_by_step(model, 12)
    found = strider(model)(picks(), 12, ends=())
    assert [tokens for tokens, _ in found] == right
    assert all(np.isfinite(logprobs).all() and len(logprobs) == 12 for _, logprobs in found)
    assert len(model.computed) == 11
    for time, (tokens, positions, seats) in enumerate(model.computed):
        assert tokens == [own[time] for own in right]
        assert positions == [position + time + 1 for position in POSITIONS]
        assert seats == SEATS


def test_it_ends_where_one_of_them_may(model: Model) -> None:
    """With an end token, which is told and not computed. Ends that the model has no tokens for are none."""
    right = step_by_step(model, 12)
    found = strider(model)(picks(), 12, ends=(right[1][4], VOCABULARY, 1 << 40, -1))
    times = next(time for time in range(12) if right[1][4] in [own[time] for own in right]) + 1
    assert [tokens for tokens, _ in found] == [own[:times] for own in right]
    assert len(model.computed) == times - 1


def test_it_ends_where_logits_are_no_numbers(model: Model) -> None:
    model.broken = 3
    found = strider(model)(picks(), 12, ends=())
    assert [len(tokens) for tokens, _ in found] == [4, 4, 4]
    assert [bool(np.isfinite(logprobs[-1])) for _, logprobs in found] == [True, False, True]


def test_it_ends_when_it_is_called(model: Model) -> None:
    going = strider(model)

    def call() -> None:
        going.called[0] = b"!"

    model.after = call
    assert [len(tokens) for tokens, _ in going(picks(), 12, ends=())] == [2, 2, 2]
    assert [len(tokens) for tokens, _ in going(picks(), 12, ends=())] == [1, 1, 1]


def test_a_step_that_fails_ends_it_with_a_reason(model: Model) -> None:
    model.failing = 3
    with pytest.raises(StepFailed, match="gave 2 for 3 tokens"):
        strider(model)(picks(), 12, ends=())
