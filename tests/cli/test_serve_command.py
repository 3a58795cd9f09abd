"""`swarmcode serve` as a person starts and ends it."""

import asyncio
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from swarmcode.cli.serve import run_until_told
from swarmcode.engine.scripted import ScriptedEngine
from swarmcode.errors import EngineLost
from swarmcode.serve.app import Application
from swarmcode.serve.guard import Guard
from swarmcode.serve.run import Listener, listen, url

KEY = "correct-horse-battery-staple"
ENDLESS = {"prompt": "x = 1\n", "max_tokens": 500, "stream": True}


@contextmanager
def started(shell: Any, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A server on a free port, and its address, which is the only line on its standard output."""
    server = shell.start("serve", "--port", "0", *arguments)
    try:
        with server:
            yield server, server.stdout.readline().strip()
            if server.poll() is None:
                server.terminate()
    finally:
        server.kill()


def test_help_is_there_at_once(shell: Any) -> None:
    """It says what is served, how one ends it, and how it is protected."""
    told = shell("serve", "--help")
    assert told.code == 0
    for word in ("/v1/chat/completions", "--api-key-file", "SWARMCODE_SERVE_KEY", "SIGTERM", "127.0.0.1"):
        assert word in told.out, word


@pytest.mark.model
def test_it_serves_until_it_is_told_to_end(shell: Any) -> None:
    """SIGTERM: no more requests are taken, those under way are answered to their end, and the exit code is 0."""
    with started(shell, "--threads", "1") as (server, address):
        assert address.startswith("http://127.0.0.1:")
        assert httpx.get(f"{address}/models").json()["data"][0]["id"] == "repair"
        with httpx.stream("POST", f"{address}/completions", json=ENDLESS, timeout=60) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: ")
            server.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        _, errors = server.communicate(timeout=30)
        assert server.returncode == 0
        assert "serving repair" in errors
        assert "ending" in errors
        assert "Traceback" not in errors


@pytest.mark.model
def test_asked_twice_it_ends_at_once(shell: Any) -> None:
    """Ctrl-C, and again: who still waits is told so, and the exit code is that of an interruption."""
    with started(shell, "--threads", "1") as (server, address):
        long = {"type": "json_object", "schema": {"type": "string", "minLength": 1000}}
        body = ENDLESS | {"n": 8, "response_format": long}
        with httpx.stream("POST", f"{address}/completions", json=body, timeout=60) as answer:
            lines = filter(None, answer.iter_lines())
            assert next(lines).startswith("data: ")
            server.send_signal(signal.SIGINT)
            assert any("ending" in line for line in server.stderr)
            server.send_signal(signal.SIGINT)
            *_, last, done = lines
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_lost"
        assert done == "data: [DONE]"
        _, errors = server.communicate(timeout=60)
        assert server.returncode == 130
        assert "Traceback" not in errors


def test_a_server_whose_engine_dies_ends_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, so that whoever watches over it starts it again."""
    engine = ScriptedEngine([])
    bound = listen("127.0.0.1", 0)
    address = url(bound)
    listener = Listener(Application(engine, Guard.of(""), agents=1), bound, lambda fault: None)

    async def story() -> None:
        async with httpx.AsyncClient() as browser, asyncio.timeout(30):
            running = asyncio.create_task(run_until_told(listener, engine, address, asyncio.Queue()))
            assert (await browser.get(f"{address}/models")).status_code == 200
            await engine.close()
            with pytest.raises(EngineLost) as caught:
                await running
            assert caught.value.exit_code == 75

    asyncio.run(story())
    assert capsys.readouterr().out == f"{address}\n"


@pytest.mark.model
def test_others_are_served_who_have_the_key(shell: Any, tmp_path: Path) -> None:
    """It is read from a file, and never said."""
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    with started(shell, "--host", "0.0.0.0", "--api-key-file", str(file), "--agents", "2") as (server, address):
        assert httpx.get(f"{address}/models").status_code == 401
        assert httpx.get(f"{address}/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
        assert httpx.get(f"{address.removesuffix('/v1')}/health").status_code == 200
        server.terminate()
        out, errors = server.communicate(timeout=30)
        assert KEY not in out + errors


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "told"),
    [
        (("--host", "0.0.0.0"), {}, 3, "others can reach 0.0.0.0, and there is no key"),
        (("--host", "0.0.0.0"), {"SWARMCODE_SERVE_KEY": "short"}, 2, "SWARMCODE_SERVE_KEY is no key"),
        ((), {"SWARMCODE_SERVE_KEY": "with a space in it, so none"}, 2, "is no key"),
        (("--api-key-file", "nowhere"), {}, 2, "nowhere cannot be read"),
        (("--host", "no such host"), {}, 2, "is no address of this machine"),
        (("--port", "70000"), {}, 2, "--port"),
        (("--agents", "none"), {}, 2, "agents"),
        (("--model", "nothing-of-this-name"), {}, 2, "nothing-of-this-name"),
        (("--model", "http://localhost:1/v1#name"), {}, 2, "is served already"),
    ],
)
def test_what_cannot_be_served_is_refused(
    shell: Any, arguments: tuple[str, ...], variables: dict[str, str], code: int, told: str
) -> None:
    """Before a model is loaded, in one line with what to do about it; never with a key."""
    shown = shell("serve", "--port", "0", *arguments, **variables)
    assert (shown.code, shown.out) == (code, "")
    assert told in shown.err
    assert "Traceback" not in shown.err
    for value in variables.values():
        assert value not in shown.err


def test_a_port_that_is_taken_is_refused(shell: Any) -> None:
    """With what to do about it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        shown = shell("serve", "--port", str(taken.getsockname()[1]))
    assert shown.code == 3
    assert "choose another with --port" in shown.err
