"""Who is let in, what is turned away, and what is told when something goes wrong: as any client sees it."""

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI
from prometheus_client.parser import text_string_to_metric_families

from swarmcode.engine.protocol import News, Profile, Request
from swarmcode.engine.scripted import CHAT, ScriptedEngine
from swarmcode.errors import EngineLost, ModelError
from swarmcode.serve import asgi, run
from swarmcode.serve.faults import ClientGone

KEY = "correct-horse-battery-staple"
BODY = {"prompt": "a", "max_tokens": 4}


def root(address: str) -> str:
    return address.removesuffix("/v1")


def client(address: str, key: str = "any") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=address, api_key=key, max_retries=0)


class Held(ScriptedEngine):
    """Answers once it is let go; `broken` is raised after the first token."""

    def __init__(self, *lines: str, broken: Exception | None = None) -> None:
        super().__init__(lines or (lambda request, seed: "abc"), profile=CHAT)
        self.go = asyncio.Event()
        self.broken = broken
        self.streams: list[Any] = []

    def stream(self, request: Request) -> Any:
        self.streams.append(_HeldStream(self, super().stream(request)))
        return self.streams[-1]


class _HeldStream:
    def __init__(self, engine: Held, inner: Any) -> None:
        self._engine, self._inner, self._told = engine, inner, False
        self.closed = False

    def __aiter__(self) -> "_HeldStream":
        return self

    async def __anext__(self) -> tuple[News, ...]:
        if self._told and self._engine.broken:
            raise self._engine.broken
        if not self._engine.broken:
            await self._engine.go.wait()
        self._told = True
        news: tuple[News, ...] = await anext(self._inner)
        return news

    def close(self) -> None:
        self.closed = True


def test_only_who_has_the_key_is_answered(serve: Any) -> None:
    """Everywhere but at /health; a wrong key is told nothing but how to give one."""

    async def story(address: str) -> None:
        async with httpx.AsyncClient() as browser:
            for path in ("/v1/models", "/metrics", "/nowhere"):
                for given_key in ({}, {"authorization": f"Bearer {KEY}x"}, {"authorization": KEY}):
                    told = await browser.get(root(address) + path, headers=given_key)
                    assert (told.status_code, told.headers["www-authenticate"]) == (401, "Bearer")
                    assert KEY not in told.text
            assert (await browser.get(f"{root(address)}/health")).json() == {"status": "ok"}
        async with client(address, KEY) as openai_client:
            assert [model.id async for model in openai_client.models.list()] == ["scripted"]
        async with client(address, "wrong") as openai_client:
            with pytest.raises(openai.AuthenticationError):
                await openai_client.completions.create(model="scripted", prompt="a")

    serve(ScriptedEngine([]), story, key=KEY)


def test_web_pages_of_other_places_are_not_answered(serve: Any) -> None:
    """Neither under a name that was made to mean this machine, nor across origins, nor by forms; programs are."""
    engine = ScriptedEngine(lambda request, seed: "yes")

    async def story(address: str) -> None:
        async with httpx.AsyncClient() as browser:

            async def status(**headers: str) -> int:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                return (await browser.post(f"{address}/completions", json=BODY, headers=named)).status_code

            assert await status() == 200
            assert await status(host="localhost:1") == await status(host="[::1]") == 200
            assert await status(origin="http://localhost:3000") == 200
            for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[::1", ""):
                assert await status(host=host) == 403, host
            for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
                assert await status(origin=origin) == 403, origin
            assert await status(content_type="text/plain") == 415
            asked = await browser.options(f"{address}/completions", headers={"origin": "http://localhost:3000"})
            assert asked.status_code == 405
            assert not [name for name in asked.headers if name.startswith("access-control")]

    serve(engine, story)


def test_paths_and_methods(serve: Any) -> None:
    """What is there answers, what is not says so, in OpenAI's form."""

    async def story(address: str) -> None:
        async with client(address) as openai_client, httpx.AsyncClient() as browser:
            model = await openai_client.models.retrieve("scripted")
            assert (model.id, model.object) == ("scripted", "model")
            with pytest.raises(openai.NotFoundError):
                await openai_client.models.retrieve("gpt/4 o")
            assert (await browser.head(f"{root(address)}/health")).content == b""
            for method, path, status in (
                ("GET", "/v1/completions", 405),
                ("POST", "/v1/models", 405),
                ("GET", "/", 404),
                ("GET", "/v1/../etc/passwd", 404),
            ):
                told = await browser.request(method, root(address) + path)
                assert told.status_code == status
                assert set(told.json()["error"]) == {"message", "type", "param", "code"}

    serve(ScriptedEngine([]), story)


def test_health_is_that_of_the_engine(serve: Any) -> None:
    """Whoever watches over the server learns that it can answer nobody."""
    engine = ScriptedEngine([])

    async def story(address: str) -> None:
        async with httpx.AsyncClient() as browser:
            assert (await browser.get(f"{root(address)}/health")).status_code == 200
            await engine.close()
            assert (await browser.get(f"{root(address)}/health")).status_code == 503

    serve(engine, story)


def test_a_body_that_is_too_large_is_refused(serve: Any) -> None:
    """Whether it says so beforehand or not."""

    async def chunks(count: int) -> Any:
        for _ in range(count):
            yield b"a" * (1 << 20)

    async def story(address: str) -> None:
        async with httpx.AsyncClient(timeout=60) as browser:
            for content in (b"a" * (asgi.LARGEST_BODY + 1), chunks((asgi.LARGEST_BODY >> 20) + 1)):
                headers = {"content-type": "application/json"}
                told = await browser.post(f"{address}/completions", content=content, headers=headers)
                assert told.status_code == 413
                assert "16 MiB" in told.json()["error"]["message"]

    serve(ScriptedEngine([]), story)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = (
    *("prompt", "messages", "model", "n", "stream", "stream_options", "max_tokens", "temperature", "top_p", "stop"),
    *("seed", "response_format", "logprobs", "tools", "tool_choice", "chat_template_kwargs", "logit_bias"),
)
BODIES = st.binary(max_size=64) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), JSON, max_size=6).map(
    lambda value: json.dumps(value).encode()
)


