"""The engine on a toy model: what callers get, whoever else asks, and what happens when something goes wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from swarmcode.engine.batched import BatchedEngine
from swarmcode.engine.pace import Pace
from swarmcode.engine.protocol import Completion, Profile, Request, Sampling, Segment
from swarmcode.engine.step import Capacity
from swarmcode.errors import EngineLost, ModelError, StepLost, UsageError

T = TypeVar("T")
PROFILE = Profile(name="toy", protocols=("span",), context=1000)
ROOM = Capacity(running=100, seats=110, cells=5000, context=60, chunk=128)


def play(backend: Any, story: Callable[[BatchedEngine], Awaitable[T]], *, drafting: bool = True) -> T:
    """Runs `story` on an engine that is closed afterwards."""

    async def main() -> T:
        engine = BatchedEngine(backend, PROFILE, drafting=drafting)
        try:
            return await story(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


def asking(tokens: Sequence[int], *seeds: int, **changes: Any) -> Request:
    fields: dict[str, Any] = {"sampling": Sampling(max_tokens=12), "seeds": seeds or (0,)} | changes
    return Request(prompt=(Segment(tokens=tuple(tokens)),), **fields)


class Only:
    """A constraint to some tokens."""

    def __init__(self, *tokens: int) -> None:
        self.mask = np.isin(np.arange(8), tokens)

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_] | None:
        return self.mask


class Broken:
    """A constraint with a fault."""

    def __init__(self, after: int) -> None:
        self.after = after

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_] | None:
        if len(generated) >= self.after:
            raise ZeroDivisionError("a fault in the constraint")
        return None


def answers(completions: Sequence[Completion]) -> list[tuple[tuple[int, ...], tuple[float, ...], str]]:
    return [(each.tokens, each.logprobs, each.text) for each in completions]


def test_an_answer_is_the_same_whoever_else_asks(toy: Any) -> None:
    """Equal requests and seeds give equal answers, alone and among a hundred, with any sampling."""
    rules = [Sampling(max_tokens=12, temperature=t, top_k=k) for t in (0.0, 0.7, 1.0) for k in (0, 3)]
    requests = [asking([1 + n % 3, 2, 1 + n % 2], n, n + 1, sampling=rules[n % 6]) for n in range(60)]

    async def together(engine: BatchedEngine) -> list[tuple[Completion, ...]]:
        return await asyncio.gather(*map(engine.complete, requests))

    async def one_by_one(engine: BatchedEngine) -> list[tuple[Completion, ...]]:
        return [await engine.complete(request) for request in requests]

    first, second = play(toy(ROOM), together), play(toy(ROOM), one_by_one)
    assert [answers(each) for each in first] == [answers(each) for each in second]


def test_requests_made_together_are_one_batch(toy: Any) -> None:
    """A hundred callers with one prompt: it is computed once, and every later step has all that still run."""
    backend = toy(ROOM)
    request = [asking([1, 2, 3, 4, 5], n, constraint=Only(1, 2, 3)) for n in range(100)]

    async def story(engine: BatchedEngine) -> list[tuple[Completion, ...]]:
        return await asyncio.gather(*map(engine.complete, request))

    results = [each for (each,) in play(backend, story, drafting=False)]
    assert backend.batches == [5] + [100] * 11
    assert sum(each.usage.prefilled for each in results) == 5
    assert sum(each.usage.reused for each in results) == 99 * 5
    assert all(each.usage.decoded == 12 for each in results)


def test_the_seeds_of_a_request_share_its_prompt(toy: Any) -> None:
    """Several answers come in the order of the seeds, and only one of them pays for the prompt."""
    completions = play(toy(ROOM), lambda engine: engine.complete(asking([1, 2, 3], 5, 6, 5)))
    assert [each.usage.prefilled for each in completions] == [3, 0, 0]
    assert answers(completions)[0] == answers(completions)[2]
    singles = [play(toy(ROOM), lambda engine, s=s: engine.complete(asking([1, 2, 3], s)))[0] for s in (5, 6)]
    assert answers(singles) == answers(completions[:2])


def test_an_end_token_ends_the_answer_and_is_not_part_of_it(toy: Any) -> None:
    """The model's own end token has a log-probability, but is no token of the answer."""
    (one,) = play(toy(ROOM), lambda engine: engine.complete(asking([1], constraint=Only(0))))
    assert (one.tokens, one.text, one.finish, len(one.logprobs)) == ((), "", "stop", 1)
    assert one.logprobs[0] == 0.0


def test_stop_tokens_end_the_answer(toy: Any) -> None:
    """So does a token that the request names."""
    (one,) = play(toy(ROOM), lambda engine: engine.complete(asking([1], constraint=Only(4), stop_tokens=(4,))))
    assert (one.tokens, one.finish) == ((), "stop")


