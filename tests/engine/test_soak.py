"""The engine after thousands of requests on a real context: nothing is left of them, whatever became of them.

`bench/soak.py` does the same with the embedded model and as many requests as one has time for.
"""

import asyncio
import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmcode.engine import budget
from swarmcode.engine.budget import Layout
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import describe

REQUESTS = 1000


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
    return importlib.import_module("soak")


@pytest.mark.model
@pytest.mark.parametrize("layout", ["streams", "unified"])
def test_thousands_of_requests_leave_nothing_behind(
    bench: Any, chat_gguf: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answered, cancelled before or while they are computed, left in the middle, or held to a schema: they leave no
    cell, no task, and no memory of llama.cpp's or Python's own."""
    monkeypatch.setattr(budget, "MAX_SEATS", 36)  # soon full of prefixes
    context, cells, agents = 48, 8 * 48, 8
    model = describe(chat_gguf)
    model = replace(model, profile=replace(model.profile, context=context))

    async def main() -> Any:
        engine = await open_engine(model, agents=agents, cells=cells, layout=layout)
        try:
            return await bench.soak(engine, REQUESTS, cells)
        finally:
            await engine.close()

    found = asyncio.run(main())
    assert sum(found.ended.values()) == REQUESTS
    assert min(found.ended[how] for how in ("answered", "cancelled", "left", "held")) > REQUESTS / 20
    assert found.filled == found.cells
    assert found.last.tasks == 1
    assert found.leaked("python") < 1, "blocks a request: an object that every request leaves"
    assert found.leaked("native") < 64, "bytes a request: a grammar that every tenth leaves has thousands"
    assert found.leaked("resident") < 4096