def test_malformed_bodies_are_refused(serve: Any) -> None:
    """Any bytes and any JSON: an answer or an error object, never a fault."""
    engine = ScriptedEngine(lambda request, seed: "yes")
    bodies: list[bytes] = []

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(BODIES)
    def collect(body: bytes) -> None:
        bodies.append(body)

    collect()

    async def story(address: str) -> None:
        async with httpx.AsyncClient() as browser:
            for place, body in enumerate(bodies):
                path = ("completions", "chat/completions")[place % 2]
                headers = {"content-type": "application/json"}
                told = await browser.post(f"{address}/{path}", content=body, headers=headers)
                assert told.status_code in (200, 400, 404), (body, told.text)
                if told.status_code != 200:
                    assert told.json()["error"]["message"]

    serve(engine, story)


def test_when_there_is_no_room_clients_are_told_to_come_again(serve: Any) -> None:
    """Beyond four answers for each that is made at once; then there is room again."""

    async def main(address: str, engine: Held) -> None:
        async with httpx.AsyncClient() as browser:

            async def ask(answers: int) -> httpx.Response:
                return await browser.post(f"{address}/completions", json=BODY | {"n": answers})

            async with asyncio.timeout(30):
                waiting = [asyncio.create_task(ask(3)), asyncio.create_task(ask(5))]
                while len(engine.streams) < 2:
                    await browser.get(f"{root(address)}/health")
                refused = await ask(1)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.json()["error"]["code"] == "overloaded"
                assert (await ask(9)).status_code == 400, "never possible"
                engine.go.set()
                assert [len((await each).json()["choices"]) for each in waiting] == [3, 5]
                assert (await ask(8)).status_code == 200

    async def story(address: str) -> None:
        await main(address, engine)

    engine = Held()
    serve(engine, story, agents=2)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_request(serve: Any, stream: bool) -> None:
    """Its stream from the engine is closed, and its place is free."""
    engine = Held()

    async def story(address: str) -> None:
        async with httpx.AsyncClient() as browser, asyncio.timeout(30):
            asking = asyncio.create_task(browser.post(f"{address}/completions", json=BODY | {"stream": stream}))
            while not engine.streams:
                await browser.get(f"{root(address)}/health")
            asking.cancel()
            await asyncio.wait([asking])
            while not engine.streams[0].closed:
                await browser.get(f"{root(address)}/health")

    serve(engine, story, agents=1)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EngineLost("the engine died: ValueError('/secret/path')"), 503, "engine_lost"),
        (ModelError("the model's logits are not numbers", "its file may be damaged"), 500, None),
    ],
)
def test_what_goes_wrong_in_the_engine_is_told(serve: Any, error: Exception, status: int, code: str | None) -> None:
    """With a status that says whether another try makes sense; in a stream that has begun, as its last event."""

    async def story(address: str) -> None:
        async with client(address) as openai_client:
            with pytest.raises(openai.APIStatusError) as caught:
                await openai_client.completions.create(model="scripted", prompt="a")
            assert caught.value.status_code == status
            assert isinstance(caught.value.body, dict)
            assert caught.value.body["code"] == code
            assert "secret" not in caught.value.response.text
            assert "Traceback" not in caught.value.response.text

    serve(ScriptedEngine([error]), story)

    async def breaking(address: str) -> None:
        async with client(address) as openai_client:
            texts: list[str] = []

            async def listen() -> None:
                async for event in await openai_client.completions.create(model="scripted", prompt="a", stream=True):
                    texts.extend(choice.text for choice in event.choices)

            with pytest.raises(openai.APIError):
                await listen()
            assert texts == ["x"]

    serve(Held("xyz", broken=error), breaking)