def test_stop_strings_end_the_text_before_them(toy: Any) -> None:
    """A stop string that spans tokens is found, and the text ends before it; the tokens stay as generated."""
    (one,) = play(toy(ROOM), lambda engine: engine.complete(asking([1], constraint=Only(3), stop=("zz", "cc"))))
    assert (one.text, one.tokens, one.finish) == ("", (3, 3), "stop")
    assert len(one.logprobs) == 2


def test_the_likeliest_tokens_are_reported_where_they_are_asked_for(toy: Any) -> None:
    """For each generated token, that which ended the answer included; without them the answer is the same."""
    request = asking([1, 2], 3, 4, top=3, constraint=Only(0, 2, 3, 5))

    async def story(engine: BatchedEngine) -> list[tuple[Completion, ...]]:
        return await asyncio.gather(engine.complete(request), engine.complete(replace(request, top=0)))

    told, plain = play(toy(ROOM), story)
    assert answers(told) == answers(plain)
    assert not any(each.tops for each in plain)
    for each in told:
        assert len(each.tops) == len(each.logprobs)
        generated = each.tokens if each.finish == "length" else (*each.tokens, 0)
        for token, logprob, top in zip(generated, each.logprobs, each.tops, strict=True):
            assert len(top) == 3
            assert {one for one, _ in top} <= {0, 2, 3, 5}
            assert dict(top).get(token, logprob) == logprob
            assert [one for _, one in top] == sorted((one for _, one in top), reverse=True)


def test_the_answer_is_cut_at_max_tokens(toy: Any) -> None:
    """An answer that goes on is cut, and says so."""
    (one,) = play(toy(ROOM), lambda engine: engine.complete(asking([1], constraint=Only(3, 5))))
    assert (len(one.tokens), one.finish) == (12, "length")


def test_where_nothing_may_follow_the_answer_is_complete(toy: Any) -> None:
    """A constraint that allows nothing ends the answer."""
    (one,) = play(toy(ROOM), lambda engine: engine.complete(asking([1], constraint=Only())))
    assert (one.tokens, one.logprobs, one.finish) == ((), (), "stop")


def test_a_schema_holds_together_with_a_constraint(toy: Any) -> None:
    """Both restrict the answer."""
    request = asking([1], 1, 2, constraint=Only(2, 3, 4), schema="{}")
    completions = play(toy(ROOM), lambda engine: engine.complete(request))
    assert {token for each in completions for token in each.tokens} == {3}
    with pytest.raises(ModelError, match="impossible"):
        play(toy(ROOM), lambda engine: engine.complete(asking([1], schema="impossible")))


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (asking([1] * 49), "do not fit the context of 60"),
        (asking([]), "the prompt is empty"),
        (asking([1, 8]), "tokens that toy does not know"),
        (asking([-1]), "tokens that toy does not know"),
        (asking([1], sampling=Sampling(max_tokens=0)), "0 tokens"),
        (asking([1], top=-1), "-1 likeliest"),
    ],
)
def test_a_request_that_can_never_be_answered_is_refused(toy: Any, request_: Request, complaint: str) -> None:
    """At once, with what is wrong, and without a step of the model."""
    backend = toy(ROOM)
    with pytest.raises(UsageError, match=complaint):
        play(backend, lambda engine: engine.complete(request_))
    assert not backend.batches


def test_no_seeds_are_no_answers(toy: Any) -> None:
    """A request for nothing is answered with nothing."""
    request = Request(prompt=(Segment(tokens=(1,)),), sampling=Sampling(), seeds=())
    assert play(toy(ROOM), lambda engine: engine.complete(request)) == ()


def test_a_begin_token_is_put_before_text_that_lacks_it(toy: Any) -> None:
    """Never twice, and never before tokens that were given as such."""
    backend = toy(ROOM)
    backend.begin = (7,)

    async def story(engine: BatchedEngine) -> list[int]:
        lengths = []
        for segment in (Segment(text="bc"), Segment(tokens=(3, 4)), Segment(text=chr(6))):
            request = Request(prompt=(segment,), sampling=Sampling(max_tokens=1))
            (one,) = await engine.complete(request)
            lengths.append(one.usage.prefilled + one.usage.reused)
        return lengths

    assert backend.tokenize(chr(6), special=False) == (7,)
    assert play(backend, story) == [3, 2, 1]


