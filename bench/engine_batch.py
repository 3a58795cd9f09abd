"""How much faster a hundred requests are as one batch than one after another.

    python bench/engine_batch.py [--requests 100] [--prompts 20] [--rounds 5] [--layout streams|flash|unified]

The work: span edits of lines of Python's own standard library, prompts of 60 to 250 tokens, several seeds behind each,
on the embedded model; new prompts in every round. All sides run in this process in alternating rounds, on the same
llama.cpp, the same threads, the same sampling and the same masks.

The peer is a bare loop over llama.cpp's low-level functions with one sequence and flash attention, its fastest setting,
which keeps what a prompt has in common with the one before it. Its kernels sum in another order than those of the
`streams` layout, so a few answers differ. It runs twice: with the requests as they come, from all prompts in turn, and
sorted by prompt, so that it too computes every prompt once, which no scheduler of single requests can know to do. The
other peer at hand, `llama_cpp.Llama.create_completion`, does the same with more Python around each token
(`--high-level` measures it).

CPU seconds are printed beside wall time, because they tell more where the machine is busy with other things.
"""

import argparse
import asyncio
import contextlib
import resource
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine import machine
from swarmcode.engine.answer import Answer
from swarmcode.engine.batched import BatchedEngine
from swarmcode.engine.cache import Trim
from swarmcode.engine.llama.backend import LlamaBackend, Room
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.llama.library import lib
from swarmcode.engine.models import ModelFile, resolve
from swarmcode.engine.protocol import Request, Sampling, Segment
from swarmcode.engine.sampling import Pick, draw
from swarmcode.engine.step import Read, Step
from swarmcode.flow import Usage

Answers = list[tuple[int, ...]]

END, BUG, FIX, BEGIN, POINTERS = 1, 2, 3, 4, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one side did in one round."""

    seconds: float
    cpu: float
    native: float
    """Seconds of it inside `llama_decode`."""
    usage: Usage
    answers: Answers


class Clock:
    """Counts the seconds that are spent inside `llama_decode`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._decode: Callable[..., int] = lib.llama_decode
        lib.llama_decode = self

    def __call__(self, *arguments: Any) -> int:
        began = time.perf_counter()
        code = self._decode(*arguments)
        self.seconds += time.perf_counter() - began
        return code

    def start(self) -> Callable[[Usage, Answers], Round]:
        """Begins a round; what it gives ends it."""
        native, cpu, began = self.seconds, time.process_time(), time.perf_counter()

        def stop(usage: Usage, answers: Answers) -> Round:
            seconds, spent = time.perf_counter() - began, time.process_time() - cpu
            return Round(seconds=seconds, cpu=spent, native=self.seconds - native, usage=usage, answers=answers)

        return stop


class Span:
    """The answers that span edits can have: two pointers in order, then ordinary tokens."""

    def __init__(self, vocabulary: int, last: int) -> None:
        self._first = vocabulary - POINTERS
        self._last = self._first + last
        self._ids = np.arange(vocabulary)

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        if len(generated) < 2:
            return (self._ids >= (generated[0] if generated else self._first)) & (self._ids <= self._last)
        return (self._ids < self._first) & ((self._ids == END) | (self._ids > BEGIN))


class Alone:
    """One sequence at a time."""

    def __init__(self, model: ModelFile) -> None:
        self._backend = LlamaBackend(model, Room(agents=1, layout="unified"), threading.Event())
        self._held: list[int] = []

    def answer(self, request: Request) -> tuple[tuple[int, ...], Usage]:
        prompt = list(request.prompt[0].tokens)
        answer = Answer(
            request, request.seeds[0], self._backend.ends, (request.constraint,) if request.constraint else ()
        )
        common = next(
            (i for i, pair in enumerate(zip(prompt[:-1], self._held, strict=False)) if pair[0] != pair[1]), None
        )
        reused = min(len(prompt) - 1, len(self._held)) if common is None else common
        wanted, self._held = prompt[reused:], prompt[:reused]
        changes: tuple[Trim, ...] = (Trim(0, reused),)
        while not answer.finish:
            row = self._compute(wanted, changes)
            pick = Pick(0, request.sampling, answer.key, answer.mask())
            (drawn,) = draw([row], [pick])
            answer.take(drawn, self._backend.piece)
            wanted, changes = [drawn.token], ()
        usage = Usage(prefilled=len(prompt) - reused, reused=reused, decoded=len(answer.logprobs))
        return tuple(answer.tokens), usage

    def _compute(self, tokens: list[int], changes: tuple[Trim, ...]) -> NDArray[np.float32]:
        start = len(self._held)
        self._held += tokens
        positions = list(range(start, len(self._held)))
        last = Read(len(tokens) - 1, [0])
        step = Step(changes=changes, tokens=tokens, positions=positions, seats=[0] * len(tokens), reads=[last])
        return self._backend.run(step)[0]

    def run(self, requests: list[Request], clock: Clock, *, by_prompt: bool) -> Round:
        order = list(range(len(requests)))
        if by_prompt:
            order.sort(key=lambda index: requests[index].prompt[0].tokens)
        self._held = []
        measure = clock.start()
        done = {index: self.answer(requests[index]) for index in order}
        usage = sum((used for _, used in done.values()), Usage())
        return measure(usage, [done[index][0] for index in range(len(requests))])

    def close(self) -> None:
        self._backend.close()


