"""Whatever goes wrong ends exactly the requests that it concerns, each in one clear line; all others end right.

What else goes wrong on a toy (closing, a fault in the engine's thread) is in `test_batched.py`; what endpoints do
wrong, in `test_remote.py`; broken templates, in `tests/dialect`.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from swarmcode.engine.batched import BatchedEngine
from swarmcode.engine.budget import Layout
from swarmcode.engine.llama.backend import LlamaBackend, Room
from swarmcode.engine.models import describe
from swarmcode.engine.protocol import Completion, Profile, Request, Sampling, Segment
from swarmcode.engine.step import Capacity, Step
from swarmcode.errors import EngineLost, ModelError, StepLost, SwarmcodeError, UsageError

T = TypeVar("T")
Said = list[tuple[tuple[int, ...], tuple[float, ...]]]
HEAD = tuple(range(40, 60))


class Unending:
    """A constraint to anything but the end."""

    def __init__(self, vocabulary: int, *ends: int) -> None:
        self._mask = ~np.isin(np.arange(vocabulary), ends)

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        return self._mask


class Broken(Unending):
    """One that has a fault after some tokens."""

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        return self._mask if len(generated) < 3 else self._mask[len(generated) :]


def asking(number: int, *, constraint: Any, max_tokens: int = 12) -> Request:
    """Requests that begin alike."""
    prompt = (*HEAD, 60 + number, 61 + number % 3)
    return Request(
        prompt=(Segment(tokens=prompt),),
        sampling=Sampling(max_tokens=max_tokens),
        seeds=(number,),
        constraint=constraint,
    )


def said(completions: Sequence[Completion]) -> Said:
    return [(each.tokens, each.logprobs) for each in completions]


def play(backend: Any, story: Callable[[BatchedEngine], Awaitable[T]]) -> T:
    """Runs `story` on an engine that is closed afterwards."""

    async def main() -> T:
        engine = BatchedEngine(backend, Profile(name="tiny", protocols=(), context=0))
        try:
            return await story(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


async def outcomes(engine: BatchedEngine, requests: Sequence[Request]) -> list[tuple[Completion, ...] | BaseException]:
    """What becomes of requests that are made together."""
    return await asyncio.gather(*map(engine.complete, requests), return_exceptions=True)


async def one_by_one(engine: BatchedEngine, requests: Sequence[Request]) -> list[Said]:
    return [said(await engine.complete(request)) for request in requests]


@dataclass
class Stumbling:
    """A backend of llama.cpp that is given a step that it must refuse: one token stands where none can stand."""

    backend: LlamaBackend
    stumbles: Callable[[Step], bool]
    """Whether this is the step. One is enough."""
    fallen: list[int] = field(default_factory=list)
    """Sequences that the step had reads of."""

    def run(self, step: Step) -> Sequence[NDArray[np.float32]]:
        if not self.fallen and self.stumbles(step):
            self.fallen = [sequence for read in step.reads for sequence in read.sequences]
            step.positions[-1 if step.seats.count(step.seats[-1]) == 1 else 0] += 7
        return self.backend.run(step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


def open_backend(model: Path, layout: Layout, *, agents: int = 4, cells: int = 0) -> LlamaBackend:
    return LlamaBackend(describe(model), Room(agents=agents, layout=layout, cells=cells, context=64), threading.Event())


def mixed(step: Step) -> bool:
    """A step in which some prefill and others decode; with streams these are several calls, of which one fails."""
    return len(step.reads) == 4 and len(step.tokens) > 4


def decoding(step: Step) -> bool:
    return len(step.reads) == 4 == len(step.tokens)


@pytest.mark.model
@pytest.mark.parametrize("layout", ["streams", "unified"])
@pytest.mark.parametrize("stumbles", [mixed, decoding])
def test_a_step_that_llama_cpp_refuses_ends_those_in_it(
    chat_gguf: Path, layout: Layout, stumbles: Callable[[Step], bool]
) -> None:
    """They are told what it said. Those that waited are answered as they would have been, and so is whoever asks
    again: nothing of the failed step is left in the cache."""
    backend = Stumbling(open_backend(chat_gguf, layout), stumbles)
    lengths = [6, 10, 14, 18, *[12] * 8]
    requests = [asking(number, constraint=Unending(262, 2), max_tokens=length) for number, length in enumerate(lengths)]

    async def story(engine: BatchedEngine) -> tuple[list[Any], list[Said]]:
        return await outcomes(engine, requests), await one_by_one(engine, requests)

    ended, again = play(backend, story)
    lost = [number for number, outcome in enumerate(ended) if isinstance(outcome, StepLost)]
    assert sorted(backend.fallen) == lost
    assert len(lost) == 4
    for number in lost:
        assert "llama_decode gave -1" in str(ended[number])
        assert "\n" not in ended[number].message
    alone = play(open_backend(chat_gguf, layout, agents=1), lambda engine: one_by_one(engine, requests))
    assert all(alike(*pair) for pair in zip(again, alone, strict=True))
    for number in set(range(len(requests))) - set(lost):
        assert alike(said(ended[number]), alone[number])


def alike(one: Said, other: Said) -> bool:
    """But for noise (sums of a model that is not quantized are taken in another order in a batch), and for what a rare
    other choice leads to."""
    ((first, sure), (second, surely)) = (*one, *other)
    common = next((at for at, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]), len(first))
    return common > 0 and np.allclose(sure[:common], surely[:common], rtol=0, atol=0.1)


@pytest.mark.model
def test_more_than_the_cache_holds_waits(chat_gguf: Path) -> None:
    """Forty long answers at once in a cache for less than three: none is refused, cut or lost."""
    backend = open_backend(chat_gguf, "unified", agents=40, cells=160)
    requests = [asking(number, constraint=Unending(262, 2), max_tokens=40) for number in range(40)]
    ended = play(backend, lambda engine: outcomes(engine, requests))
    assert [len(outcome[0].tokens) for outcome in ended] == [40] * 40


def test_each_fault_is_its_own_requests(toy: Any) -> None:
    """At once and with equal heads: logits that are no numbers, a constraint that raises, a prompt that is too long, a
    token that there is none of, a schema that is none, and good requests; each gets what it deserves."""

    class Damaged(toy):
        """The logits of any text with the token 7 are no numbers."""

        @staticmethod
        def logits(tokens: Sequence[int]) -> NDArray[np.float32]:
            row: NDArray[np.float32] = toy.logits(tokens)
            return np.full_like(row, np.nan) if 7 in tokens else row

    def request(*tail: int, **changes: Any) -> Request:
        prompt = (Segment(tokens=(1,) * 20 + tail),)
        return Request(prompt=prompt, sampling=Sampling(max_tokens=8), **{"seeds": (1, 2)} | changes)

    free = Unending(8, 0, 7)
    good = [request(*tail, constraint=free) for tail in ((2,), (3,), (2, 3), (), (2, 4))]
    bad: list[tuple[Request, type[SwarmcodeError], str]] = [
        (request(7), ModelError, "logits are not numbers"),
        (request(2, 7, seeds=(1,)), ModelError, "logits are not numbers"),
        (request(2, constraint=Broken(8, 0, 7)), EngineLost, "constraint failed"),
        (request(*[2] * 40), UsageError, "do not fit the context"),
        (request(8), UsageError, "does not know"),
        (request(2, schema="impossible"), ModelError, "impossible"),
    ]
    room = Capacity(running=12, seats=16, cells=200, context=60, chunk=32)

    async def story(engine: BatchedEngine) -> tuple[list[Any], list[Any], list[Said]]:
        everything = [one for pair in zip([each for each, *_ in bad], [*good, good[0]], strict=True) for one in pair]
        ended = await outcomes(engine, everything)
        return ended[::2], ended[1::2], await one_by_one(engine, good)

    failed, answered, alone = play(Damaged(room), story)
    for outcome, (_, kind, words) in zip(failed, bad, strict=True):
        assert type(outcome) is kind
        assert words in str(outcome)
    assert [said(outcome) for outcome in answered] == [*alone, alone[0]]


@pytest.mark.model
@pytest.mark.parametrize("layout", ["streams", "unified"])
def test_closing_in_the_middle_ends_all_and_nothing_hangs(chat_gguf: Path, layout: Layout) -> None:
    """Running, waiting, and just made: each is told that the engine was closed, and the engine is gone for good."""
    requests = [asking(number, constraint=Unending(262, 2), max_tokens=30) for number in range(12)]

    async def story(engine: BatchedEngine) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            pending = group.create_task(outcomes(engine, requests))
            await engine.complete(asking(99, constraint=Unending(262, 2), max_tokens=2))
            just_made = group.create_task(outcomes(engine, requests[:2]))
            await engine.close()
            late = await outcomes(engine, requests[:1])
        return [*await pending, *await just_made, *late]

    ended = play(open_backend(chat_gguf, layout), story)
    assert len(ended) == 15
    assert all(isinstance(outcome, EngineLost) and "closed" in outcome.message for outcome in ended), ended
