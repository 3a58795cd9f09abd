"""Remote engines against real servers: that of llama-cpp-python, and llama.cpp's own where there is one, on the PATH or
built by `bench/engine.py`.

Not covered here: cancelling (the former stops answering anybody once a client has left a stream), and prompts that are
too long (it accepts them, and then breaks off).
"""

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from swarmcode.dialect.messages import Message
from swarmcode.dialect.template import segments
from swarmcode.engine.protocol import Request, Sampling
from swarmcode.engine.remote.address import endpoints
from swarmcode.engine.remote.ask import Patience
from swarmcode.engine.remote.engine import open_remote

EXTRAS = ("uvicorn", "fastapi", "sse_starlette", "starlette_context", "pydantic_settings")
START = 60.0
"""Seconds that the server may take until it listens."""


def _python(model: Path, port: int) -> list[str]:
    """llama-cpp-python's server."""
    for extra in EXTRAS:
        pytest.importorskip(extra, reason="llama-cpp-python[server] is not installed")
    options = ["--model", str(model), "--interrupt_requests", "False", "--model_alias", "tiny"]
    return [
        sys.executable,
        "-m",
        "llama_cpp.server",
        *options,
        "--port",
        str(port),
        "--n_ctx",
        "512",
        "--n_threads",
        "1",
    ]


def _native(model: Path, port: int) -> list[str]:
    """llama.cpp's server, of which four slots have 512 tokens each."""
    built = platformdirs.user_cache_path("swarmcode").glob("bench/*/bin/llama-server")
    program = shutil.which("llama-server") or next(map(str, built), None)
    if not program:
        pytest.skip("there is no llama-server: bench/engine.py builds one")
    options = ["--alias", "tiny", "--host", "127.0.0.1", "--parallel", "4", "--no-webui"]
    return [program, "--model", str(model), *options, "--port", str(port), "--ctx-size", "2048", "--threads", "1"]


@pytest.fixture(scope="module", params=[_python, _native])
def url(request: pytest.FixtureRequest, chat_gguf: Path) -> Iterator[str]:
    """Of a server with a model of random weights."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = request.param(chat_gguf, port)
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the server did not start")


@pytest.mark.model
def test_a_real_server(url: str) -> None:
    """It is found with its only model; answers are as long as was asked, equal for equal seeds and at temperature 0,
    many at once; a schema is obeyed in the form that it knows."""

    async def story() -> None:
        engine = await open_remote(endpoints(f"{url} seats=4", {}), patience=Patience(total=60.0))
        assert engine.profile.name.startswith("tiny at ")

        def asking(text: str, sampling: Sampling, *seeds: int, schema: str = "") -> Request:
            prompt = segments(engine.profile.chat_template, [Message(role="user", content=text)], thinking=False)
            return Request(prompt=prompt, sampling=sampling, seeds=seeds, schema=schema)

        try:
            first, other, again = await engine.complete(asking("hello", Sampling(max_tokens=24), 1, 2, 1))
            assert {first.finish, other.finish, again.finish} <= {"length", "stop"}
            assert first.text == again.text != other.text
            greedy = await engine.complete(asking("hello", Sampling(max_tokens=9, temperature=0), *range(8)))
            assert len({each.text for each in greedy}) == 1
            schema = '{"type": "object", "properties": {"a": {"enum": [81]}}, "required": ["a"]}'
            (told,) = await engine.complete(asking("hello", Sampling(max_tokens=200), 1, schema=schema))
            assert "81" in told.text
        finally:
            await engine.close()

    asyncio.run(story())
