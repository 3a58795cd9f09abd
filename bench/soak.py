"""Whether the engine leaks: thousands of requests, half of them ended before their time, on a real context.

    python bench/soak.py [--requests 10000] [--model repair] [--layout streams|flash|unified] [--agents 16]

Some clients ask without a pause. Prompts begin alike, in part or not at all; answers are short. A request is awaited,
cancelled at once, left after the first news of its answer, or asks for JSON that a grammar holds it to (chat models
only). What is held is counted after a quarter of the requests, when caches have filled, and at the end; what each
request left behind is the difference, by request:

- `resident`: bytes of the process in memory, which also move with what the allocator keeps;
- `native`: bytes that malloc has given out, to the byte: llama.cpp, grammars, NumPy;
- `python`: blocks that Python's own allocator has given out: objects, tasks, futures.

Cells are counted by what they are for: afterwards, as many requests as long as the context as the cache has cells for
must run at once, and none may be parked or refused.
"""

import argparse
import asyncio
import contextlib
import ctypes
import gc
import os
import random
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from swarmcode.engine.batched import BatchedEngine
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import resolve
from swarmcode.engine.protocol import Request, Sampling, Segment

CLIENTS = 24
"""More than there are seats to run in, so that some always wait."""
SCHEMA = '{"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}'


class _MallInfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the process holds."""

    resident: int
    native: int
    python: int
    tasks: int
    """Of the event loop that runs."""

    @classmethod
    def now(cls) -> "Held":
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        given = ctypes.CDLL(None).mallinfo2
        given.restype = _MallInfo
        info = given()
        return cls(
            resident=pages * resource.getpagesize(),
            native=info.uordblks + info.hblkhd,
            python=sys.getallocatedblocks(),
            tasks=len(asyncio.all_tasks()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What came of it."""

    requests: int
    ended: Counter[str]
    """How many requests were `answered`, `cancelled`, `left` or `held` to a schema."""
    warm: Held
    """After the first quarter."""
    last: Held
    filled: int
    """Cells that the largest requests took together in the end."""
    cells: int
    """Cells that there are."""

    def leaked(self, what: str) -> float:
        """By request, after the first quarter."""
        return float(getattr(self.last, what) - getattr(self.warm, what)) / (self.requests - self.requests // 4)


class Client:
    """Asks one request after another, and ends every other before its time."""

    def __init__(self, engine: BatchedEngine, seed: int) -> None:
        self._engine = engine
        self._chance = random.Random(seed)
        self._most = min(16, engine.profile.context // 4)
        """Tokens of an answer."""

    def request(self) -> Request:
        chance, known = self._chance, self._engine.profile.vocabulary
        head = random.Random(chance.randrange(60)).choices(range(5, known), k=self._engine.profile.context // 8)
        prompt = head + chance.choices(range(5, known), k=chance.randint(1, 8))
        return Request(
            prompt=(Segment(tokens=tuple(prompt)),),
            sampling=Sampling(max_tokens=chance.randint(1, self._most)),
            seeds=tuple(range(chance.randint(1, 3))),
        )

    async def ask(self) -> str:
        """One request; how it ended."""
        turn = self._chance.random()
        if turn < 0.1 and self._engine.profile.chat_template:
            request = self.request()
            await self._engine.complete(
                Request(prompt=request.prompt, sampling=Sampling(max_tokens=4), seeds=(0,), schema=SCHEMA)
            )
            return "held"
        if turn < 0.5:
            await self._engine.complete(self.request())
            return "answered"
        if turn < 0.75:
            asked = asyncio.ensure_future(self._engine.complete(self.request()))
            for _ in range(self._chance.randrange(4)):
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
            return "cancelled"
        with contextlib.closing(self._engine.stream(self.request())) as stream:
            await anext(stream)
        return "left"


async def soak(engine: BatchedEngine, requests: int, cells: int) -> Soak:
    """Asks `requests` of an engine that nobody else uses, and that has `cells` cells; what came of it."""
    ended: Counter[str] = Counter()

    async def some(count: int, seed: int) -> None:
        client = Client(engine, seed)
        for _ in range(count):
            ended[await client.ask()] += 1

    async def round_(count: int, seed: int) -> Held:
        shares = [count // CLIENTS + (client < count % CLIENTS) for client in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            for client, share in enumerate(shares):
                group.create_task(some(share, seed + client))
        await fill(engine, cells)  # both times the cache holds the same then
        return Held.now()

    warm = await round_(requests // 4, 1)
    last = await round_(requests - requests // 4, 1000)
    filled = await fill(engine, cells)
    return Soak(requests=requests, ended=ended, warm=warm, last=last, filled=filled, cells=cells)


async def fill(engine: BatchedEngine, cells: int) -> int:
    """Runs as many of the largest requests at once as the cache has cells for; the cells that they took together,
    0 where one of them had to be parked."""
    context = engine.profile.context
    prompts = [(5 + number,) * (context - 1) for number in range(cells // context)]
    requests = [Request(prompt=(Segment(tokens=prompt),), sampling=Sampling(max_tokens=1)) for prompt in prompts]
    answers = [one for each in await asyncio.gather(*map(engine.complete, requests)) for one in each]
    parked = any(one.usage.prefilled + one.usage.reused > context - 1 for one in answers)
    return 0 if parked else sum(one.usage.prefilled + one.usage.reused + 1 for one in answers)


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--requests", type=int, default=10_000)
    arguments.add_argument("--model", default="repair")
    arguments.add_argument("--layout", choices=["streams", "flash", "unified"], default="streams")
    arguments.add_argument("--agents", type=int, default=16)
    arguments.add_argument("--threads", type=int, default=0, help="0: all processors; 1 where they are busy")
    given = arguments.parse_args()
    context = 64
    cells = 16 * context
    engine = await open_engine(
        resolve(given.model),
        agents=given.agents,
        context=context,
        cells=cells,
        layout=given.layout,
        threads=given.threads,
    )
    began, cpu = time.monotonic(), time.process_time()
    try:
        found = await soak(engine, given.requests, cells if given.layout == "unified" else given.agents * context)
    finally:
        await engine.close()
    print(f"{given.requests} requests ({', '.join(f'{count} {how}' for how, count in sorted(found.ended.items()))})")
    print(f"on {given.model}, {given.layout}, {given.agents} agents; {len(os.sched_getaffinity(0))} processors:")
    print(f"{time.monotonic() - began:.0f} s, {time.process_time() - cpu:.0f} s of CPU")
    print(f"{'':10}{'after a quarter':>16}{'at the end':>16}{'by request':>12}")
    for what in ("resident", "native", "python", "tasks"):
        print(f"{what:10}{getattr(found.warm, what):>16,}{getattr(found.last, what):>16,}{found.leaked(what):>12.2f}")
    print(f"cells that can be filled: {found.filled} of {found.cells}")


if __name__ == "__main__":
    asyncio.run(main())
