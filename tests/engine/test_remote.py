"""Remote engines against a server on loopback that answers as it is told to, however wrong."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from swarmcode.agent.protocol import Assignment
from swarmcode.agent.writer import Briefing, WriterAgent
from swarmcode.dialect.messages import Message
from swarmcode.dialect.template import segments
from swarmcode.engine.protocol import Completion, Request, Sampling, Segment
from swarmcode.engine.remote.address import endpoints
from swarmcode.engine.remote.ask import Patience
from swarmcode.engine.remote.engine import RemoteEngine, open_remote
from swarmcode.errors import EngineLost, ModelError, SwarmcodeError, UsageError
from swarmcode.flow import Issue, Subtask
from swarmcode.tree import Tree

T = TypeVar("T")
KEY = "sk-0123456789-secret"
CALM = Patience(first=30.0, between=30.0, total=60.0, usage=30.0, again=0.002, aside=0.002)
"""Tries again at once, and waits for an answer as long as a busy machine may need."""
HASTY = replace(CALM, first=0.3, between=0.3, usage=0.1)
"""For servers that never answer."""

Answer = bytes | Callable[["Call"], Awaitable[None]]
"""Bytes to be sent as they are, or a function that sends them."""


@dataclass
class Call:
    """One request as it came, and the way back."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hung_up(self) -> None:
        """Returns when the other side has closed the connection."""
        while await self.reader.read(1024):
            pass


@dataclass
class Server:
    """What it answers to chats, one after another; the last answer stays."""

    answers: list[Answer]
    models: bytes
    calls: list[Call] = field(default_factory=list)
    """The chats so far."""
    asked: list[str] = field(default_factory=list)
    """The paths of all requests so far."""
    active: int = 0
    peak: int = 0
    hung_up: int = 0
    """Connections that the other side closed in the middle of an answer."""
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            call = Call(head[0].split()[1], headers, json.loads(body or b"{}"), writer, reader)
            self.asked.append(call.path)
            await self._answer(call)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up += 1
        finally:
            writer.close()

    async def _answer(self, call: Call) -> None:
        if not call.path.endswith("/chat/completions"):
            await call.send(self.models if call.path.endswith("/models") else status(404))
            return
        self.calls.append(call)
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, bytes):
                await call.send(answer)
            else:
                await answer(call)
        finally:
            self.active -= 1


@asynccontextmanager
async def serving(*answers: Answer, models: bytes | None = None) -> AsyncIterator[Server]:
    """A server until the end of the block; by default it has one model, `tiny`."""
    server = Server(list(answers), listing("tiny") if models is None else models)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()


