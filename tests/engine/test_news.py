"""Streams: what a caller is told while answers are generated is, put together, what `complete` gives."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.engine.answer import Answer
from swarmcode.engine.batched import BatchedEngine
from swarmcode.engine.news import Feed, Post
from swarmcode.engine.protocol import Completion, News, Profile, Request, Sampling, Segment, StreamingEngine
from swarmcode.engine.scripted import ScriptedEngine
from swarmcode.engine.step import Capacity
from swarmcode.errors import EngineLost, UsageError
from swarmcode.flow import Usage

T = TypeVar("T")
PROFILE = Profile(name="toy", protocols=("span",), context=1000)
ROOM = Capacity(running=100, seats=110, cells=5000, context=60, chunk=128)


def play(backend: Any, story: Callable[[BatchedEngine], Awaitable[T]]) -> T:
    """Runs `story` on an engine that is closed afterwards."""

    async def main() -> T:
        engine = BatchedEngine(backend, PROFILE)
        try:
            return await story(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


def asking(tokens: tuple[int, ...], *seeds: int, **changes: Any) -> Request:
    fields: dict[str, Any] = {"sampling": Sampling(max_tokens=12), "seeds": seeds or (0,)} | changes
    return Request(prompt=(Segment(tokens=tokens),), **fields)


async def heard(engine: StreamingEngine, request: Request) -> list[News]:
    """All news of a request."""
    found: list[News] = []
    with closing(engine.stream(request)) as stream:
        async for news in stream:
            assert news
            found += news
    return found


def put_together(news: list[News]) -> list[tuple[str, tuple[int, ...], tuple[float, ...], Completion]]:
    """Text, tokens, log-probabilities and completion of each answer."""
    found = []
    for index in sorted({each.index for each in news}):
        own = [each for each in news if each.index == index]
        assert [each.completion is not None for each in own] == [False] * (len(own) - 1) + [True]
        completion = own[-1].completion
        assert completion
        tokens = tuple(token for each in own for token in each.tokens)
        logprobs = tuple(value for each in own for value in each.logprobs)
        found.append(("".join(each.text for each in own), tokens, logprobs, completion))
    return found


def test_news_put_together_are_the_completion(toy: Any) -> None:
    """For a hundred streams of several answers at once, with stop strings: equal to what `complete` gives."""
    requests = [asking((1 + n % 3, 2), n, n + 1, stop=("ab", "cda")) for n in range(100)]

    async def streamed(engine: BatchedEngine) -> list[list[News]]:
        return await asyncio.gather(*(heard(engine, request) for request in requests))

    async def whole(engine: BatchedEngine) -> list[tuple[Completion, ...]]:
        return await asyncio.gather(*map(engine.complete, requests))

    news, completions = play(toy(ROOM), streamed), play(toy(ROOM), whole)
    assert any(each.finish == "stop" and "ab" not in each.text for pair in completions for each in pair)
    for told, expected in zip(news, completions, strict=True):
        for (text, tokens, logprobs, completion), whole_one in zip(put_together(told), expected, strict=True):
            assert (completion.text, completion.tokens) == (whole_one.text, whole_one.tokens)
            assert (text, tokens) == (completion.text, completion.tokens)
            assert logprobs == completion.logprobs[: len(tokens)] == whole_one.logprobs[: len(tokens)]


def test_news_come_while_the_model_computes(toy: Any) -> None:
    """The first token is told before the third can be drawn."""
    backend = toy(ROOM)
    told = threading.Event()

    def logits(tokens: Sequence[int]) -> Any:
        assert len(tokens) < 3 or told.wait(60)
        return np.where(np.arange(8) == 3, 99.0, 0.0).astype(np.float32)

    backend.logits = logits

    async def story(engine: BatchedEngine) -> list[News]:
        with closing(engine.stream(asking((1,)))) as stream:
            first = await anext(stream)
            told.set()
            return [*first, *[each async for news in stream for each in news]]

    ((_, tokens, _, _),) = put_together(play(backend, story))
    assert tokens == (3,) * 12


def test_closing_a_stream_frees_what_it_held(toy: Any) -> None:
    """Streams that are left are gone with the next step, and another's answer is as ever."""
    backend = toy(ROOM)

    async def story(engine: BatchedEngine) -> tuple[list[News], int]:
        leaving = [engine.stream(asking((1, n % 5), n, sampling=Sampling(max_tokens=50))) for n in range(40)]
        kept = asyncio.create_task(heard(engine, asking((2, 3), 9)))
        for stream in leaving:
            await anext(stream)
        backend.go.clear()
        steps = len(backend.batches)
        for stream in leaving:
            stream.close()
            stream.close()
        backend.go.set()
        return await kept, steps

    told, steps = play(backend, story)
    # Two steps may have been on their way; from then on the other's few tokens are all that is computed.
    assert sum(backend.batches[steps + 2 :]) < 40
    ((text, *_),) = put_together(told)
    assert text == play(toy(ROOM), lambda engine: engine.complete(asking((2, 3), 9)))[0].text


