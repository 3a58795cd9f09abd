"""The scheduler against a cache that is checked cell by cell, with any mix of arrivals, ends and cancellations."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmcode.engine.cache import Copy
from swarmcode.engine.scheduler import Scheduler
from swarmcode.engine.step import Capacity, Step

anything_goes = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def following(tokens: Sequence[int]) -> int | None:
    """The model: what comes after `tokens`; None: the end."""
    number = hashlib.sha256(bytes(tokens)).digest()[0]
    return None if number < 8 else number % 3


def alone(prompt: Sequence[int], max_tokens: int) -> list[int]:
    """The answer to a prompt that nothing else runs beside."""
    tokens = list(prompt)
    while len(tokens) < len(prompt) + max_tokens and (token := following(tokens)) is not None:
        tokens.append(token)
    return tokens[len(prompt) :]


@dataclass
class Run:
    """A scheduler, a cache that does what it plans, and the answers so far."""

    scheduler: Scheduler
    cache: Any
    answers: dict[int, list[int]] = field(default_factory=dict)
    prompts: dict[int, list[int]] = field(default_factory=dict)
    limits: dict[int, int] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    guesses: Callable[[list[int]], list[int]] | None = None
    """What is guessed that some tokens go on with."""
    far: int = 1
    """Tokens of each sequence that are computed at most before the scheduler is asked again."""

    def add(self, prompt: list[int], max_tokens: int = 4, priority: float = 0.0) -> int:
        sequence = self.scheduler.add(prompt, max_tokens=max_tokens, priority=priority)
        self.answers[sequence], self.prompts[sequence], self.limits[sequence] = [], prompt, max_tokens
        self.open.add(sequence)
        return sequence

    def cancel(self, sequence: int) -> None:
        self.scheduler.cancel([sequence])
        self.open.discard(sequence)

    def step(self) -> Step:
        step = self.plan()
        self.cache.apply(step.changes)
        if step.tokens:
            self.cache.compute(step)
            nearest = min((self.limits[each] - len(self.answers[each]) for each in self._reading(step)), default=0)
            most = min(self.far, nearest, 1 + self.scheduler.spare() // len(step.tokens))
            sampled, right = self._read(step)
            if most > 1:
                self.scheduler.went_on(self._stride(step, most, sampled, right))
            self.scheduler.commit(sampled, right)
        if step.tokens or step.changes:
            self.steps.append(step)
        return step

    def plan(self) -> Step:
        """With guesses, where it does not go far."""
        step = self.scheduler.plan()
        if self.guesses and (self.far == 1 or self.scheduler.spare() < len(step.tokens)):
            told = {each: self.prompts[each] + self.answers[each] for each in self.open}
            self.scheduler.draft({each: self.guesses(tokens) for each, tokens in told.items()})
        return step

    def _reading(self, step: Step) -> list[int]:
        return [sequence for read in step.reads for sequence in read.sequences]

    def _read(self, step: Step) -> tuple[dict[int, int | None], dict[int, int]]:
        """The next token of each sequence, behind those of its guessed tokens that came true, and how many did."""
        assert [read.row for read in step.reads] == sorted({read.row for read in step.reads})
        assert len(step.reads) <= self.scheduler.capacity.reads
        sampled: dict[int, int | None] = {}
        right: Counter[int] = Counter()
        for read in step.reads:
            held = self.cache.tokens(step.seats[read.row])[: step.positions[read.row] + 1]
            for sequence in read.sequences:
                if sequence in sampled:
                    guess = step.drafts[sequence]
                    if sampled[sequence] != guess[right[sequence]]:
                        continue
                    right[sequence] += 1
                assert held == self.prompts[sequence] + self.answers[sequence], "logits of another sequence's tokens"
                token = following(held)
                sampled[sequence] = token
                if token is not None:
                    self.answers[sequence].append(token)
                if token is None or len(self.answers[sequence]) == self.limits[sequence]:
                    self.open.discard(sequence)
        return sampled, dict(right)

    def _stride(
        self, step: Step, most: int, sampled: dict[int, int | None], right: dict[int, int]
    ) -> dict[int, list[int]]:
        """Computes the next tokens and those after them, some behind the end of an answer; what was computed."""
        order = self._reading(step)
        further: dict[int, list[int]] = {sequence: [] for sequence in order}
        for time in range(1, most):
            tokens = [1 if (token := sampled[sequence]) is None else token for sequence in order]
            positions = [position + time for position in step.positions]
            self.cache.compute(Step(tokens=tokens, positions=positions, seats=step.seats))
            for sequence, token, seat in zip(order, tokens, step.seats, strict=True):
                further[sequence].append(token)
                if sampled[sequence] is not None:
                    held = self.cache.tokens(seat)
                    assert held == self.prompts[sequence] + self.answers[sequence]
                    right[sequence] = time
                    sampled[sequence] = following(held)
                    if (new := sampled[sequence]) is not None:
                        self.answers[sequence].append(new)
                    if new is None or len(self.answers[sequence]) == self.limits[sequence]:
                        self.open.discard(sequence)
        return further

    def finish(self) -> None:
        for _ in range(10_000):
            if self.scheduler.idle:
                return
            self.step()
        pytest.fail("it does not end")


def capacity(**changes: Any) -> Capacity:
    return Capacity(**({"running": 4, "seats": 6, "cells": 200, "context": 40, "chunk": 8} | changes))


CAPACITIES = st.builds(
    lambda running, spare, context, more, chunk, sharing, exact, reads: Capacity(
        running=running,
        seats=running + spare,
        context=context,
        cells=context + more,
        chunk=running + 2 + chunk,
        sharing=sharing,
        exact=exact,
        reads=running + reads,
    ),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(25, 60),
    st.integers(0, 60),
    st.integers(0, 20),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 2, 99]),
)


def guessing(count: int, right: int) -> Callable[[list[int]], list[int]]:
    """Guesses of `count` tokens, of which the first `right` come true, as far as the model goes on."""

    def guess(tokens: list[int]) -> list[int]:
        ahead = alone(tokens, count)
        return [token if place < right else (token + 1) % 3 for place, token in enumerate(ahead)] or [1] * count

    return guess


GUESSES = st.one_of(st.none(), st.builds(guessing, st.integers(1, 6), st.integers(0, 6)))
HEADS = st.sampled_from([[], [1] * 18, [1] * 18 + [2, 2, 1], [2] * 4])
LENGTHS = st.one_of(st.integers(1, 8), st.integers(1, 24))
TAILS = st.lists(st.integers(0, 2), min_size=1, max_size=4)
EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            HEADS,
            TAILS,
            st.one_of(st.integers(1, 8), st.integers(1, 24)),
            st.sampled_from([0.0, 0.0, 1.0]),
        ),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("step")),
    ),
    max_size=50,
)


def play(run: Run, events: list[tuple[Any, ...]]) -> set[int]:
    """Lets the events happen; the sequences that were not cancelled before they ended."""
    cancelled = set()
    for event in events:
        if event[0] == "add":
            prompt = (event[1] + event[2])[: run.scheduler.capacity.context - event[3]]
            run.add(prompt, event[3], event[4])
        elif event[0] == "cancel" and event[1] in run.open:
            cancelled.add(event[1])
            run.cancel(event[1])
        elif event[0] == "step":
            run.step()
    return set(run.answers) - cancelled


@anything_goes
@given(CAPACITIES, EVENTS, GUESSES, st.integers(1, 9))
def test_every_answer_is_the_one_it_would_be_alone(
    toy_cache: Any, capacity: Capacity, events: list[tuple[Any, ...]], guesses: Any, far: int
) -> None:
    """Whatever runs beside it, is cancelled, evicted or parked, each sequence ends with the answer it has alone, and
    no step ever needs more cells, seats or tokens than there are."""
    run = Run(Scheduler(capacity), toy_cache(capacity), guesses=guesses, far=far)
    kept = play(run, events)
    run.finish()
    assert not run.open
    for sequence in kept:
        assert run.answers[sequence] == alone(run.prompts[sequence], run.limits[sequence])


@anything_goes
@given(CAPACITIES, EVENTS, GUESSES, st.integers(1, 9))
def test_the_books_agree_with_the_cache(
    toy_cache: Any, capacity: Capacity, events: list[tuple[Any, ...]], guesses: Any, far: int
) -> None:
    """After everything has ended nothing runs or waits, and the cells that are counted as kept are those that are."""
    run = Run(Scheduler(capacity), toy_cache(capacity), guesses=guesses, far=far)
    play(run, events)
    run.finish()
    assert (run.scheduler.running, run.scheduler.waiting) == (0, 0)
    assert run.scheduler.cells == run.cache.cells
    assert capacity.sharing or run.cache.cells == 0


@anything_goes
@given(CAPACITIES, EVENTS, GUESSES, st.integers(1, 9))
def test_cancelling_everything_leaves_room_for_anything(
    toy_cache: Any, capacity: Capacity, events: list[tuple[Any, ...]], guesses: Any, far: int
) -> None:
    """Cancelled at any step, sequences hold nothing that the largest possible request would have to wait for."""
    run = Run(Scheduler(capacity), toy_cache(capacity), guesses=guesses, far=far)
    play(run, events)
    for sequence in sorted(run.open):
        run.cancel(sequence)
    largest = run.add([0] * (capacity.context - 1), 1)
    for _ in range(-(-capacity.context // capacity.chunk)):
        run.step()
    assert largest not in run.open


@anything_goes
@given(CAPACITIES, EVENTS, st.integers(0, 20), GUESSES)
def test_a_step_that_fails_ends_its_own_sequences_only(
    toy_cache: Any, capacity: Capacity, events: list[tuple[Any, ...]], when: int, guesses: Any
) -> None:
    """Those in the failed step are gone with all that they held; all others end as they would alone."""
    run = Run(Scheduler(capacity), toy_cache(capacity), guesses=guesses)
    kept = play(run, events)
    for _ in range(when):
        run.step()
    step = run.plan()
    run.cache.apply(step.changes)
    lost = set(run.scheduler.abandon())
    assert lost >= {sequence for read in step.reads for sequence in read.sequences}
    run.open -= lost
    run.finish()
    assert run.scheduler.cells == run.cache.cells
    for sequence in kept - lost:
        assert run.answers[sequence] == alone(run.prompts[sequence], run.limits[sequence])


def test_right_guesses_save_steps(toy_cache: Any) -> None:
    """Of fifteen guessed tokens all that come true are taken in one step, and those that do not cost none."""
    prompt = next([n, 1, n] for n in range(99) if len(alone([n, 1, n], 32)) == 32)
    steps = {}
    for right in (0, 3, 15):
        room = capacity(cells=500, context=100, chunk=64)
        run = Run(Scheduler(room), toy_cache(room), guesses=guessing(15, right))
        run.add(prompt, 32)
        run.finish()
        assert next(iter(run.answers.values())) == alone(prompt, 32)
        steps[right] = len(run.steps)
    assert steps == {0: 32, 3: 1 + 8, 15: 1 + 2}


def test_it_goes_far_only_where_nothing_is_to_be_decided() -> None:
    """As far as there are cells; not beside prompts, guesses, or where sums would show."""
    scheduler = Scheduler(capacity(cells=45, chunk=32))
    scheduler.add([1] * 10, max_tokens=9)
    scheduler.add([2] * 5, max_tokens=30)
    scheduler.plan()
    assert scheduler.spare() == 0  # prompts
    scheduler.commit({0: 1, 1: 1})
    scheduler.plan()
    assert scheduler.spare() == 45 - 11 - 6
    scheduler.commit({0: 1, 1: 1})
    scheduler.plan()
    scheduler.draft({1: [2, 2]})
    assert scheduler.spare() == 0
    exact = Scheduler(capacity(exact=True))
    exact.add([1] * 4, max_tokens=9)
    exact.plan()
    exact.commit({0: 1})
    exact.plan()
    assert exact.spare() == 0


def test_cold_prefixes_do_not_keep_it_from_going_far(toy_cache: Any) -> None:
    """A cache that is full of them makes room for some tokens of all that decode, as many as they may still get."""
    room = capacity(cells=80, context=40)
    run = Run(Scheduler(room), toy_cache(room))
    for number in range(2):
        run.add([number] * 36, 1)
        run.finish()
    assert run.cache.cells == 72
    prompt = next([n, 1, n] for n in range(99) if len(alone([n, 1, n], 30)) == 30)
    run.add(prompt, 30)
    run.step()
    assert 80 - run.cache.cells < 16
    run.scheduler.plan()
    assert run.scheduler.spare() >= 16


@pytest.mark.parametrize("changes", [{"exact": True}, {"sharing": False}])
def test_nothing_is_guessed_where_it_would_show(toy_cache: Any, changes: dict[str, bool]) -> None:
    """Where several tokens are summed otherwise than one, or cannot be taken back."""
    room = capacity(**changes)
    run = Run(Scheduler(room), toy_cache(room), guesses=guessing(3, 3))
    run.add([1, 2], 8)
    run.finish()
    assert not any(step.drafts for step in run.steps)


def test_guesses_wait_behind_prompts(toy_cache: Any) -> None:
    """They get what a step has left: tokens, rows of logits and free cells; nothing is evicted or parked for them."""
    room = capacity(cells=60, context=60, chunk=8, reads=6)
    run = Run(Scheduler(room), toy_cache(room), guesses=guessing(5, 5))
    run.add([1, 1], 30)
    run.step()
    run.add([2] * 20, 1)
    assert not run.step().drafts
    run.finish()
    assert any(step.drafts for step in run.steps)
    assert max(len(step.reads) for step in run.steps) <= 6


def test_equal_prompts_are_computed_once(toy_cache: Any) -> None:
    """A hundred sequences with one prompt, added together: the prompt is computed once, and all decode together."""
    room = capacity(running=100, seats=110, cells=10_000, chunk=128)
    run = Run(Scheduler(room), toy_cache(room))
    prompt = [1, 2] * 15
    for _ in range(100):
        run.add(prompt, 5)
    first = run.step()
    assert len(first.tokens) == len(prompt)
    assert len(first.reads[0].sequences) == 100
    answer = alone(prompt, 5)
    run.finish()
    assert len(answer) > 1
    assert all(len(step.tokens) == 100 for step in run.steps[1:])
    assert len(run.steps) <= 1 + len(answer)


def test_more_equal_prompts_than_seats_are_still_computed_once(toy_cache: Any) -> None:
    """Those that find no seat beside the first compute only the last token of their prompt again, for its logits."""
    room = capacity(running=4, seats=6, cells=1000, chunk=64)
    run = Run(Scheduler(room), toy_cache(room))
    sequences = [run.add([1, 2] * 15, 1) for _ in range(12)]
    run.finish()
    assert not run.open
    assert [sequence for sequence in sequences if not run.answers[sequence]] == []
    assert sum(step.prefilled for step in run.steps) == 30 + 2  # one more each time a new wave begins


def test_a_shared_head_is_waited_for_while_it_is_computed(toy_cache: Any) -> None:
    """Prompts that begin alike and differ later, added together: the head is computed by one of them alone."""
    room = capacity(running=20, seats=24, cells=1000, chunk=32)
    run = Run(Scheduler(room), toy_cache(room))
    head = [1] * 30
    for number in range(9):
        run.add([*head, number % 3, number // 3], 1)
    run.finish()
    assert run.cache.computed <= len(head) + 2 * 9


def test_a_finished_head_is_reused(toy_cache: Any) -> None:
    """What a sequence computed serves the next one that begins alike, its answer included: a conversation goes on."""
    room = capacity(running=2, seats=3)
    run = Run(Scheduler(room), toy_cache(room))
    first = run.add([1, 2, 0, 1], 4)
    run.finish()
    before = run.cache.computed
    answer = run.answers[first]
    assert answer
    run.add([1, 2, 0, 1, *answer, 2, 2], 1)
    run.finish()
    assert run.cache.computed - before <= 3  # the last token of an answer need not have been computed


def test_decoding_never_waits_for_a_long_prompt(toy_cache: Any) -> None:
    """While a prompt of many chunks is computed, every running sequence gets a token in every step."""
    room = capacity(running=4, seats=6, cells=500, context=200, chunk=8)
    run = Run(Scheduler(room), toy_cache(room))
    short = run.add([1, 1], 8)
    run.step()
    run.add([2] * 150, 1)
    while short in run.open:
        step = run.step()
        assert short in [sequence for read in step.reads for sequence in read.sequences]
        assert len(step.tokens) == room.chunk


@pytest.mark.parametrize("long", [1, 3])
def test_a_short_prompt_does_not_wait_for_long_ones(toy_cache: Any, long: int) -> None:
    """It has its first token two steps after it came, while the first of the long ones keeps most of every step."""
    room = capacity(running=8, seats=10, cells=2000, context=400, chunk=32)
    run = Run(Scheduler(room), toy_cache(room))
    first = run.add([2] * 300, 1)
    for number in range(1, long):
        run.add([number, 0] * 150, 1)
    run.step()
    short = run.add([0, 1, 0, 2, 1], 4)
    run.step()
    assert short in {sequence for read in run.step().reads for sequence in read.sequences}
    while first in run.open:
        run.step()
    assert len(run.steps) <= 1 + 300 / 24


def test_a_head_that_others_wait_for_has_the_whole_step(toy_cache: Any) -> None:
    """What is kept for short prompts is not wasted where there are none."""
    room = capacity(running=8, seats=10, cells=2000, context=400, chunk=32)
    run = Run(Scheduler(room), toy_cache(room))
    for number in range(4):
        run.add([1] * 320 + [number % 3, number // 3], 1)
    assert [len(run.step().tokens) for _ in range(10)] == [32] * 10


def test_higher_priority_runs_first(toy_cache: Any) -> None:
    """With one seat to run in, the sequence of highest priority goes first, then the first to arrive."""
    room = capacity(running=1, seats=2)
    run = Run(Scheduler(room), toy_cache(room))
    low, lower, high = run.add([1], 1), run.add([2], 1, -1.0), run.add([0], 1, 5.0)
    order = []
    while run.open:
        order += [sequence for read in run.step().reads for sequence in read.sequences]
    assert order == [high, low, lower]


def test_nobody_is_passed_for_want_of_cells(toy_cache: Any) -> None:
    """A large request that has to wait for cells is not starved by small ones that would fit before it."""
    room = capacity(running=4, seats=6, cells=40, context=40, chunk=40)
    run = Run(Scheduler(room), toy_cache(room))
    run.add([1] * 20, 8)
    run.step()
    large = run.add([2] * 30, 2)
    small = [run.add([0, number % 3, number // 3], 2) for number in range(6)]
    run.finish()
    began = {
        sequence: index
        for index, step in reversed(list(enumerate(run.steps)))
        for read in step.reads
        for sequence in read.sequences
    }
    assert all(began[large] <= began[sequence] for sequence in small)


def test_a_parked_sequence_keeps_its_tokens(toy_cache: Any) -> None:
    """When sequences outgrow the cells, the last one waits, and goes on later without a token lost or changed."""
    room = capacity(running=3, seats=4, cells=66, context=40, chunk=45)
    run = Run(Scheduler(room), toy_cache(room))
    prompts = [prompt for prompt in ([number, 1, 2, number] for number in range(99)) if len(alone(prompt, 36)) > 20][:3]
    sequences = [run.add(prompt, 36) for prompt in prompts]
    run.step()
    assert run.scheduler.running == 3
    parked = 0
    while run.open:
        run.step()
        parked = max(parked, run.scheduler.waiting)
    assert parked
    for sequence, prompt in zip(sequences, prompts, strict=True):
        assert run.answers[sequence] == alone(prompt, 36)


def test_the_least_recently_wanted_prefix_goes_first(toy_cache: Any) -> None:
    """Where cells are needed, the prefix that was wanted last is still there afterwards, the one before it is not."""
    room = capacity(running=1, seats=8, cells=60, context=40, chunk=60)
    run = Run(Scheduler(room), toy_cache(room))
    cold, warm = [1] * 20, [2] * 20
    for prompt in (cold, warm, [0] * 20, warm):
        run.add(prompt, 1)
        run.finish()
    run.add([1, 2] * 10, 1)
    run.finish()
    before = run.cache.computed
    run.add(warm, 1)
    run.finish()
    assert run.cache.computed - before == 1


@anything_goes
@given(CAPACITIES, EVENTS)
def test_exact_prompts_are_never_computed_token_by_token(
    toy_cache: Any, capacity: Capacity, events: list[tuple[Any, ...]]
) -> None:
    """Where answers must be exact, every piece of a prompt has at least two tokens, unless the prompt has but one; and
    nothing that was decoded serves as a prefix."""
    room = replace(capacity, exact=True, cells=capacity.context * capacity.seats)
    run = Run(Scheduler(room), toy_cache(room))
    play(run, events)
    run.finish()
    decoded: dict[int, list[bool]] = {}
    """By seat: which of its cells were decoded."""
    for step in run.steps:
        for change in step.changes:
            if isinstance(change, Copy):
                decoded[change.target] = decoded[change.source][: change.length]
                assert not any(decoded[change.target])
            else:
                del decoded.get(change.seat, [])[change.length :]
        for seat, count in Counter(step.seats).items():
            before = decoded.setdefault(seat, [])
            before += [count == 1 and bool(before)] * count


def test_a_model_that_cannot_share_computes_everything(toy_cache: Any) -> None:
    """Without sharing, no copy is ever planned and no part of a seat is ever cut: only whole seats are emptied."""
    room = capacity(sharing=False, running=3, seats=3, cells=200)
    run = Run(Scheduler(room), toy_cache(room))
    for _ in range(5):
        run.add([1, 2, 1], 3)
    run.finish()
    assert run.cache.computed >= 15
    assert all(hasattr(change, "seat") and change.length == 0 for step in run.steps for change in step.changes)
