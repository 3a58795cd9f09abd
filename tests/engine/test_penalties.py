"""Penalties and biases: as they are defined, on what was said and no more, and without a trace in probabilities."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from swarmcode.engine.batched import BatchedEngine
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import resolve
from swarmcode.engine.penalties import Penalties
from swarmcode.engine.protocol import Completion, Request, Sampling, Segment
from swarmcode.engine.sampling import Pick, draw, key
from swarmcode.errors import UsageError

ROWS = st.lists(st.floats(-8, 8, width=32), min_size=6, max_size=20).map(lambda row: np.array(row, np.float32))
SAID = st.lists(st.integers(0, 5), max_size=12)
RULES = st.builds(
    Sampling,
    repetition=st.sampled_from([0.5, 1.0, 1.3]),
    presence=st.sampled_from([-1.5, 0.0, 2.0]),
    frequency=st.sampled_from([-0.5, 0.0, 1.0]),
    bias=st.sampled_from([(), ((0, -100.0),), ((1, 3.0), (4, -2.0))]),
)


@given(ROWS, SAID, SAID, RULES)
def test_logits_are_changed_as_defined(
    row: NDArray[np.float32], prompt: list[int], said: list[int], rules: Sampling
) -> None:
    """One token after another, by the definitions; the row itself is left alone."""
    penalties = Penalties(rules, prompt)
    for token in said:
        penalties.take(token)
    expected = row.astype(np.float64)
    for token in set(prompt + said):
        expected[token] = (
            expected[token] / rules.repetition if expected[token] > 0 else expected[token] * rules.repetition
        )
    for token in said:
        expected[token] -= rules.frequency
    for token in set(said):
        expected[token] -= rules.presence
    for token, value in rules.bias:
        expected[token] += value
    before = row.copy()
    assert penalties.applied(row) == pytest.approx(expected, abs=1e-4)
    assert (row == before).all()


@given(ROWS, SAID, RULES, st.sampled_from([0.0, 0.7, 1.0]), st.integers(0, 3))
def test_they_decide_what_is_drawn_and_not_how_likely_it_was(
    row: NDArray[np.float32], said: list[int], rules: Sampling, temperature: float, least: int
) -> None:
    """A token is drawn as from the changed logits, under a mask, too; its probability is that of the model."""
    rules = Sampling(temperature=temperature, top_k=4, repetition=rules.repetition, presence=rules.presence)
    penalties = Penalties(rules, ())
    for token in said:
        penalties.take(token)
    mask = np.arange(len(row)) >= least
    for seed in range(4):
        (found,) = draw([row], [Pick(0, rules, key(seed, 0), mask, 2, penalties)])
        (as_changed,) = draw([penalties.applied(row)], [Pick(0, rules, key(seed, 0), mask)])
        (plain,) = draw([row], [Pick(0, rules, key(seed, 0), mask, 2)])
        logits = row[mask].astype(np.float64)
        assert found.token == as_changed.token
        assert found.logprob == pytest.approx(row[found.token] - np.log(np.exp(logits).sum()), abs=1e-4)
        assert found.top == plain.top


def test_sequences_with_and_without_them_share_no_work() -> None:
    """The same row and rules beside each other."""
    row, rules = np.array([1.0, 2.0, 0.0], np.float32), Sampling(temperature=0.0, presence=5.0)
    said = Penalties(rules, ())
    said.take(1)
    picks = [Pick(0, rules, 0, None, 0, each) for each in (Penalties(rules, ()), said)]
    assert [found.token for found in draw([row], picks)] == [1, 0]


@pytest.mark.model
def test_an_engine_honours_them() -> None:
    """On the real model, alone and beside others: nothing is said twice, a token is banned, another forced."""

    async def story() -> None:
        engine = await open_engine(resolve("repair"))
        try:
            prompt = engine.tokenize("def add(a, b):\n    return a")

            async def said(**rules: object) -> Completion:
                sampling = Sampling(temperature=0.0, max_tokens=24, **rules)  # type: ignore[arg-type]
                request = Request(prompt=(Segment(tokens=prompt),), sampling=sampling, stop_tokens=(), seeds=(1,))
                (found,) = await engine.complete(request)
                return found

            plain = await said()
            banned = tuple((token, -100.0) for token in set(plain.tokens))
            fresh, without, forced, again = await asyncio.gather(
                said(presence=2.0, frequency=100.0),
                said(bias=banned),
                said(bias=((plain.tokens[0] + 1, 100.0),)),
                said(),
            )
            assert again.tokens == plain.tokens
            assert len(set(fresh.tokens)) == len(fresh.tokens) > 1
            assert not set(without.tokens) & set(plain.tokens)
            assert set(forced.tokens) == {plain.tokens[0] + 1}
            assert forced.logprobs[0] < plain.logprobs[0]
            await _refused(engine, prompt)
        finally:
            await engine.close()

    asyncio.run(story())


async def _refused(engine: BatchedEngine, prompt: tuple[int, ...]) -> None:
    for sampling in (Sampling(repetition=0), Sampling(bias=((1 << 20, 1.0),))):
        with pytest.raises(UsageError):
            await engine.complete(Request(prompt=(Segment(tokens=prompt),), sampling=sampling))
