"""What the scheduler computes of recorded runs, against the least that must be computed."""

import importlib
import random
from pathlib import Path
from typing import Any

import pytest

from swarmcode.engine.step import Capacity

BENCH = Path(__file__).parents[2] / "bench"
TRACES = sorted((BENCH / "traces").glob("*.json"))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("reuse")


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_at_least_95_percent_of_what_is_possible_is_reused(bench: Any, trace: Path) -> None:
    """On every recorded run, with the cache that it had."""
    reuse = bench.Replay(bench.Trace.decoded(trace.read_text())).run()
    assert reuse.wanted > 5 * reuse.least > 0
    assert reuse.least <= reuse.computed
    assert reuse.share >= 0.95


def test_there_are_traces() -> None:
    """Small enough to be kept beside the code."""
    assert len(TRACES) >= 2
    assert all(path.stat().st_size < 100_000 for path in TRACES)


def test_a_trace_comes_back_as_it_was_written(bench: Any) -> None:
    """With prompts that begin alike, and one that is the beginning of another."""
    trace = bench.Trace.decoded(TRACES[0].read_text())
    short = bench.Trace(
        what="x",
        capacity=trace.capacity,
        prompts=((1, 2, 3), (1, 2), (1, 2, 4, 5), (9,)),
        asked=(bench.Asked(prompt=2, limit=7, answer=(3, 4)), bench.Asked(prompt=0, limit=1, answer=())),
        events=(0, 0, 1, -2),
    )
    for each in (trace, short):
        assert bench.Trace.decoded(each.encoded()) == each


def test_what_must_be_computed_is_counted_by_hand(bench: Any) -> None:
    """Three prompts of ten tokens: one, its twin, and one that goes on from the answer to the first."""
    trace = bench.Trace.decoded(TRACES[0].read_text())
    head = tuple(range(10, 20))
    known = bench.Trace(
        what="x",
        capacity=trace.capacity,
        prompts=(head, (*head, 5, 6, 7)),
        asked=tuple(bench.Asked(prompt=prompt, limit=4, answer=(5, 6)) for prompt in (0, 0, 1)),
        events=(0, 0, 1, 2, 0, 3),
    )
    reuse = bench.Replay(known).run()
    assert (reuse.wanted, reuse.least) == (33, 11)
    assert 11 <= reuse.computed <= 13  # the end of a prompt is computed again for its logits


def conversations(bench: Any, agents: int, capacity: Capacity) -> Any:
    """A trace of agents with six turns each behind one head: what a tool says comes after each answer, and they take
    their turns in any order, two thirds of them at once."""
    chance = random.Random(1)

    def some(least: int, most: int) -> tuple[int, ...]:
        return tuple(chance.choices(range(5, 4000), k=chance.randint(least, most)))

    head = some(1000, 1000)
    texts = [(*head, *some(100, 200)) for _ in range(agents)]
    waiting, under_way = list(range(agents)) * 6, {}
    prompts: dict[tuple[int, ...], int] = {}
    asked, events = [], []
    while waiting or under_way:
        free = [agent for agent in dict.fromkeys(waiting) if agent not in under_way]
        if free and len(under_way) < agents * 2 // 3:
            agent = chance.choice(free)
            waiting.remove(agent)
            under_way[agent] = len(asked)
            prompt = prompts.setdefault(texts[agent], len(prompts))
            asked.append(bench.Asked(prompt=prompt, limit=64, answer=some(20, 60)))
            events.append(0)
        else:
            agent = chance.choice(list(under_way))
            number = under_way.pop(agent)
            events.append(number + 1)
            texts[agent] += asked[number].answer + some(50, 250)
    return bench.Trace(
        what="conversations", capacity=capacity, prompts=tuple(prompts), asked=tuple(asked), events=tuple(events)
    )


@pytest.mark.parametrize(("cells", "share"), [(150_000, 0.999), (60_000, 0.95)])
def test_conversations_go_on_where_they_stopped(bench: Any, cells: int, share: float) -> None:
    """Each turn computes what is new; and nearly so where the cache is a good deal smaller than they are together."""
    capacity = Capacity(running=60, seats=88, cells=cells, context=8192, chunk=512)
    reuse = bench.Replay(conversations(bench, 60, capacity)).run()
    assert reuse.wanted > 5 * reuse.least
    assert reuse.share >= share