def status(code: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> bytes:
    """A whole response."""
    lines = [f"HTTP/1.1 {code} X", f"content-type: {kind}", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def refusal(code: int, message: str, **headers: str) -> bytes:
    return status(code, json.dumps({"error": {"message": message}}).encode(), **headers)


def listing(*names: str, **fields: Any) -> bytes:
    return status(200, json.dumps({"data": [{"id": name, **fields} for name in names]}).encode())


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
"""Of a stream that ends where the connection does."""


def event(data: object) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


def said(text: str, logprob: float | None = None, finish: str | None = None) -> bytes:
    """An event with a piece of the answer."""
    choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    if logprob is not None:
        choice["logprobs"] = {"content": [{"token": text, "logprob": logprob}]}
    return event({"choices": [choice]})


def counted(prompt: int, completion: int, cached: int = 0) -> bytes:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return event({"choices": [], "usage": usage})


DONE = event(b"[DONE]")


def stream(*events: bytes) -> bytes:
    """A whole response of events."""
    return HEAD + b"".join(events)


GOOD = stream(said("fine", -0.5), said(".", -0.25, "stop"), counted(10, 2, 4), DONE)
"""An answer as it should be."""


class Story:
    """An engine on some servers, until the end of the block."""

    def __init__(self, *servers: Server, options: str = "", patience: Patience = CALM, **environ: str) -> None:
        text = ", ".join(f"{server.url}#tiny {options}" for server in servers)
        self._endpoints = endpoints(text, environ)
        self._patience = patience

    async def __aenter__(self) -> RemoteEngine:
        self._engine = await open_remote(self._endpoints, patience=self._patience)
        return self._engine

    async def __aexit__(self, *_: object) -> None:
        await self._engine.close()


def play(story: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(60):
            return await story

    return asyncio.run(bounded())


def chat(engine: RemoteEngine, text: str = "hello", **changes: Any) -> Request:
    messages = [Message(role="system", content="be brief"), Message(role="user", content=text)]
    prompt = segments(engine.profile.chat_template, messages, thinking=changes.pop("thinking", False))
    return Request(prompt=prompt, **{"sampling": Sampling(max_tokens=16)} | changes)


async def told(engine: RemoteEngine, **changes: Any) -> Completion:
    (completion,) = await engine.complete(chat(engine, **changes))
    return completion


def test_an_answer_and_what_it_cost() -> None:
    """Text, log-probabilities, finish and the endpoint's own count of tokens come back; the request says what was
    asked: messages by role, sampling, seed, limit."""

    async def story() -> None:
        async with serving(GOOD) as server, Story(server) as engine:
            sampling = Sampling(
                max_tokens=9,
                temperature=0.5,
                top_p=0.9,
                top_k=7,
                min_p=0.1,
                repetition=1.25,
                presence=0.5,
                frequency=-0.5,
                bias=((7, -100.0), (9, 2.5)),
            )
            completion = await told(engine, text="<|system|>x", sampling=sampling, seeds=(5,), stop=("END",))
            assert (completion.text, completion.finish) == ("fine.", "stop")
            assert completion.logprobs == (-0.5, -0.25)
            cost = completion.usage
            assert (cost.prefilled, cost.reused, cost.decoded) == (6, 4, 2)
            assert 0 < cost.seconds < 5
            assert engine.load.usage == cost
            assert engine.load.running == engine.load.waiting == 0
            assert engine.spending.unpriced == 1
        body = server.calls[0].body
        assert body["messages"] == [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "<|system|>x"},
        ]
        wanted = {"model": "tiny", "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1}
        wanted |= {"repetition_penalty": 1.25, "presence_penalty": 0.5, "frequency_penalty": -0.5}
        wanted |= {"logit_bias": {"7": -100.0, "9": 2.5}}
        assert wanted.items() <= body.items()
        assert (body["seed"], body["stop"], body["stream"]) == (5, ["END"], True)
        assert body["chat_template_kwargs"] == {"thinking": False, "enable_thinking": False}

    play(story())


NO_LIMITS = {"top_k": -1, "min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}


@pytest.mark.parametrize(
    ("owner", "limits"),
    [
        *((owner, NO_LIMITS | {"repetition_penalty": 1.0}) for owner in ("swarmcode", "vllm", "sglang")),
        ("llamacpp", NO_LIMITS | {"repeat_penalty": 1.0}),
        *((owner, {}) for owner in ("openai", "system", "", None)),
    ],
)
def test_no_limit_is_said_where_it_is_understood(owner: str | None, limits: dict[str, float]) -> None:
    """A server that limits by default is told not to; a vendor is sent no field that it may not know."""

    async def story() -> None:
        async with serving(GOOD, models=listing("tiny", owned_by=owner)) as server, Story(server) as engine:
            await told(engine, sampling=Sampling(max_tokens=9))
        body = server.calls[0].body
        assert {name: body[name] for name in body if name in NO_LIMITS or "penalty" in name} == limits

    play(story())


def test_a_completion_for_each_seed() -> None:
    """In their order, one request each, with the switch for reasoning as it was asked for."""

    async def echo(call: Call) -> None:
        await call.send(stream(said(str(call.body["seed"]), None, "stop"), DONE))

    async def story() -> None:
        async with serving(echo) as server, Story(server) as engine:
            completions = await engine.complete(chat(engine, seeds=(3, 1, 2), thinking=True))
            assert [each.text for each in completions] == ["3", "1", "2"]
            assert await engine.complete(chat(engine, seeds=())) == ()
        assert all(call.body["chat_template_kwargs"]["thinking"] for call in server.calls)

    play(story())


def test_an_answer_that_is_not_streamed() -> None:
    """Some endpoints answer in one piece whatever they are asked."""
    whole = {
        "choices": [{"message": {"role": "assistant", "content": "whole"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }

    async def story() -> None:
        async with serving(status(200, json.dumps(whole).encode())) as server, Story(server) as engine:
            completion = await told(engine)
            assert (completion.text, completion.finish, completion.logprobs) == ("whole", "length", ())
            assert (completion.usage.prefilled, completion.usage.decoded) == (3, 1)

    play(story())


def test_what_an_endpoint_does_not_tell_is_not_made_up() -> None:
    """Without a count there is none, without log-probabilities there are none; and once they are missing, no answer has
    any, so that the scores of attempts stay comparable."""

    async def story() -> None:
        async with serving(GOOD, stream(said("x", None, "stop"), DONE), GOOD) as server, Story(server) as engine:
            first, second, third = [await told(engine) for _ in range(3)]
            assert first.logprobs == (-0.5, -0.25)
            assert (second.text, second.logprobs, second.usage.decoded) == ("x", (), 0)
            assert (third.logprobs, third.usage.decoded) == ((), 2)

    play(story())


def test_money_is_counted_where_prices_are_given() -> None:
    """Per million tokens, cached ones apart; an answer without a count is not guessed at."""

    async def story() -> None:
        prices, uncounted = "price=1000000/500000/2000000", stream(said("x", None, "stop"), DONE)
        async with serving(GOOD, uncounted) as server, Story(server, options=prices) as engine:
            await told(engine)
            await told(engine)
            assert engine.spending.money == pytest.approx(6 * 1.0 + 4 * 0.5 + 2 * 2.0)
            assert engine.spending.unpriced == 1

    play(story())


def test_a_stop_that_the_endpoint_left_in_is_cut_out() -> None:
    """An answer never holds its stop."""

    async def story() -> None:
        async with serving(stream(said("abENDcd", None, "length"), DONE)) as server, Story(server) as engine:
            completion = await told(engine, stop=("END",))
            assert (completion.text, completion.finish) == ("ab", "stop")

    play(story())


async def endless(call: Call) -> None:
    await call.send(HEAD)
    while True:
        await call.send(said("word ", -0.1) * 20)


async def endless_silence(call: Call) -> None:
    await call.send(HEAD)
    while True:
        await call.send(b": still here\n\n" * 1000)


async def endless_line(call: Call) -> None:
    await call.send(HEAD + b"data: ")
    while True:
        await call.send(b"x" * 65536)


async def endless_whole(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
    while True:
        await call.send(b'{"choices": [' + b" " * 65536)


async def hanging(call: Call) -> None:
    await call.hung_up()
    raise ConnectionError


async def falling_silent(call: Call) -> None:
    await call.send(HEAD + said("and then"))
    await hanging(call)


async def never_closing(call: Call) -> None:
    await call.send(GOOD.replace(DONE, b""))
    await hanging(call)


def test_an_answer_that_never_ends_is_cut() -> None:
    """At the tokens that were asked for, and the connection is closed."""

    async def story() -> None:
        async with serving(endless) as server, Story(server) as engine:
            completion = await told(engine)
            assert completion.finish == "length"
            assert len(completion.logprobs) <= 17
            assert completion.usage.decoded == len(completion.logprobs)
            assert engine.load.running == 0

    play(story())


def test_an_answer_without_an_end_mark_is_taken() -> None:
    """What comes after the last word is waited for, but not for long."""

    async def story() -> None:
        async with serving(never_closing) as server, Story(server, patience=HASTY) as engine:
            assert (await told(engine)).text == "fine."

    play(story())


NONSENSE = {
    "hangs": (hanging, "no answer within the time"),
    "falls silent": (falling_silent, "fell silent"),
    "sends comments for ever": (endless_silence, "MiB for one answer"),
    "sends a line for ever": (endless_line, "an event of more than 1 MiB"),
    "sends an answer in one piece for ever": (endless_whole, "8192 KiB"),
    "counts in words": (stream(said("x", None, "stop"), counted("many", 2), DONE), "usage.prompt_tokens"),  # type: ignore[arg-type]
    "closes at once": (b"", "connection broke"),
    "speaks another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", "connection broke"),
    "breaks off": (stream(said("half")), "broke off in the middle"),
    "sends nothing": (stream(), "broke off before the first word"),
    "says nothing": (stream(said("", None, "stop"), DONE), "said nothing"),
    "counts below zero": (stream(said("x", None, "stop"), counted(-5, 2), DONE), "usage.prompt_tokens"),
    "counts without end": (stream(said("x", None, "stop"), counted(1 << 80, 2), DONE), "usage.prompt_tokens"),
    "caches more than there is": (stream(said("x", None, "stop"), counted(1, 2, 9), DONE), "cached"),
    "is no UTF-8": (stream(event(b'{"choices":[{"delta":{"content":"\xff\xfe"}}]}')), "malformed"),
    "is no JSON": (stream(event(b"{{{")), "malformed"),
    "has wrong types": (stream(event({"choices": [{"delta": {"content": 7}}]})), "choices.0.delta.content"),
    "is no object": (stream(event([1, 2])), "malformed"),
    "is infinitely sure": (stream(said("x", float("-inf"), "stop"), DONE), "malformed"),
    "errs in the middle": (stream(said("x"), event({"error": {"message": "cuda"}})), "broke off with an error"),
    "ends for no reason": (stream(said("x", None, "because"), DONE), "for a reason that is none"),
    "is compressed": (status(200, b"x" * 99, content_encoding="gzip"), "compresses"),
    "is whole and no JSON": (status(200, b"<html>"), "malformed"),
    "fails": (refusal(500, "out of memory"), r"out of memory \(500\)"),
    "is a bad gateway": (status(502, b"<html>" * 9), "502"),
    "is overloaded": (status(529), "overloaded: status 529"),
    "refuses at length": (status(500, b"x" * 100_000), "64 KiB"),
}


SILENT = ("hangs", "falls silent")


def patience_for(what: str) -> Patience:
    return HASTY if what in SILENT else CALM


@pytest.mark.parametrize("what", NONSENSE)
def test_an_endpoint_that_is_wrong_is_lost_in_one_line(what: str) -> None:
    """However it is wrong: after a bounded number of tries the engine is lost, and the line says why."""
    answer, words = NONSENSE[what]

    async def story() -> int:
        async with serving(answer) as server, Story(server, patience=patience_for(what)) as engine:
            with pytest.raises(EngineLost) as lost:
                await told(engine)
            assert re.search(words, lost.value.message), lost.value.message
            assert "\n" not in lost.value.message
            assert server.url.removesuffix("/v1") in lost.value.message
            assert engine.load.running == engine.load.waiting == 0
        return len(server.calls)

    assert play(story()) == 6


@pytest.mark.parametrize("what", NONSENSE)
def test_what_is_wrong_once_is_tried_again(what: str) -> None:
    """A fault that passes costs a try, and nobody hears of it."""
    answer, _ = NONSENSE[what]

    async def story() -> None:
        async with serving(answer, GOOD) as server, Story(server, patience=patience_for(what)) as engine:
            assert (await told(engine)).text == "fine."
        assert len(server.calls) == 2 or what in SILENT

    play(story())


def test_one_bad_request_among_good_ones_ends_alone() -> None:
    """Where the others are answered, the engine is not lost: the request that finds no answer is told so by itself."""

    async def picky(call: Call) -> None:
        bad = call.body["messages"][1]["content"] == "bad"
        await call.send(stream(event(b"{{{")) if bad else GOOD)

    async def story() -> None:
        async with serving(picky) as server, Story(server) as engine:

            async def good() -> None:
                while True:
                    assert (await told(engine)).text == "fine."

            others = asyncio.create_task(good())
            with pytest.raises(UsageError, match=r"no endpoint has an answer to this request in 6 tries.*malformed"):
                await told(engine, text="bad")
            others.cancel()
            assert (await told(engine)).text == "fine."

    play(story())


def test_a_refused_request_is_not_repeated() -> None:
    """A prompt that is too long, or that is refused for what it says, is the request's own fault."""

    async def story() -> None:
        long = refusal(400, "This model's maximum context length is 4096 tokens, you asked for 5000")
        async with serving(long, GOOD) as server, Story(server) as engine:
            with pytest.raises(UsageError, match="prompt too long"):
                await told(engine)
            assert (await told(engine)).text == "fine."
        filtered = stream(said("x", None, "content_filter"), DONE)
        async with serving(GOOD, refusal(422, "not on a Sunday"), filtered) as server, Story(server) as engine:
            await told(engine)
            with pytest.raises(UsageError, match=r"not on a Sunday \(422\)"):
                await told(engine)
            with pytest.raises(UsageError, match="filter"):
                await told(engine)
            assert len(server.calls) == 3

    play(story())


@pytest.mark.parametrize("code", [401, 403, 404, 301])
def test_what_no_other_try_changes_is_said_at_once(code: int) -> None:
    """A wrong key, a wrong address: a `ModelError` after one request, with what to do."""

    async def story() -> None:
        async with serving(refusal(code, "no")) as server, Story(server) as engine:
            with pytest.raises(ModelError) as error:
                await told(engine)
            assert "SWARMCODE_API_KEY" in error.value.hint or "/v1" in error.value.hint
            assert len(server.calls) == 1

    play(story())


def test_fields_that_an_endpoint_does_not_know_are_left_out_from_then_on() -> None:
    """Each costs one refused request for the whole run, not one for each request."""

    async def narrow(call: Call) -> None:
        known = {"model", "messages", "stream", "temperature", "top_p", "seed", "max_completion_tokens"}
        for name in call.body.keys() - known:
            hint = ", use 'max_completion_tokens'" if name == "max_tokens" else ""
            await call.send(refusal(400, f"Unrecognized request argument supplied: {name}{hint}"))
            return
        await call.send(GOOD)

    async def story() -> None:
        async with serving(narrow) as server, Story(server) as engine:
            assert (await told(engine)).text == "fine."
            refused = len(server.calls) - 1
            assert (await told(engine)).text == "fine."
            assert len(server.calls) == refused + 2
            assert refused <= 5
            assert server.calls[-1].body["max_completion_tokens"] == 16

    play(story())


def test_a_schema_is_asked_for_in_the_form_that_the_endpoint_knows() -> None:
    """First as most know it; then as llama-cpp-python's server does, which calls the other form a fault of its own."""
    schema = {"type": "object"}

    async def story() -> None:
        answers = refusal(500, "('body', 'response_format', 'type'): literal_error"), GOOD
        async with serving(*answers) as server, Story(server) as engine:
            await told(engine, schema=json.dumps(schema))
        first, second = (call.body["response_format"] for call in server.calls)
        assert first["json_schema"]["schema"] == schema
        assert second == {"type": "json_object", "schema": schema}

    play(story())


def test_a_rate_limit_is_honoured() -> None:
    """A 429 with `Retry-After` pauses the endpoint for all requests, and no request is lost to it."""

    async def story() -> None:
        limited = refusal(429, "slow down", retry_after_ms="200")
        async with serving(limited, GOOD) as server, Story(server) as engine:
            began = time.monotonic()
            await told(engine)
            assert time.monotonic() - began >= 0.2
            assert len(server.calls) == 2
            await told(engine)

    play(story())


def test_an_endpoint_that_has_nothing_left_is_left_alone() -> None:
    """`x-ratelimit-remaining-*: 0` with an answer holds the next request back until the reset that it names."""

    async def story() -> None:
        headers = b"x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 200ms\r\n\r\n"
        last = GOOD.replace(b"\r\n\r\n", b"\r\n" + headers, 1)
        async with serving(last, GOOD) as server, Story(server) as engine:
            await told(engine)
            began = time.monotonic()
            await told(engine)
            assert time.monotonic() - began >= 0.19

    play(story())


def test_an_overloaded_endpoint_is_left_alone_for_as_long_as_it_asks() -> None:
    """`Retry-After` with a 503, as with a 429."""

    async def story() -> None:
        async with serving(refusal(503, "loading", retry_after_ms="200"), GOOD) as server, Story(server) as engine:
            began = time.monotonic()
            assert (await told(engine)).text == "fine."
            assert time.monotonic() - began >= 0.19

    play(story())


def test_a_limit_of_an_hour_ends_the_run() -> None:
    """Nobody waits that long without being told."""

    async def story() -> None:
        async with serving(refusal(429, "quota", retry_after="3600")) as server, Story(server) as engine:
            with pytest.raises(ModelError, match=r"quota \(429\), and asks for a pause of 3600 s"):
                await told(engine)
            assert len(server.calls) == 1

    play(story())


def test_no_more_requests_at_once_than_seats() -> None:
    """A hundred askers, three seats: three connections at a time, and everybody is answered."""

    async def story() -> None:
        async with serving(GOOD) as server, Story(server, options="seats=3") as engine:
            completions = await asyncio.gather(*(told(engine) for _ in range(100)))
            assert len(completions) == 100
            assert engine.load.usage.decoded == 200
        assert server.peak <= 3

    play(story())


def test_several_endpoints_share_the_work() -> None:
    """The least loaded gets the next request; one that fails is set aside while the other carries on."""

    async def story() -> None:
        async with serving(GOOD) as one, serving(GOOD) as two, Story(one, two) as engine:
            await asyncio.gather(*(told(engine) for _ in range(20)))
            assert len(one.calls) == len(two.calls) == 10
        async with serving(refusal(500, "broken")) as one, serving(GOOD) as two, Story(one, two) as engine:
            completions = await asyncio.gather(*(told(engine) for _ in range(20)))
            assert [each.text for each in completions] == ["fine."] * 20

    play(story())


def test_an_endpoint_without_the_right_key_does_not_stop_the_others() -> None:
    """It is left out from then on."""

    async def story() -> None:
        async with serving(refusal(401, "no")) as one, serving(GOOD) as two, Story(one, two) as engine:
            for _ in range(5):
                assert (await told(engine)).text == "fine."
            assert len(one.calls) == 1

    play(story())


def test_when_all_are_gone_the_run_ends_in_one_line() -> None:
    """Servers that go away under a run: every request that waits is told, and the line names them all."""

    async def story() -> list[BaseException | Completion]:
        async with serving(GOOD) as one, serving(GOOD) as two:
            engine = await open_remote(endpoints(f"{one.url}#tiny seats=2,{two.url}#tiny seats=2", {}), patience=CALM)
        try:
            return await asyncio.gather(*(told(engine) for _ in range(30)), return_exceptions=True)
        finally:
            await engine.close()

    outcomes = play(story())
    assert all(isinstance(outcome, EngineLost) for outcome in outcomes)
    assert all("no connection" in str(outcome) and "\n" not in str(outcome) for outcome in outcomes)


def test_cancelling_closes_the_connection() -> None:
    """The endpoint learns that nobody listens, and the seat is free again."""
    begun = asyncio.Event()

    async def slow(call: Call) -> None:
        await call.send(HEAD + said("wait"))
        begun.set()
        await hanging(call)

    async def story() -> None:
        async with serving(slow, GOOD) as server, Story(server, options="seats=1", patience=Patience()) as engine:
            task = asyncio.create_task(told(engine))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await told(engine)).text == "fine."
        assert server.hung_up == 1

    play(story())


def test_closing_ends_what_is_under_way() -> None:
    """Those who are being answered and those who wait get `EngineLost`; so does whoever comes later."""

    begun = asyncio.Event()

    async def slow(call: Call) -> None:
        begun.set()
        await hanging(call)

    async def story() -> None:
        async with serving(slow) as server, Story(server, options="seats=1", patience=Patience()) as engine:
            tasks = [asyncio.create_task(told(engine)) for _ in range(3)]
            await begun.wait()
            await engine.close()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, EngineLost)
            with pytest.raises(EngineLost, match="closed"):
                await told(engine)

    play(story())


def test_a_key_is_sent_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The endpoint gets it as a bearer token; neither reprs nor logs nor messages have it, even where the endpoint
    repeats it."""
    caplog.set_level(0)

    async def story() -> list[str]:
        environ = {"SWARMCODE_API_KEY": KEY + "\n"}
        answers = GOOD, refusal(400, f"bad key {KEY}"), refusal(500, KEY), refusal(401, f"wrong: {KEY}")
        async with serving(*answers) as server, Story(server, **environ) as engine:
            await told(engine)
            errors = []
            for _ in range(2):
                with pytest.raises(SwarmcodeError) as error:
                    await told(engine)
                errors.append(str(error.value) + repr(error.value))
            assert {call.headers["authorization"] for call in server.calls} == {f"Bearer {KEY}"}
            seats = engine._pool.seats
            return [*errors, repr(endpoints(f"{server.url}#tiny", environ)), repr(seats), repr(engine.profile)]

    shown = play(story())
    assert "bad key ***" in shown[0]
    assert "wrong: ***" in shown[1]
    assert KEY not in "".join(shown) + caplog.text


def test_an_endpoint_says_what_it_has() -> None:
    """Its only model need not be named; the context is the endpoint's own; a model that it lacks is refused before
    anything is sent."""

    async def story() -> None:
        async with serving(GOOD, models=listing("qwen3-coder", max_model_len=8192)) as server:
            engine = await open_remote(endpoints(server.url, {}))
            await engine.close()
            assert engine.profile.name.startswith("qwen3-coder at 127.0.0.1:")
            assert (engine.profile.context, engine.profile.sampling.top_k) == (8192, 20)
            assert engine.profile.protocols == ("tools", "blocks")
            engine = await open_remote(endpoints(f"{server.url} context=2000", {}), context=1000)
            await engine.close()
            assert engine.profile.context == 1000
            with pytest.raises(ModelError, match="has no model gpt; it has qwen3-coder"):
                await open_remote(endpoints(f"{server.url}#gpt", {}))
        async with serving(GOOD, models=listing("a", "b")) as server:
            with pytest.raises(ModelError, match="the model is not named; it has a, b") as error:
                await open_remote(endpoints(server.url, {}))
            assert "#model" in error.value.hint
        assert not server.calls

    play(story())


@pytest.mark.parametrize("models", [status(404), status(200, b"{}"), status(200, b"\xff"), listing("x" * 2000)])
def test_a_list_of_models_that_is_none_is_not_needed(models: bytes) -> None:
    """Where the model is named, an endpoint is believed to have it."""

    async def story() -> None:
        async with serving(GOOD, models=models) as server, Story(server) as engine:
            assert (await told(engine)).text == "fine."

    play(story())


def test_an_endpoint_that_is_not_there() -> None:
    """Alone it is an `EngineLost`; beside one that is, it is left out with a line."""

    async def story() -> None:
        async with serving(GOOD) as gone:
            pass
        with pytest.raises(EngineLost, match="no connection"):
            await open_remote(endpoints(f"{gone.url}#tiny", {}), patience=CALM)
        async with serving(GOOD) as server, Story(gone, server) as engine:
            assert len(engine.warnings) == 1
            assert "is left out: no connection" in engine.warnings[0]
            assert (await told(engine)).text == "fine."

    play(story())


def test_what_an_endpoint_cannot_do_is_refused() -> None:
    """Prompts of tokens, constraints on tokens, the vocabulary."""

    async def story() -> None:
        async with serving(GOOD) as server, Story(server) as engine:
            tokens = Request(prompt=(Segment(tokens=(1, 2)),), sampling=Sampling())
            for request in (tokens, chat(engine, stop_tokens=(1,)), Request(prompt=(), sampling=Sampling())):
                with pytest.raises(ModelError):
                    await engine.complete(request)
            with pytest.raises(UsageError):
                await told(engine, sampling=Sampling(max_tokens=0))
            with pytest.raises(ModelError):
                engine.tokenize("x")
            with pytest.raises(ModelError):
                engine.detokenize([1])
        assert not server.calls

    play(story())


def test_the_block_agent_works_with_an_endpoint(tmp_path: Path) -> None:
    """A malformed answer is answered with what was wrong, as a conversation; the next one is a diff, with its cost."""
    (tmp_path / "shop.py").write_text("total = 1 - 2\n")
    tree = Tree(root=tmp_path, files=frozenset({"shop.py"}))
    block = "shop.py\n<<<<<<< SEARCH\ntotal = 1 - 2\n=======\ntotal = 1 + 2\n>>>>>>> REPLACE\n"
    subtask = Subtask(id="1", goal="it adds", tests=(), suspects=(), writes=frozenset({"shop.py"}))
    assignment = Assignment(id="1.0", subtask=subtask, suspect=None, sample=0, seed=3)
    issue = Issue(title="sum", text="the sum is wrong", repo=tmp_path, base="", test=("pytest",))
    answers = [stream(said(text, -0.5, "stop"), counted(100, 1, 50), DONE) for text in ("no idea", block)]

    async def story() -> None:
        async with serving(*answers) as server, Story(server) as engine:
            briefing = Briefing(issue=issue, failures=())
            attempt = await WriterAgent(engine, tree, briefing, thinking=False, attempts=1).attempt(assignment)
            assert (attempt.ending, attempt.steps, attempt.score) == ("submitted", 2, -0.5)
            assert "+total = 1 + 2" in attempt.diff
            assert (attempt.usage.prefilled, attempt.usage.reused, attempt.usage.decoded) == (100, 100, 2)
        second = server.calls[1].body["messages"]
        assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
        assert second[2]["content"] == "no idea"

    play(story())