def test_cancelling_a_task_frees_what_it_held(toy: Any) -> None:
    """Tasks that are cancelled while the model computes for them are gone with the next step, and the answer of the
    one that remains is as ever."""
    backend = toy(ROOM)
    backend.go.clear()

    async def story(engine: BatchedEngine) -> tuple[Any, list[Any], Any]:
        endless = [asking([1, n % 5], n, constraint=Only(1), sampling=Sampling(max_tokens=50)) for n in range(40)]
        kept = asyncio.create_task(engine.complete(asking([2, 3], 9)))
        tasks = [asyncio.create_task(engine.complete(request)) for request in endless]
        await asyncio.to_thread(backend.entered.wait)
        for task in tasks:
            task.cancel()
        gone = await asyncio.gather(*tasks, return_exceptions=True)
        backend.go.set()
        return await kept, gone, engine.load

    kept, gone, load = play(backend, story, drafting=False)
    assert all(isinstance(each, asyncio.CancelledError) for each in gone)
    assert max(backend.batches[1:], default=1) == 1
    assert load.waiting == 0
    assert answers(kept) == answers(play(toy(ROOM), lambda engine: engine.complete(asking([2, 3], 9))))


def copying(backend: Any) -> Any:
    """The toy, which from now on mostly goes on with what followed when its last two tokens stood there before."""
    plain = backend.logits

    def logits(tokens: Sequence[int]) -> NDArray[np.float32]:
        row: NDArray[np.float32] = plain(tokens) * 0.5
        places = [n for n in range(len(tokens) - 2) if list(tokens[n : n + 2]) == list(tokens[-2:])]
        if places:
            row[tokens[places[-1] + 2]] += 5
        return row

    backend.logits = logits
    return backend


