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

import numpy as np
from numpy.typing import NDArray

from engines import processes
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


class Script:
    """Makes the model say just this. Implements `Constraint`."""

    def __init__(self, answer: Sequence[int], vocabulary: int) -> None:
        self._answer = answer
        self._vocabulary = vocabulary

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        """The next token of the answer."""
        mask = np.zeros(self._vocabulary, np.bool_)
        mask[self._answer[len(generated)]] = True
        return mask


def measure(ours: Ours, work: Work) -> Outcome:
    """The run itself, in a process of its own."""
    return asyncio.run(_measure(ours, work))


async def _measure(ours: Ours, work: Work) -> Outcome:
    from swarmcode.engine import models
    from swarmcode.engine.batched import BatchedEngine
    from swarmcode.engine.llama.backend import LlamaBackend, Room
    from swarmcode.engine.llama.library import lib
    from swarmcode.engine.protocol import Request, Sampling, Segment
    from swarmcode.garbage import collect_seldom

    collect_seldom()
    shape = work.shape
    model = models.describe(ours.model)
    profile = replace(model.profile, context=shape.context + 1)
    room = Room(agents=ours.agents or shape.agents, layout=ours.layout or None, exact=False, threads=ours.threads)
    backend = LlamaBackend(replace(model, profile=profile), room, threading.Event())
    backend.ends = frozenset()
    clock = Clock(lib)
    if native := backend.drawer.native:
        backend.drawer.native = clock.timed(native)
    engine = BatchedEngine(backend, profile, drafting=ours.drafting)
    sampling = Sampling(temperature=shape.temperature, max_tokens=shape.generated)

    prefilled = 0

    async def ask(agent: int, prompt: Sequence[int]) -> Said:
        nonlocal prefilled
        first, completion = None, None
        answer = work.conversations[agent].answer
        request = Request(
            prompt=(Segment(tokens=tuple(prompt)),),
            sampling=sampling,
            seeds=(agent,),
            constraint=Script(answer, backend.vocabulary) if answer else None,
        )
        with closing(engine.stream(request)) as stream:
            async for news in stream:
                first = first or time.perf_counter()
                completion = news[-1].completion
        assert completion
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
