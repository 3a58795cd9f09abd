"""How much of the prefix reuse that is possible in theory the scheduler gets, on recorded traces of real runs.

    python bench/reuse.py record FILE -- ISSUE --repo DIR ...    runs `swarmcode fix ISSUE ...`, and records it
    python bench/reuse.py replay FILE ...                        plays records through the scheduler, without a model

A record has every request of the run: its prompt, the length of its answer, and in which order requests came and ended,
so that as many are under way at once as were. Played again, a request comes when all those have ended that had ended
before it came.

Least is what must be computed whatever the scheduler does, were the cache endless: the tokens of all prompts, each
beginning that was there before (in a prompt or an answer) once. Possible is what that saves; reused, what was saved.
That a prompt's last tokens must be computed again for their logits counts as missed.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from swarmcode.engine.protocol import Completion, Engine, Request
from swarmcode.engine.scheduler import Scheduler
from swarmcode.engine.step import Capacity

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A sequence of a run: one seed of a request."""

    prompt: int
    """Index of its prompt."""
    limit: int
    """Tokens that it could have had."""
    answer: Tokens
    """Tokens that it had; of one that was called off, none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What was asked of an engine in a run."""

    what: str
    """The run, in words."""
    capacity: Capacity
    prompts: tuple[Tokens, ...]
    """Each once."""
    asked: tuple[Asked, ...]
    """In the order in which they came."""
    events: tuple[int, ...]
    """0: the next comes; n > 0: sequence n - 1 ends; n < 0: sequence -n - 1 is called off."""

    def encoded(self) -> str:
        """As a file holds it: a prompt as how much it shares with the one before it, and the rest."""
        prompts: list[int | list[int]] = []
        for before, prompt in itertools.pairwise(((), *self.prompts)):
            shared = _common(before, prompt)
            prompts += [shared, list(prompt[shared:])]
        data = {
            "what": self.what,
            "capacity": asdict(self.capacity),
            "prompts": prompts,
            "asked": [[each.prompt, each.limit, list(each.answer)] for each in self.asked],
            "events": list(self.events),
        }
        lines = (f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}" for key, value in data.items())
        return "{" + ",\n".join(lines) + "}\n"

    @classmethod
    def decoded(cls, text: str) -> "Trace":
        data = json.loads(text)
        prompts: list[Tokens] = []
        for shared, rest in zip(data["prompts"][::2], data["prompts"][1::2], strict=True):
            prompts.append((*(prompts[-1][:shared] if prompts else ()), *rest))
        return cls(
            what=data["what"],
            capacity=Capacity(**data["capacity"]),
            prompts=tuple(prompts),
            asked=tuple(Asked(prompt=each[0], limit=each[1], answer=tuple(each[2])) for each in data["asked"]),
            events=tuple(data["events"]),
        )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


class Recorder:
    """An engine that remembers what it is asked."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._prompts: dict[Tokens, int] = {}
        self._asked: list[Asked] = []
        self._events: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        prompt = self._prompts.setdefault(self._engine.prompt(request.prompt), len(self._prompts))
        limit = request.sampling.max_tokens
        numbers = range(len(self._asked), len(self._asked) + len(request.seeds))
        self._asked += [Asked(prompt=prompt, limit=limit, answer=()) for _ in numbers]
        self._events += [0] * len(numbers)
        try:
            completions: tuple[Completion, ...] = await self._engine.complete(request)
        except BaseException:
            self._events += [-number - 1 for number in numbers]
            raise
        for number, completion in zip(numbers, completions, strict=True):
            # The end token is decoded too, and computed by nobody.
            self._asked[number] = Asked(prompt=prompt, limit=limit, answer=completion.tokens)
            self._events.append(number + 1)
        return completions

    def trace(self, what: str) -> Trace:
        return Trace(
            what=what,
            capacity=self._engine._backend.capacity,
            prompts=tuple(self._prompts),
            asked=tuple(self._asked),
            events=tuple(self._events),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """Prompt tokens of a trace."""

    wanted: int
    """Of all sequences together."""
    least: int
    """That must be computed whatever is done."""
    computed: int

    @property
    def share(self) -> float:
        """Reused, of what is possible."""
        possible = self.wanted - self.least
        return (self.wanted - self.computed) / possible if possible else 1.0


class Trie:
    """Sequences of tokens."""

    def __init__(self) -> None:
        self._root: dict[int, Any] = {}

    def add(self, tokens: Iterable[int]) -> int:
        """How many tokens of the sequence were not there."""
        node, new = self._root, 0
        for token in tokens:
            if token not in node:
                node[token] = {}
                new += 1
            node = node[token]
        return new


@dataclass
class Replay:
    """A scheduler with a model that says what was said in the run."""

    trace: Trace
    scheduler: Scheduler = field(init=False)
    computed: int = 0
    said: dict[int, list[int]] = field(default_factory=dict)
    """Sequence that is under way -> what it has yet to say, last first."""

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.trace.capacity)

    def run(self) -> Reuse:
        trie, least, wanted = Trie(), 0, 0
        coming = iter(self.trace.asked)
        for event in self.trace.events:
            if event == 0:
                asked = next(coming)
                prompt = self.trace.prompts[asked.prompt]
                number = self.scheduler.add(prompt, max_tokens=asked.limit)
                self.said[number] = list(reversed(asked.answer))
                least += trie.add(prompt)
                wanted += len(prompt)
            elif event > 0:
                self._until_ended(event - 1)
                ended = self.trace.asked[event - 1]
                trie.add((*self.trace.prompts[ended.prompt], *ended.answer))
            else:
                self.scheduler.cancel([-event - 1])
                self.said.pop(-event - 1, None)
        return Reuse(wanted=wanted, least=least, computed=self.computed)

    def _until_ended(self, number: int) -> None:
        while number in self.said:
            step = self.scheduler.plan()
            if step.tokens:
                self.scheduler.commit({each: self._next(each) for read in step.reads for each in read.sequences})
            self.computed += step.prefilled

    def _next(self, number: int) -> int | None:
        said = self.said[number]
        if not said:
            del self.said[number]
            return None
        token = said.pop()
        if not said and len(self.trace.asked[number].answer) == self.trace.asked[number].limit:
            del self.said[number]
        return token


def record(file: Path, arguments: Sequence[str]) -> None:
    """Runs `swarmcode fix`, with its engine recorded."""
    from swarmcode.cli import engines, main

    recorders: list[Recorder] = []
    open_model: Callable[..., Any] = engines.open_model

    async def recorded(*given: Any, **named: Any) -> Engine:
        recorders.append(Recorder(await open_model(*given, **named)))
        return recorders[-1]

    engines.open_model = recorded
    try:
        main(["fix", *arguments])
    except SystemExit as end:
        print(f"the run ended with {end.code}", file=sys.stderr)
    what = " ".join(Path(word).name if Path(word).exists() else word for word in arguments)
    file.write_text(recorders[0].trace(what).encoded())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["record", "replay"])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.what == "record":
        record(given.files[0], [*map(str, given.files[1:]), *given.rest])
        return
    print(f"{'sequences':>9}{'prompts':>9}{'wanted':>10}{'least':>9}{'computed':>10}{'reused':>8}")
    for file in given.files:
        trace = Trace.decoded(file.read_text())
        reuse = Replay(trace).run()
        print(
            f"{len(trace.asked):9}{len(trace.prompts):9}{reuse.wanted:10}{reuse.least:9}{reuse.computed:10}"
            f"{reuse.share:8.1%}  {file.name}: {trace.what}"
        )


if __name__ == "__main__":
    main()
