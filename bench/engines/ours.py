"""Our engine at work, as a swarm uses it: in the process of the callers, opened with the choices that it makes itself.

Two things are not as in a run. The model's end tokens do not end an answer, and a context longer than the model was
trained for is allowed: how fast it goes depends on neither.
"""

import asyncio
import resource
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engines import processes
from engines.dictation import Dictation
from engines.drive import Said, play
from engines.outcome import Outcome
from engines.shapes import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """`swarmcode`'s engine."""

    model: Path
    threads: int
    agents: int = 0
    """For how many it is opened; 0: as many as the work has."""
    layout: str = ""
    """Of the KV cache; empty: its own choice."""
    drafting: bool = True
    name: str = "swarmcode"

    def run(self, work: Work, limit: float | None = None) -> Outcome | None:
        """One run in a fresh process."""
        return processes.aside(measure, self, work)


class Clock:
    """Counts the seconds that are spent inside llama.cpp, and in `timed` functions: computing, and waiting for what is
    computed."""

    CALLS = (
        "llama_decode",
        "llama_get_logits",
        "llama_synchronize",
        "llama_memory_seq_cp",
        "llama_memory_seq_rm",
    )

    def __init__(self, lib: Any) -> None:
        self.seconds = 0.0
        for name in self.CALLS:
            setattr(lib, name, self.timed(getattr(lib, name)))

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            found = function(*arguments)
            self.seconds += time.perf_counter() - began
            return found

        return call

    def untimed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """For what is called within those: its seconds are not counted."""

        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            found = function(*arguments)
            self.seconds -= time.perf_counter() - began
            return found

        return call


def measure(ours: Ours, work: Work) -> Outcome:
    """The run itself, in a process of its own."""
    return asyncio.run(_measure(ours, work))


async def _measure(ours: Ours, work: Work) -> Outcome:
    from swarmcode.engine import models
    from swarmcode.engine.batched import BatchedEngine
    from swarmcode.engine.garbage import collect_seldom
    from swarmcode.engine.llama.attention import kernel
    from swarmcode.engine.llama.backend import LlamaBackend, Room
    from swarmcode.engine.llama.drawing import Drawer
    from swarmcode.engine.llama.library import lib
    from swarmcode.engine.protocol import Request, Sampling, Segment

    collect_seldom()
    shape = work.shape
    model = models.describe(ours.model)
    profile = replace(model.profile, context=shape.context + 1)
    room = Room(agents=ours.agents or shape.agents, layout=ours.layout or None, exact=False, threads=ours.threads)
    backend = LlamaBackend(replace(model, profile=profile), room, threading.Event())
    backend.ends = frozenset()
    clock, drawer = Clock(lib), Drawer(kernel().draw, ours.threads)
    if drawer.native:
        drawer.native = clock.timed(drawer.native)
    if backend.strider:
        backend.strider.native = clock.timed(backend.strider.native)
    backend.drawer = drawer
    dictated = {agent: each.answer for agent, each in enumerate(work.conversations) if each.answer}
    if dictated:
        dictation = Dictation(dictated)
        backend.drawer = dictation.drawer(drawer)
        if backend.strider:
            dictation.lead(backend.strider, clock.untimed)
    engine = BatchedEngine(backend, profile, drafting=ours.drafting)
    # Keys tell whose token is drawn, where tokens are drawn by keys.
    sampling = Sampling(temperature=shape.temperature or float(bool(dictated)), max_tokens=shape.generated)

    prefilled = 0

    async def ask(agent: int, prompt: Sequence[int]) -> Said:
        nonlocal prefilled
        first, completion = None, None
        request = Request(
            prompt=(Segment(tokens=tuple(prompt)),),
            sampling=sampling,
            seeds=(agent,),
        )
        with closing(engine.stream(request)) as stream:
            async for news in stream:
                first = first or time.perf_counter()
                completion = news[-1].completion
        assert completion
        assert agent not in dictated or completion.tokens == dictated[agent], "it was not said as dictated"
        prefilled += completion.usage.prefilled
        return Said(tokens=completion.tokens, count=len(completion.tokens), first=first)

    await engine.complete(Request(prompt=(Segment(tokens=(0,)),), sampling=replace(sampling, max_tokens=1)))
    native, cpu = clock.seconds, time.process_time()
    played = await play(work, ask)
    cpu, native = time.process_time() - cpu, clock.seconds - native
    outcome = Outcome(
        seconds=played.seconds,
        cpu=cpu,
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        generated=played.generated,
        prefilled=prefilled,
        waits=played.waits,
        rate=played.together,
        python=1 - native / played.seconds,
    )
    await engine.close()
    return outcome
