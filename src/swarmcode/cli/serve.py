"""`swarmcode serve`: a model behind an OpenAI-compatible HTTP interface."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarmcode.cli.boundary import INTERRUPTED, Interrupted, endings, interruptible, say, tell_fault
from swarmcode.cli.models import default_model
from swarmcode.cli.output import answer
from swarmcode.config import load, state_home
from swarmcode.errors import EngineLost, SurroundingsError, UsageError
from swarmcode.options import Settings
from swarmcode.report.terminal import counted

if TYPE_CHECKING:
    import socket

    from swarmcode.engine.protocol import StreamingEngine
    from swarmcode.serve.run import Listener

KEY = "SWARMCODE_SERVE_KEY"
SHORTEST_KEY = 16
"""Characters: a shorter one could be guessed."""
LARGEST_KEY_FILE = 4096
GRACE = 10.0
"""Seconds that requests may still take when the server is told to end."""
LAST = 3.0
"""Seconds for clients to take what was said last."""
EPILOG = (
    "Standard output has one line, the address. Other programs are given that address as their base URL, and any key. "
    "Exit codes: 0 ended by SIGTERM; 2 usage; 3 something is missing here (model, port, key); 75 the engine died; "
    "130 interrupted."
)


def serve(
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A GGUF model.  [default: that of `swarmcode models`, at first repair, which is built in]",
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65_535, help="Port to listen on; 0: any that is free.")
    ] = 8080,
    agents: Annotated[
        str | None, typer.Option(metavar="N", help="Answers that are made at once; more wait.  [default: 100]")
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Tokens of prompt and answer together.  [default: what the model can and memory allows]"
        ),
    ] = None,
    threads: Annotated[
        str | None, typer.Option(metavar="N", help="Threads that compute.  [default: all processors]")
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Has the key that clients must give.  [default: the variable {KEY}; none on loopback]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serves a model to other programs.

    They speak to it as to OpenAI's interface: /v1/completions, /v1/chat/completions, /v1/models. All requests are
    computed as one batch, and what their prompts have in common is computed once. /metrics is for Prometheus, /health
    for whoever watches over the server. Only programs on this machine are answered, unless you name another --host and
    a key.
    """
    home = state_home(os.environ)
    flags = {"model": model, "agents": agents, "context": context, "threads": threads}
    given = {key: value for key, value in flags.items() if value is not None}
    config = load(given, environ=os.environ, repo=None, kept={} if model else default_model(home))
    for warning in config.warnings:
        say(f"warning: {warning}")
    key = _key(api_key_file)
    bound = _bound(host, port, key)
    try:
        ended = asyncio.run(_served(config.settings, bound, key))
    except Interrupted:
        ended = signal.SIGINT
    finally:
        bound.close()
    if ended == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


def _key(file: Path | None) -> str:
    """The key; empty: none. Raises `UsageError`, never with a piece of it."""
    place = str(file) if file else KEY
    if file is None:
        key = os.environ.get(KEY, "").strip()
        if not key:
            return ""
    else:
        try:
            with file.expanduser().open("rb") as stream:
                key = stream.read(LARGEST_KEY_FILE).decode("ascii", errors="replace").strip()
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}", "name a file that has the key") from error
    if len(key) < SHORTEST_KEY or not all(33 <= ord(character) < 127 for character in key):
        raise UsageError(
            f"what is in {place} is no key: it has {SHORTEST_KEY} or more letters, digits and signs, and no space",
            f"make one: {_MAKE_KEY}",
        )
    return key


_MAKE_KEY = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


def _bound(host: str, port: int, key: str) -> "socket.socket":
    """Raises `SurroundingsError` where others could reach it and no key is asked for."""
    from swarmcode.serve.run import is_public, listen

    bound = listen(host, port)
    if is_public(bound) and not key:
        bound.close()
        raise SurroundingsError(
            f"others can reach {host}, and there is no key that keeps them out",
            f"put a key into {KEY}, or into a file that --api-key-file names: {_MAKE_KEY}",
        )
    return bound


async def _served(settings: Settings, bound: "socket.socket", key: str) -> int:
    """Loads the model and serves it until a signal comes; which one."""
    from swarmcode.cli.engines import choose_model, overrides
    from swarmcode.engine.llama.engine import open_engine
    from swarmcode.serve.app import Application
    from swarmcode.serve.guard import Guard
    from swarmcode.serve.run import Listener, url

    file = choose_model(settings.model.name, settings.model.adapter).file
    if file is None:
        raise UsageError(f"{settings.model.name} is served already", "name a GGUF model with --model")
    agents = settings.swarm.agents
    given = settings.model
    decided = overrides(given)
    opening = open_engine(
        file, agents=agents, context=given.context, threads=given.threads, exact=False, overrides=decided
    )
    engine = await interruptible(opening)
    try:
        place = url(bound)
        listener = Listener(Application(engine, Guard.of(key), agents=agents), bound, tell_fault)
        with _signals() as caught:
            return await run_until_told(listener, engine, place, caught)
    finally:
        await engine.close()


async def run_until_told(
    listener: "Listener", engine: "StreamingEngine", place: str, caught: "asyncio.Queue[int]"
) -> int:
    """Serves until a signal is caught; which one. Requests that are under way by then may finish, within limits; a
    second signal ends them. Raises `EngineLost` where the engine dies."""
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(listener.run())
            say(f"swarmcode: serving {engine.profile.name}, {engine.profile.context:,} tokens of context, at {place}")
            answer(place)
            number = await _first(engine, caught)
            say(f"swarmcode: ending{_left(engine)}")
            listener.end()
            hurry = group.create_task(caught.get())
            await asyncio.wait({running, hurry}, timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            await engine.close()  # whoever still waits is told so
            await asyncio.wait({running}, timeout=LAST)
            running.cancel()
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return number


def _left(engine: "StreamingEngine") -> str:
    under_way = engine.load.running + engine.load.waiting
    if not under_way:
        return ""
    return f": {counted(under_way, 'answer')} may take {GRACE:g} s more; once again to end at once"


async def _first(engine: "StreamingEngine", caught: "asyncio.Queue[int]") -> int:
    """The first signal. Raises `EngineLost` where the engine dies before one comes."""
    while engine.alive:
        try:
            async with asyncio.timeout(1.0):
                return await caught.get()
        except TimeoutError:
            continue
    raise EngineLost("the engine died", "start the server again")


@contextmanager
def _signals() -> Iterator["asyncio.Queue[int]"]:
    """The signals that ask a program to end, as they come."""
    loop = asyncio.get_running_loop()
    caught: asyncio.Queue[int] = asyncio.Queue()
    numbers = [number for number in endings() if signal.getsignal(number) is not signal.SIG_IGN]
    for number in numbers:
        loop.add_signal_handler(number, caught.put_nowait, int(number))
    try:
        yield caught
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