def test_a_stream_ends_with_what_went_wrong(toy: Any) -> None:
    """A request that makes no sense is refused at once; one whose step fails, or whose engine is closed, ends so."""
    backend = toy(ROOM)
    backend.failing = {1}

    async def story(engine: BatchedEngine) -> None:
        with pytest.raises(UsageError, match="the prompt is empty"):
            engine.stream(asking(()))
        with pytest.raises(EngineLost, match="the toy fails"):
            await heard(engine, asking((1, 2), sampling=Sampling(max_tokens=50)))
        assert await heard(engine, Request(prompt=(Segment(tokens=(1,)),), sampling=Sampling(), seeds=())) == []
        backend.go.clear()
        pending = [asyncio.create_task(heard(engine, asking((1,), n))) for n in range(5)]
        await asyncio.sleep(0)
        await engine.close()
        lost = await asyncio.gather(*pending, return_exceptions=True)
        assert [type(each) for each in lost] == [EngineLost] * 5
        with pytest.raises(EngineLost):
            engine.stream(asking((1,)))

    play(backend, story)


PIECES = ["a", "b", "ab", "ba", "a\n", "é", "日本", "\U0001f600"]


@settings(max_examples=60, deadline=None)
@given(
    text=st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    stops=st.lists(st.sampled_from(["b", "aba", "bb", "é", "本日", "a\na"]), max_size=3),
    seed=st.integers(0, 99),
)
def test_text_is_told_once_it_is_certain(text: str, stops: list[str], seed: int) -> None:
    """However the bytes fall into tokens, and however many are drawn between two news: no half characters, and nothing
    that a stop string takes back."""
    source, rng = text.encode(), random.Random(seed)
    cuts = sorted(rng.randrange(len(source) + 1) for _ in range(6))
    pieces = [source[a:b] for a, b in zip([0, *cuts], [*cuts, len(source)], strict=True)]
    request = Request(prompt=(), sampling=Sampling(max_tokens=len(pieces)), stop=tuple(stops))

    async def story() -> None:
        answer = Answer(request, 0, frozenset(), pieces.__getitem__)
        completions: dict[int, Completion] = {}
        feed = Feed(Post())
        feed.follow([answer], completions, lambda: None)
        told = ""
        for token in range(len(pieces)):
            answer.take(token, -1.0)
            if answer.finish:
                completions[0] = answer.completion(Usage())
            if answer.finish or rng.random() < 0.7:
                feed.tell()
                (news,) = await anext(feed)
                told += news.text
                assert "\ufffd" not in told
                assert text.startswith(told)
                assert not any(stop in told for stop in stops)
            if answer.finish:
                break
        assert told == completions[0].text

    asyncio.run(story())


def test_a_scripted_engine_streams_its_script() -> None:
    """A token of each answer at a time, ended by the completion."""
    engine = ScriptedEngine(["héy", (104, 257, 105)])
    request = Request(prompt=(Segment(text="say"),), sampling=Sampling(max_tokens=9), seeds=(1, 2))
    first, second = put_together(asyncio.run(heard(engine, request)))
    assert (first[0], second[0]) == ("héy", "hi")
    assert second[1] == second[3].tokens == (104, 257, 105)
    assert len(engine.prompt(request.prompt)) == first[3].usage.prefilled == 3


def test_control_tokens_are_spelt_where_they_have_names(toy: Any) -> None:
    """In text, in news, and for stop strings; others stay out of it."""
    backend = toy(ROOM)
    backend.piece = lambda token: b"c" if token == 3 else b""
    order = iter([3, 4, 5, 3, 4, 3] * 2)
    backend.logits = lambda tokens: np.where(np.arange(8) == next(order), 99.0, 0.0).astype(np.float32)
    request = asking((1,), names={4: "<call>"}, stop=("<call>c<call>",))

    async def story(engine: BatchedEngine) -> list[News]:
        return await heard(engine, request)

    ((text, tokens, _, completion),) = put_together(play(backend, story))
    assert (text, completion.text, tokens) == ("c", "c", (3, 4, 5, 3, 4))
    scripted = ScriptedEngine([(104, 257, 105, 258)])
    asked = Request(prompt=(Segment(text="say"),), sampling=Sampling(max_tokens=9), names={257: "<end>"})
    assert put_together(asyncio.run(heard(scripted, asked)))[0][0] == "h<end>i"
