"""Opens a model as an engine."""

import asyncio
import threading
from functools import partial

from swarmcode.engine import budget
from swarmcode.engine.batched import BatchedEngine
from swarmcode.engine.budget import Layout
from swarmcode.engine.llama.backend import LlamaBackend, Room
from swarmcode.engine.models import ModelFile
from swarmcode.engine.placement import Overrides
from swarmcode.errors import UsageError


async def open_engine(
    model: ModelFile,
    *,
    agents: int = 100,
    context: int = 0,
    cells: int = 0,
    layout: Layout | None = None,
    exact: bool = True,
    threads: int = 0,
    overrides: Overrides | None = None,
    drafting: bool = True,
) -> BatchedEngine:
    """Loads a model; the options are those of `Room` and of `BatchedEngine`. Cancelling stops the loading.

    Raises `UsageError` for more agents than llama.cpp can tell apart, `ModelError` where the model cannot be opened.
    """
    if not 0 < agents <= budget.MAX_SEATS:
        raise UsageError(f"{agents} agents cannot run at once", f"ask for 1 to {budget.MAX_SEATS}")
    room = Room(
        agents=agents,
        context=context,
        cells=cells,
        layout=layout,
        exact=exact,
        threads=threads,
        overrides=overrides or Overrides(),
    )
    abandoned = threading.Event()
    open_backend = partial(LlamaBackend, model, room, abandoned)
    loading = asyncio.get_running_loop().run_in_executor(None, open_backend)
    try:
        backend = await asyncio.shield(loading)
    except asyncio.CancelledError:
        abandoned.set()
        await asyncio.wait([loading])
        if not loading.exception():
            loading.result().close()
        raise
    return BatchedEngine(backend, model.profile, drafting=drafting)