@pytest.mark.parametrize("strides", [False, True])
@pytest.mark.parametrize("copies", [False, True])
def test_guessed_tokens_change_no_answer(
    toy: Any, copies: bool, strides: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is guessed, with any sampling, constraint, stop string and likeliest tokens, answers are those that
    they are without; and where text is copied, they take fewer steps. In strides, too."""
    # How fast this machine is right now is no matter.
    monkeypatch.setattr(Pace, "seconds", lambda pace, tokens: 1 + 0.1 * tokens)
    rules = [Sampling(max_tokens=40, temperature=t, top_k=k) for t in (0.0, 0.7, 1.0) for k in (0, 3)]
    rules += [Sampling(max_tokens=40, repetition=0.8, frequency=-0.1), Sampling(max_tokens=40, bias=((3, 2.0),))]
    limits: list[dict[str, Any]] = [
        {},
        {"constraint": Only(0, 1, 2, 3, 5)},
        {"stop": ("bc", "aab")},
        {"top": 2},
        {"schema": "{}"},
        {"stop_tokens": (4,)},
    ]
    prompt = [1, 2, 3, 4, 5, 6, 7, 1, 3, 5, 7, 2, 4, 6] * 3
    room = replace(ROOM, context=120, running=4)  # there are no guesses for a crowd
    requests = [asking(prompt[: 20 + n % 9], n, n + 1, sampling=rules[n % 8], **limits[n // 8 % 6]) for n in range(48)]

    async def story(engine: BatchedEngine) -> tuple[list[tuple[Completion, ...]], int, int]:
        some = await asyncio.gather(*map(engine.complete, requests))
        alone = [await engine.complete(request) for request in requests[:6]]
        return some + alone, engine.steps, engine.load.accepted

    def told(completions: list[tuple[Completion, ...]]) -> list[Any]:
        return [(answers(each), [(one.tops, one.usage.decoded) for one in each]) for each in completions]

    one, other = (copying(toy(room)) if copies else toy(room) for _ in range(2))
    one.strides = strides
    drafted, steps, accepted = play(one, story)
    plain, most, none = play(other, story, drafting=False)
    assert told(drafted) == told(plain)
    assert accepted > none == 0
    if copies:
        assert steps < 0.8 * most


def test_a_fault_behind_guessed_tokens_ends_its_own_request_only(toy: Any) -> None:
    """A constraint that raises in the middle of them, or logits that are no numbers, harm nobody else."""
    fine = asking([1, 2, 3] * 5, 1, sampling=Sampling(max_tokens=30, temperature=0))
    alone = play(copying(toy(ROOM)), lambda engine: engine.complete(fine))

    async def story(engine: BatchedEngine) -> list[Any]:
        broken = [replace(fine, constraint=Broken(after), seeds=(after,)) for after in range(3, 20)]
        return await asyncio.gather(engine.complete(fine), *map(engine.complete, broken), return_exceptions=True)

    first, *rest = play(copying(toy(ROOM)), story)
    assert answers(first) == answers(alone)
    assert all(isinstance(each, EngineLost) for each in rest)


def test_a_constraint_that_raises_ends_its_own_request_only(toy: Any) -> None:
    """The caller gets the fault; all others their answers; and the engine goes on."""

    async def story(engine: BatchedEngine) -> list[Any]:
        requests = [asking([1, 2], 1), asking([1, 2], 2, 3, constraint=Broken(2)), asking([2], 4)]
        first = await asyncio.gather(*map(engine.complete, requests), return_exceptions=True)
        return [*first, await engine.complete(requests[0])]

    first, broken, third, again = play(toy(ROOM), story)
    assert isinstance(broken, EngineLost)
    assert isinstance(broken.__cause__, ZeroDivisionError)
    assert answers(first) == answers(again)
    assert third[0].tokens


def test_a_mask_of_the_wrong_length_is_a_fault_of_the_request(toy: Any) -> None:
    """It is not stretched or cut to fit."""

    class Short(Only):
        def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_] | None:
            return self.mask[:3]

    with pytest.raises(EngineLost, match="vocabulary of 8"):
        play(toy(ROOM), lambda engine: engine.complete(asking([1], constraint=Short(1))))


def test_a_step_that_fails_ends_the_requests_in_it_only(toy: Any) -> None:
    """Those get the reason, and the engine goes on with the next."""
    backend = toy(ROOM)
    backend.failing = {1}

    async def story(engine: BatchedEngine) -> tuple[list[Any], Any]:
        both = [asking([1, 2], 1, constraint=Only(1)), asking([2], 2, constraint=Only(1))]
        lost = await asyncio.gather(*map(engine.complete, both), return_exceptions=True)
        return lost, await engine.complete(asking([1, 2], 1))

    lost, (after,) = play(backend, story)
    assert [type(each) for each in lost] == [StepLost, StepLost]
    assert "the toy fails" in str(lost[0])
    assert answers([after]) == answers(play(toy(ROOM), lambda engine: engine.complete(asking([1, 2], 1))))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_in_the_thread_ends_every_request(toy: Any) -> None:
    """Nobody is left waiting, later callers are told too, and the backend is freed."""
    backend = toy(ROOM)

    async def story(engine: BatchedEngine) -> list[Any]:
        backend.broken = RuntimeError("nobody expected this")
        pending = [engine.complete(asking([n % 5], n)) for n in range(20)]
        lost = await asyncio.gather(*pending, return_exceptions=True)
        return [*lost, *await asyncio.gather(engine.complete(asking([1])), return_exceptions=True)]

    lost = play(backend, story)
    assert len(lost) == 21
    assert all(isinstance(each, EngineLost) and "nobody expected this" in str(each) for each in lost)
    assert backend.closed == 1


def test_closing_ends_pending_requests_and_later_ones(toy: Any) -> None:
    """They raise `EngineLost`; closing again does nothing."""
    backend = toy(ROOM)

    async def story(engine: BatchedEngine) -> list[Any]:
        endless = asking([1], constraint=Only(1), sampling=Sampling(max_tokens=50))
        pending = asyncio.gather(*[engine.complete(endless) for _ in range(5)], return_exceptions=True)
        await asyncio.sleep(0)
        await engine.close()
        await engine.close()
        return [*await pending, *await asyncio.gather(engine.complete(endless), return_exceptions=True)]

    lost = play(backend, story)
    assert len(lost) == 6
    assert all(isinstance(each, EngineLost) for each in lost)
    assert backend.closed == 1


def test_the_load_counts_what_was_computed(toy: Any) -> None:
    """Prefilled, reused and decoded tokens over all requests; nothing runs when all have ended."""

    async def story(engine: BatchedEngine) -> Any:
        results = [await engine.complete(asking([1, 2, 3, 4], 1, 2)) for _ in range(3)]
        await engine.close()
        return [each for result in results for each in result], engine.load

    completions, load = play(toy(ROOM), story)
    assert (load.running, load.waiting) == (0, 0)
    assert load.usage.prefilled == sum(each.usage.prefilled for each in completions) == 4 + 1 + 1
    assert load.usage.reused == sum(each.usage.reused for each in completions)
    assert load.usage.decoded == sum(each.usage.decoded for each in completions)
    assert load.usage.seconds > 0


def test_logits_that_are_no_numbers_end_the_request(toy: Any) -> None:
    """A damaged model is reported, not sampled from."""
    backend = toy(ROOM)
    backend.logits = lambda tokens: np.full(8, np.nan, np.float32)
    with pytest.raises(ModelError, match="not numbers"):
        play(backend, lambda engine: engine.complete(asking([1])))


def test_tokens_and_bytes(toy: Any) -> None:
    """Text is tokenized by itself, and tokens stand for bytes; control tokens for none."""
    backend = toy(ROOM)

    async def story(engine: BatchedEngine) -> tuple[tuple[int, ...], bytes]:
        return engine.tokenize("ab"), engine.detokenize([1, 0, 2])

    assert play(backend, story) == (backend.tokenize("ab", special=False), b"ab")
