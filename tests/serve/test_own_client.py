"""Our own remote engine, speaking to our own server: what one asks, the other answers."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmcode.dialect.messages import Message
from swarmcode.dialect.template import segments
from swarmcode.engine.models import describe
from swarmcode.engine.protocol import Completion, Request, Sampling, Segment
from swarmcode.engine.remote.address import endpoints
from swarmcode.engine.remote.engine import open_remote
from swarmcode.engine.scripted import CHAT, ScriptedEngine


@pytest.mark.model
def test_our_own_remote_engine(serve_model: Any, chat_gguf: Path) -> None:
    """It is found with its model and its context; sixty answers at once are those that the engine gives itself,
    tokens are counted, a schema is obeyed, and cancelled requests leave nothing behind."""

    async def story(address: str, engine: Any) -> None:
        remote = await open_remote(endpoints(f"{address}#tiny seats=60", {}))
        assert remote.profile.context == engine.profile.context
        say = Message(role="user", content="hello")

        def asking(profile: Any, *seeds: int, tokens: int = 24, **changes: Any) -> Request:
            prompt = segments(profile.chat_template, [say], thinking=False)
            sampling = Sampling(temperature=0.75, top_k=60, top_p=0.875, min_p=0.0625, max_tokens=tokens)
            return Request(prompt=prompt, sampling=sampling, seeds=seeds, **changes)

        try:
            told = await remote.complete(asking(remote.profile, *range(60)))
            expected = await engine.complete(asking(engine.profile, *range(60)))
            same = [one.text == other.text for one, other in zip(told, expected, strict=True)]
            assert sum(same) >= 58
            assert _cost(told) == _cost(expected)
            schema = '{"type": "object", "properties": {"a": {"enum": [81]}}, "required": ["a"]}'
            (formed,) = await remote.complete(asking(remote.profile, 1, tokens=99, schema=schema))
            assert json.loads(formed.text) == {"a": 81}
            leaving = asyncio.create_task(remote.complete(asking(remote.profile, *range(30), tokens=400)))
            async with asyncio.timeout(60):
                while engine.load.running < 2:
                    await engine.complete(_short(engine))
                leaving.cancel()
                await asyncio.wait([leaving])
                while engine.load.running + engine.load.waiting:
                    await engine.complete(_short(engine))
        finally:
            await remote.close()

    serve_model(describe(chat_gguf, name="tiny"), story, context=512)


@pytest.mark.parametrize(
    "asked", [Sampling(max_tokens=9), Sampling(top_k=3, min_p=0.25, repetition=1.5, bias=((5, -1.0),), max_tokens=9)]
)
def test_no_limit_is_no_limit_over_the_wire(serve: Any, asked: Sampling) -> None:
    """What an agent asks for is what is drawn by, whatever the publisher of the model recommends."""
    recommended = Sampling(temperature=0.6, top_p=0.9, top_k=20, min_p=0.05, repetition=1.05, presence=0.5)
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    profile = replace(CHAT, name="tiny", chat_template=template, sampling=recommended)
    engine = ScriptedEngine(["fine"], profile=profile)

    async def story(address: str) -> None:
        remote = await open_remote(endpoints(address, {}))
        try:
            say = segments(remote.profile.chat_template, [Message(role="user", content="hello")], thinking=False)
            await remote.complete(Request(prompt=say, sampling=asked))
        finally:
            await remote.close()

    serve(engine, story)
    assert engine.requests[0].sampling == asked


def _cost(completions: tuple[Completion, ...]) -> list[int]:
    return [each.usage.prefilled + each.usage.reused for each in completions]


def _short(engine: Any) -> Request:
    tokens = engine.tokenize("x")
    return Request(prompt=(Segment(tokens=tokens),), sampling=Sampling(max_tokens=1))
