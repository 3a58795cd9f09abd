"""The other engines: llama.cpp's server and benchmark, and the batching example server of llama-cpp-python.

Each run is a fresh process that has loaded the model when its time begins. All get the same threads and the same token
ids, choose the likeliest token where the work says so, and go on past the model's end tokens. What is not set here has
the program's own default, flash attention among it.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import client, processes
from engines.drive import Said
from engines.outcome import Outcome
from engines.processes import Lost
from engines.serving import Tally, cells, serve
from engines.shapes import Work
from swarmcode.engine import gguf
from swarmcode.errors import ModelError


def longer(model: Path, context: int) -> list[str]:
    """What lets a server go beyond the context that a model was trained with, as all other engines do by themselves."""
    try:
        header = gguf.read(model)
    except ModelError:
        return []  # the server says itself what is wrong with it
    key = f"{header.text('general.architecture')}.context_length"
    return ["--override-kv", f"{key}=int:{context}"] if header.number(key, context) < context else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`llama-server` with as many slots as there are agents."""

    program: Path
    model: Path
    threads: int
    unified: bool = False
    """One pool of cells for all slots, or a part for each."""
    pinned: bool = False
    """Whether each agent keeps to a slot of its own, or takes what the server finds most alike."""

    @property
    def name(self) -> str:
        return "llama-server" + " -kvu" * self.unified + " id_slot" * self.pinned

    def run(self, work: Work, limit: float | None = None) -> Outcome | None:
        """None where it took longer than `limit` seconds. Raises `Lost`."""
        agents, port = work.shape.agents, processes.free_port()
        argv = [str(self.program), "-m", str(self.model), "--host", "127.0.0.1", "--port", str(port), "--offline"]
        argv += ["-np", str(agents), "-cb", "-c", str(agents * cells(work.shape.context)), "--no-webui"]
        argv += ["-kvu" if self.unified else "-no-kvu", "-t", str(self.threads), "-tb", str(self.threads)]
        argv += longer(self.model, cells(work.shape.context))

        async def ask(port: int, tally: Tally, agent: int, prompt: Sequence[int]) -> Said:
            body: dict[str, Any] = {
                "prompt": list(prompt),
                "n_predict": work.shape.generated,
                "temperature": work.shape.temperature,
                "ignore_eos": True,
                "cache_prompt": True,
                "return_tokens": True,
                "stream": True,
            } | ({"id_slot": agent} if self.pinned else {})
            first, pieces = None, []
            async with aclosing(client.events(port, "/completion", body)) as answer:
                async for event in answer:
                    first = first or time.perf_counter()
                    pieces.append(event)
            told = json.loads(pieces[-1]) if pieces else {}
            if "timings" not in told:
                raise Lost(f"llama-server gave up on a request: {pieces[-1:]}")
            tally.prefilled = (tally.prefilled or 0) + told["timings"]["prompt_n"]
            spoken = pieces[:-1] if work.shape.turns > 1 else ()  # parsing takes time that the server could use
            tokens = tuple(token for piece in spoken for token in json.loads(piece)["tokens"])
            return Said(tokens=tokens, count=told["timings"]["predicted_n"], first=first)

        return serve(argv, port, "/health", work, ask, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`examples/server/server.py` of llama-cpp-python's source distribution. It tells no token ids, so it can only be
    asked for single turns."""

    script: Path
    model: Path
    threads: int
    name: str = "example server"

    def run(self, work: Work, limit: float | None = None) -> Outcome | None:
        """As `Server.run`."""
        agents, port = work.shape.agents, processes.free_port()
        model = {"path": str(self.model), "alias": "model", "n_seq_max": agents}
        model |= {"threads": self.threads, "threads_batch": self.threads}
        model |= {"n_ctx": agents * cells(work.shape.context), "kv_unified": True}
        settings = {"server": {"host": "127.0.0.1", "port": port}, "model": model}

        async def ask(port: int, tally: Tally, agent: int, prompt: Sequence[int]) -> Said:
            body = {"model": "model", "prompt": list(prompt), "max_tokens": work.shape.generated, "stream": True}
            body |= {"temperature": work.shape.temperature, "seed": agent}
            first, last = None, b""
            async with aclosing(client.events(port, "/v1/completions", body)) as answer:
                async for event in answer:
                    first = first or time.perf_counter()
                    last = last if event == b"[DONE]" else event
            if b'"length"' not in last:
                raise Lost(f"the example server gave up on a request: {last!r}")
            return Said(tokens=(), count=work.shape.generated, first=first)

        with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
            json.dump(settings, config)
            config.flush()
            argv = [sys.executable, str(Path(__file__).with_name("example.py")), str(self.script), "-C", config.name]
            return serve(argv, port, "/healthz", work, ask, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedBench:
    """`llama-batched-bench -pps`: random tokens behind a shared head, nothing sampled."""

    program: Path
    model: Path
    threads: int
    unified: bool = False

    @property
    def name(self) -> str:
        return "llama-batched-bench" + " -kvu" * self.unified

    def run(self, work: Work, limit: float | None = None) -> Outcome | None:
        """As `Server.run`; what counts is the rate."""
        shape = work.shape
        room = cells(shape.shared + shape.generated)
        argv = [str(self.program), "-m", str(self.model), "-pps", "--output-format", "jsonl", "--offline"]
        argv += ["-npp", str(shape.shared), "-ntg", str(shape.generated), "-npl", str(shape.agents)]
        argv += ["-c", str(shape.agents * room), "-t", str(self.threads), "-tb", str(self.threads)]
        argv += ["-kvu" if self.unified else "-no-kvu"]
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            with processes.running(argv, log) as bench:
                try:
                    cpu, peak = processes.ended(bench, limit)
                except TimeoutError:
                    return None
                told = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
                if bench.returncode or not told:
                    raise Lost(f"{self.name} ended with {bench.returncode}", log.read_text()[-300:])
        return Outcome(seconds=told[0]["t"], cpu=cpu, peak=peak, generated=shape.answers, rate=told[0]["speed_tg"])
