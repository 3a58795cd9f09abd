"""`/v1/completions` with OpenAI's own client: what it gives is what the engine gives."""

import asyncio
import re
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from swarmcode.engine.models import resolve
from swarmcode.engine.protocol import Request, Sampling, Segment
from swarmcode.engine.scripted import ScriptedEngine

HEAD = "def total(prices):\n    result = 0\n    for price in prices:\n        result"


def client(address: str, key: str = "any") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=address, api_key=key, max_retries=0)


@pytest.mark.model
def test_a_hundred_streams_are_what_the_engine_gives(serve_model: Any) -> None:
    """Prompts that begin alike, streamed at once: each text, token and log-probability as `complete` gives it, and
    their common head computed once."""

    async def story(address: str, engine: Any) -> None:
        async with client(address) as openai_client:

            async def streamed(number: int) -> tuple[str, list[str], list[float], Any]:
                stream = await openai_client.completions.create(
                    model="repair",
                    prompt=f"{HEAD} # {number}",
                    max_tokens=12,
                    seed=number,
                    temperature=0.8,
                    logprobs=1,
                    stream=True,
                    stream_options={"include_usage": True},
                )
                text, tokens, logprobs, usage = "", [], [], None
                async for event in stream:
                    for choice in event.choices:
                        text += choice.text
                        if choice.logprobs:
                            tokens += choice.logprobs.tokens or []
                            logprobs += choice.logprobs.token_logprobs or []
                    usage = event.usage or usage
                return text, tokens, logprobs, usage

            def asking(number: int) -> Request:
                prompt = engine.prompt((Segment(text=f"{HEAD} # {number}", special=True),))
                sampling = Sampling(temperature=0.8, max_tokens=12)
                return Request(prompt=(Segment(tokens=prompt),), sampling=sampling, seeds=(number,))

            told = await asyncio.gather(*map(streamed, range(100)))
            assert (engine.load.running, engine.load.waiting) == (0, 0)
            answers = await asyncio.gather(*(engine.complete(asking(number)) for number in range(100)))
            for number, (text, tokens, logprobs, usage) in enumerate(told):
                (expected,) = answers[number]
                assert text == expected.text
                assert "".join(tokens) == text
                assert logprobs == pytest.approx(expected.logprobs[: len(logprobs)], abs=0.01)
                assert usage.prompt_tokens == expected.usage.prefilled + expected.usage.reused
                assert usage.completion_tokens == expected.usage.decoded
            computed = sum(usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens for *_, usage in told)
            assert computed < 0.3 * sum(usage.prompt_tokens for *_, usage in told)

    serve_model(resolve("repair"), story)


@pytest.mark.model
def test_a_client_that_leaves_frees_what_it_held(serve_model: Any) -> None:
    """Streams, and requests that wait for a whole answer: gone from the engine at once, and counted as cancelled."""

    async def story(address: str, engine: Any) -> None:
        long = {"type": "json_object", "schema": {"type": "string", "minLength": 1000}}
        endless = {"prompt": "x = 1\n", "max_tokens": 500, "response_format": long}
        async with httpx.AsyncClient() as browser:

            async def leave(number: int) -> None:
                body = endless | {"seed": number, "stream": number % 2 == 0}
                async with browser.stream("POST", f"{address}/completions", json=body) as response:
                    async for _ in response.aiter_bytes():
                        pass

            async def here() -> float:
                told = (await browser.get(f"{address.removesuffix('/v1')}/metrics")).text
                found = re.findall(r'swarmcode_sequences\{state="\w+"\} (\S+)', told)
                return sum(map(float, found))

            async with asyncio.timeout(30):
                tasks = [asyncio.create_task(leave(number)) for number in range(20)]
                while await here() < 20:
                    pass
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                while await here():
                    pass
            assert engine.load.usage.decoded < 20 * 500 / 2
            told = (await browser.get(f"{address.removesuffix('/v1')}/metrics")).text
            assert 'swarmcode_requests_total{endpoint="completions",outcome="cancelled"} 20.0' in told

    serve_model(resolve("repair"), story)


def test_several_prompts_and_answers_come_in_order(serve: Any) -> None:
    """`n` answers to each prompt, numbered through; prompts count once however many answers they have."""
    engine = ScriptedEngine(lambda request, seed: f"{len(engine.prompt(request.prompt))}/{seed}")

    async def story(address: str) -> None:
        async with client(address) as openai_client:
            told = await openai_client.completions.create(model="scripted", prompt=["ab", "abc"], n=2, seed=5)
            assert [(choice.index, choice.text) for choice in told.choices] == [
                (0, "2/5"),
                (1, "2/6"),
                (2, "3/7"),
                (3, "3/8"),
            ]
            assert [choice.finish_reason for choice in told.choices] == ["stop"] * 4
            assert told.usage
            assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (5, 16)
            tokens = await openai_client.completions.create(model="scripted", prompt=[104, 105], seed=1)
            assert tokens.choices[0].text == "2/1"

    serve(engine, story)