async def together(engine: BatchedEngine, requests: list[Request], clock: Clock) -> Round:
    """All requests at once."""
    measure = clock.start()
    completions = [one for (one,) in await asyncio.gather(*map(engine.complete, requests))]
    usage = sum((one.usage for one in completions), Usage())
    return measure(usage, [one.tokens for one in completions])


def work(engine: BatchedEngine, number: int, prompts: int, requests: int) -> list[Request]:
    """The requests of one round: one seed each, in turn from all prompts."""
    source = Path(statistics.__file__).read_text(encoding="utf-8").splitlines()
    lines = [line for line in source if line.strip() and not line.lstrip().startswith(("#", ">>>"))]
    random = np.random.default_rng(number)
    vocabulary = engine.profile.vocabulary
    pointer = vocabulary - POINTERS
    found: list[Request] = []
    while len(found) < prompts:
        at = int(random.integers(8, len(lines) - 6))
        line = engine.tokenize(lines[at])
        before = engine.tokenize("".join(f"{each}\n" for each in lines[at - int(random.integers(2, 9)) : at]))
        after = engine.tokenize("".join(f"\n{each}" for each in lines[at + 1 : at + 6]))
        marked = [part for index, token in enumerate(line) for part in (pointer + index, token)]
        prompt = (BEGIN, *before, BUG, *marked, pointer + len(line), BUG, *after, FIX)
        if len(line) < POINTERS - 4 and 60 <= len(prompt) <= 250:
            span, rules = Span(vocabulary, len(line)), Sampling(max_tokens=16)
            found.append(Request(prompt=(Segment(tokens=prompt),), sampling=rules, constraint=span))
    return [replace(found[index % prompts], seeds=(index,)) for index in range(requests)]


def high_level(model: ModelFile, requests: list[Request]) -> float:
    """Seconds that `Llama.create_completion` takes for the same prompts, sorted, without masks."""
    import llama_cpp

    threads = machine.cpus()
    peer = llama_cpp.Llama(str(model.path), n_ctx=512, n_threads=threads, n_threads_batch=threads, verbose=False)
    peer.create_completion([BEGIN], max_tokens=1)
    began = time.perf_counter()
    for request in sorted(requests, key=lambda each: each.prompt[0].tokens):
        prompt = list(request.prompt[0].tokens)
        peer.create_completion(
            prompt, max_tokens=5, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=request.seeds[0]
        )
    return time.perf_counter() - began


HEAD = f"{'':<28}{'wall s':>8}{'min-max':>13}{'CPU s':>7}{'prefilled':>11}{'reused':>8}{'decoded':>8}{'Python':>8}"


def line(name: str, rounds: list[Round]) -> str:
    """A row of the table: medians, and the tokens of the first round."""
    seconds = [each.seconds for each in rounds]
    spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
    cpu = statistics.median(each.cpu for each in rounds)
    python = 1 - sum(each.native for each in rounds) / sum(seconds)
    usage = rounds[0].usage
    tokens = f"{usage.prefilled:>11}{usage.reused:>8}{usage.decoded:>8}"
    return f"{name:<28}{statistics.median(seconds):>8.3f}{spread:>13}{cpu:>7.2f}{tokens}{python:>8.1%}"


def ratio(slow: list[Round], fast: list[Round]) -> str:
    wall, cpu = (
        statistics.median(getattr(each, field) for each in slow)
        / statistics.median(getattr(each, field) for each in fast)
        for field in ("seconds", "cpu")
    )
    return f"{wall:.1f} (CPU {cpu:.1f})"


async def main(options: argparse.Namespace) -> None:
    model, clock = resolve("repair"), Clock()
    engine = await open_engine(model, agents=options.requests, layout=options.layout)
    await together(engine, work(engine, 1_000_000, options.prompts, options.requests), clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    alone = Alone(model)
    batch, in_turn, by_prompt = [], [], []
    for number in range(options.rounds):
        requests = work(engine, number, options.prompts, options.requests)
        batch.append(await together(engine, requests, clock))
        in_turn.append(alone.run(requests, clock, by_prompt=False))
        by_prompt.append(alone.run(requests, clock, by_prompt=True))
    print(f"{options.requests} requests behind {options.prompts} prompts, {options.rounds} rounds on each side")
    print(f"{machine.cpus()} threads, KV layout {options.layout}\n\n{HEAD}")
    print(line("one batch", batch))
    print(line("one by one, as they come", in_turn))
    print(line("one by one, by prompt", by_prompt))
    if options.high_level:
        seconds = high_level(model, work(engine, 0, options.prompts, options.requests))
        print(f"{'create_completion, by prompt':<28}{seconds:>8.3f}   (5 tokens each, no masks, one round)")
    pairs = [
        pair
        for one, other in zip(batch, by_prompt, strict=True)
        for pair in zip(one.answers, other.answers, strict=True)
    ]
    print(f"\none by one / one batch: {ratio(in_turn, batch)} as they come, {ratio(by_prompt, batch)} by prompt")
    print(f"{sum(one == other for one, other in pairs)} of {len(pairs)} answers equal; peak memory {peak:.0f} MiB")
    await engine.close()
    alone.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layout", choices=("streams", "flash", "unified"), default="streams")
    parser.add_argument("--high-level", action="store_true", help="also measure Llama.create_completion")
    return parser.parse_args()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(arguments()))
