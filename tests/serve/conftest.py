"""A server on a free port of this machine, with whatever engine a test gives it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import ModelFile
from swarmcode.engine.protocol import StreamingEngine
from swarmcode.serve.app import Application
from swarmcode.serve.guard import Guard
from swarmcode.serve.run import Listener, listen, url

T = TypeVar("T")
Story = Callable[[str], Awaitable[T]]


async def served(engine: StreamingEngine, story: Story[T], *, key: str = "", agents: int = 100) -> T:
    """What `story` gives, which is told the address of a server of `engine`. Faults of the server are raised."""
    faults: list[BaseException] = []
    bound = listen("127.0.0.1", 0)
    address = url(bound)
    listener = Listener(Application(engine, Guard.of(key), agents=agents), bound, faults.append)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(listener.run())
        try:
            result = await story(address)
        finally:
            listener.end()
            await asyncio.wait({running}, timeout=30)
            assert running.done(), "the server does not end"
    for fault in faults:
        raise fault
    return result


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Runs a story with a server of an engine: `serve(engine, story, key="", agents=100)`."""

    def run(engine: StreamingEngine, story: Story[T], **options: Any) -> T:
        return asyncio.run(served(engine, story, **options))

    return run


@pytest.fixture
def serve_model() -> Callable[..., Any]:
    """The same for a model file, opened for the story, which also gets the engine."""

    def run(model: ModelFile, story: Callable[[str, Any], Awaitable[T]], *, agents: int = 100, **options: Any) -> T:
        async def main() -> T:
            engine = await open_engine(model, agents=agents, **options)
            try:
                return await served(engine, lambda address: story(address, engine), agents=agents)
            finally:
                await engine.close()

        return asyncio.run(main())

    return run


@pytest.fixture(autouse=True)
def straight_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between the tests and their server, and no settings of whoever runs them."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