def test_what_is_asked_reaches_the_engine(serve: Any) -> None:
    """Sampling, stops and schema as the client gives them; what it does not say is as the profile says."""
    engine = ScriptedEngine(lambda request, seed: "yes")

    async def story(address: str) -> None:
        async with client(address) as openai_client:
            await openai_client.completions.create(
                model="scripted",
                prompt="<|end|>a",
                temperature=0.25,
                top_p=0.5,
                max_tokens=7,
                stop=["\n\n"],
                frequency_penalty=0.5,
                presence_penalty=-0.25,
                logit_bias={"9": -100, "5": 2.5},
                extra_body={
                    "top_k": 40,
                    "min_p": 0.125,
                    "repetition_penalty": 1.25,
                    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": [1]}}},
                },
            )
            await openai_client.completions.create(model="scripted", prompt="a", stop="no", seed=-3, top_p=None)
            as_llama = {"repeat_penalty": 1.5}
            await openai_client.completions.create(model="scripted", prompt="a", extra_body=as_llama)

    serve(engine, story)
    said, silent, other = engine.requests
    assert said.sampling == Sampling(
        temperature=0.25,
        top_k=40,
        top_p=0.5,
        min_p=0.125,
        repetition=1.25,
        presence=-0.25,
        frequency=0.5,
        bias=((5, 2.5), (9, -100.0)),
        max_tokens=7,
    )
    assert other.sampling.repetition == 1.5
    assert (said.stop, said.schema) == (("\n\n",), '{"enum": [1]}')
    assert engine.prompt(said.prompt) == (257, ord("a")), "a control token's spelling is that token"
    assert silent.sampling == Sampling(max_tokens=16)
    assert (silent.stop, silent.seeds, silent.top) == (("no",), (-3,), 0)


def test_likeliest_tokens_are_told(serve_model: Any) -> None:
    """Columns of equal length; the likeliest is what greedy sampling takes."""

    async def story(address: str, engine: Any) -> None:
        async with client(address) as openai_client:
            told = await openai_client.completions.create(
                model="repair", prompt=HEAD, max_tokens=6, temperature=0, logprobs=3, n=2
            )
            for choice in told.choices:
                columns = choice.logprobs
                assert columns
                assert columns.tokens
                assert columns.token_logprobs
                assert columns.top_logprobs
                assert "".join(columns.tokens) == choice.text
                assert columns.text_offset == [len("".join(columns.tokens[:place])) for place in range(6)]
                for token, logprob, top in zip(
                    columns.tokens, columns.token_logprobs, columns.top_logprobs, strict=True
                ):
                    assert max(top.items(), key=lambda item: item[1]) == (token, logprob)

    serve_model(resolve("repair"), story)


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"model": "gpt-4o"}, 404, "model"),
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": "a" * 40_000}, 400, "prompt"),
        ({"max_tokens": 40_000}, 400, "max_tokens"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"n": 1000}, 400, "n"),
        ({"n": 30, "prompt": ["a"] * 20}, 400, "n"),
        ({"temperature": "warm"}, 400, "temperature"),
        ({"top_p": 1.5}, 400, "top_p"),
        ({"stop": ["a", ""]}, 400, "stop.1"),
        ({"logprobs": 99}, 400, "logprobs"),
        ({"presence_penalty": 2.5}, 400, "presence_penalty"),
        ({"repetition_penalty": 0}, 400, "repetition_penalty"),
        ({"logit_bias": {"99999": -100}}, 400, "logit_bias"),
        ({"echo": True}, 400, "echo"),
        ({"suffix": "b"}, 400, "suffix"),
        ({"best_of": 3}, 400, "best_of"),
        ({"stream": True, "prompt": ["a", "b"]}, 400, "prompt"),
        ({"response_format": {"type": "json_schema"}}, 400, "response_format.json_schema"),
    ],
)
def test_what_cannot_be_is_refused_by_name(serve: Any, changes: dict[str, Any], status: int, field: str) -> None:
    """One line that names the field, and nothing reaches the engine."""
    engine = ScriptedEngine([])

    async def story(address: str) -> None:
        body = {"model": "scripted", "prompt": "a"} | changes
        async with client(address) as openai_client:
            with pytest.raises(openai.APIStatusError) as caught:
                await openai_client.post("/completions", body=body, cast_to=object)
        assert caught.value.status_code == status
        told = caught.value.body
        assert isinstance(told, dict)
        assert told["param"] == field
        assert "\n" not in told["message"]

    serve(engine, story)
    assert engine.requests == []