def test_a_fault_of_ours_is_told_without_its_inside(serve: Any) -> None:
    """The client gets a line; the traceback goes to whoever runs the server."""

    async def story(address: str) -> None:
        async with httpx.AsyncClient() as browser:
            told = await browser.post(f"{address}/completions", json=BODY)
            assert (told.status_code, told.json()["error"]["type"]) == (500, "server_error")
            assert "secret" not in told.text
            assert "Traceback" not in told.text
            assert (await browser.get(f"{root(address)}/health")).status_code == 200

    with pytest.raises(ZeroDivisionError, match="secret"):
        serve(ScriptedEngine([ZeroDivisionError("secret")]), story)


def test_who_does_not_say_what_it_wants_is_left(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which no whole request arrives is closed; a body that does not arrive is answered with 408."""
    monkeypatch.setattr(run, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.1)

    async def story(address: str) -> None:
        port = int(root(address).rpartition(":")[2])
        half = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        async with asyncio.timeout(30):
            for first, second in ((b"", b""), (b"", half), (health, half)):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(first)
                if first:
                    await reader.readuntil(b'{"status":"ok"}')
                writer.write(second)
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(half + b"Content-Length: 9\r\n\r\n{")
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
            writer.close()
            await writer.wait_closed()

    serve(ScriptedEngine([]), story)


def test_who_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose buffers are full does not hold its place for ever."""
    monkeypatch.setattr(asgi, "WRITE_SECONDS", 0.01)

    async def stuck(message: Any) -> None:
        await asyncio.Event().wait()

    async def story() -> None:
        with pytest.raises(ClientGone):
            await asgi.send_events(stuck, b"{}")

    asyncio.run(story())


def test_metrics_are_as_prometheus_reads_them(serve: Any) -> None:
    """Requests by outcome, tokens and sequences of the engine, waiting times."""
    engine = ScriptedEngine(lambda request, seed: "yes")

    async def story(address: str) -> Any:
        async with httpx.AsyncClient() as browser:
            for body in (BODY, BODY, BODY | {"n": 0}):
                await browser.post(f"{address}/completions", json=body)
            told = await browser.get(f"{root(address)}/metrics")
            assert told.headers["content-type"].startswith("text/plain")
            return told.text

    samples = [sample for family in text_string_to_metric_families(serve(engine, story)) for sample in family.samples]

    def value(name: str, **labels: str) -> float:
        (found,) = (each.value for each in samples if each.name == name and each.labels == labels)
        return found

    assert value("swarmcode_requests_total", endpoint="completions", outcome="answered") == 2
    assert value("swarmcode_requests_total", endpoint="completions", outcome="refused") == 1
    assert value("swarmcode_tokens_total", kind="decoded") == 8
    assert value("swarmcode_tokens_total", kind="prefilled") == 2
    assert value("swarmcode_sequences", state="running") == 0
    assert value("swarmcode_time_to_first_token_seconds_count") == 2
    assert value("swarmcode_request_seconds_count") == 2


def test_large_bodies_are_read_aside(serve: Any) -> None:
    """Answered like all others."""
    profile = Profile(name="long", protocols=("blocks",), context=1 << 20, vocabulary=CHAT.vocabulary)
    engine = ScriptedEngine(["yes"], profile=profile)

    async def story(address: str) -> None:
        async with client(address) as openai_client:
            told = await openai_client.completions.create(model="long", prompt="a" * 300_000)
            assert told.usage
            assert (told.choices[0].text, told.usage.prompt_tokens) == ("yes", 300_000)

    serve(engine, story)


def test_an_address_that_is_none_or_taken_is_refused() -> None:
    """In one line, with what to do."""
    taken = run.listen("127.0.0.1", 0)
    try:
        taken.listen()
        with pytest.raises(run.SurroundingsError, match="cannot be listened on"):
            run.listen("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(run.UsageError, match="is no address of this machine"):
            run.listen("no such host", 0)
    finally:
        taken.close()


@pytest.mark.parametrize(("host", "public"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_who_can_reach_an_address_is_known(host: str, public: bool) -> None:
    """Only loopback is for this machine alone."""
    bound = run.listen(host, 0)
    try:
        assert run.is_public(bound) is public
        assert run.url(bound).startswith("http://")
    finally:
        bound.close()
