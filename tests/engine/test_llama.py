"""The engine on real models through llama.cpp: isolation, sharing, batching, ends, and files that cannot be loaded."""

import asyncio
import inspect
import json
import os
import statistics
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from swarmcode.engine.backend import StepFailed
from swarmcode.engine.batched import BatchedEngine
from swarmcode.engine.budget import Layout
from swarmcode.engine.llama.backend import LlamaBackend, Room
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import ModelFile, describe, resolve
from swarmcode.engine.protocol import Completion, Request, Sampling, Segment
from swarmcode.engine.step import Read, Step
from swarmcode.errors import EngineLost, ModelError, UsageError

pytestmark = pytest.mark.model

T = TypeVar("T")
Writer = Callable[..., Path]
END, BUG, FIX, BEGIN, FIRST_POINTER = 1, 2, 3, 4, 4032

SOURCE = [line for line in inspect.getsource(statistics).splitlines() if line.strip() and ">>>" not in line]


def window(number: int) -> tuple[str, str, str]:
    """Some lines of real code: those before a suspect line, the line, those after it."""
    at = 8 + number * 37 % (len(SOURCE) - 20)
    before, after = SOURCE[at - 2 - number % 6 : at], SOURCE[at + 1 : at + 6]
    return "".join(f"{line}\n" for line in before), SOURCE[at], "".join(f"\n{line}" for line in after)


class Span:
    """The answers that span edits can have: two pointers in order, then ordinary tokens."""

    def __init__(self, last: int) -> None:
        self.last = last

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        tokens = np.arange(4096)
        if len(generated) < 2:
            first = generated[0] if generated else FIRST_POINTER
            return (tokens >= first) & (tokens <= FIRST_POINTER + self.last)
        return (tokens < FIRST_POINTER) & ((tokens == END) | (tokens > BEGIN))


def asking(engine: BatchedEngine, number: int, *seeds: int, temperature: float = 1.0, **changes: Any) -> Request:
    """A request as the span agent makes it."""
    before, line, after = window(number)
    tokens = engine.tokenize(line)[:59]
    line_parts = [part for index, token in enumerate(tokens) for part in (FIRST_POINTER + index, token)]
    suspect = (BUG, *line_parts, FIRST_POINTER + len(tokens), BUG)
    prompt = (BEGIN, *engine.tokenize(before), *suspect, *engine.tokenize(after), FIX)
    fields: dict[str, Any] = {
        "sampling": Sampling(temperature=temperature, max_tokens=16),
        "seeds": seeds or (0,),
        "constraint": Span(len(tokens)),
    }
    return Request(prompt=(Segment(tokens=prompt),), **(fields | changes))


def play(model: ModelFile, story: Callable[[BatchedEngine], Awaitable[T]], **options: Any) -> T:
    """Runs `story` on an engine that is closed afterwards."""

    async def main() -> T:
        engine = await open_engine(model, **options)
        try:
            return await story(engine)
        finally:
            await engine.close()

    return asyncio.run(main())


def answers(completions: Sequence[Completion]) -> list[tuple[tuple[int, ...], tuple[float, ...], str, str]]:
    return [(each.tokens, each.logprobs, each.text, each.finish) for each in completions]


async def together(engine: BatchedEngine, requests: Sequence[Request]) -> list[tuple[Completion, ...]]:
    return await asyncio.gather(*map(engine.complete, requests))


def test_batched_answers_are_those_of_one_at_a_time() -> None:
    """To the last bit of every log-probability, greedy and sampled, some prompts equal, some alike: in a batch of a
    hundred on all threads, and one after another on one thread with room for nothing else."""

    async def batched(engine: BatchedEngine) -> list[Any]:
        requests = [asking(engine, n // 3, n, temperature=n % 4 / 3) for n in range(90)]
        return [answers(each) for each in await together(engine, requests)]

    async def alone(engine: BatchedEngine) -> list[Any]:
        requests = [asking(engine, n // 3, n, temperature=n % 4 / 3) for n in range(90)]
        return [answers(await engine.complete(request)) for request in requests]

    first = play(resolve("repair"), batched)
    assert first == play(resolve("repair"), alone, agents=1, threads=1)
    assert len({tokens for ((tokens, *_),) in first}) > 30


@pytest.mark.parametrize(("count", "stop"), [(1, ()), (1, ("return",)), (9, ())])
def test_strides_say_what_single_steps_say(count: int, stop: tuple[str, ...]) -> None:
    """To the last bit: what is computed together is the same. With far fewer rounds of Python."""
    model = resolve("repair")
    rounds: list[int] = []

    def answered(strides: bool) -> list[Any]:
        backend = LlamaBackend(model, Room(agents=16, exact=False), threading.Event())
        assert backend.strides
        backend.ends = frozenset()
        backend.strides, plain = strides, backend.run
        backend.run = lambda step: (rounds.append(strides), plain(step))[1]  # type: ignore[method-assign,func-returns-value]

        async def main() -> list[Any]:
            engine = BatchedEngine(backend, model.profile, drafting=False)
            try:
                sampling = Sampling(temperature=1.0, max_tokens=60)
                asked = [asking(engine, n, n, constraint=None, sampling=sampling, stop=stop) for n in range(count)]
                return [answers(each) for each in await together(engine, asked)]
            finally:
                await engine.close()

        return asyncio.run(main())

    assert answered(True) == answered(False)
    assert stop or 3 * rounds.count(True) < rounds.count(False)


def test_copied_text_is_guessed_in_strides() -> None:
    """Most tokens of a passage that repeats itself are guessed right, with few rounds of Python, and they are those
    that the model gives one at a time, but for what batches round otherwise."""
    model = resolve("repair")
    passage = "\n".join(SOURCE[40:52])

    async def main() -> tuple[Completion, list[int], int, int]:
        backend = LlamaBackend(model, Room(agents=4, exact=False), threading.Event())
        backend.ends = frozenset()
        rounds: list[int] = []
        plain = backend.stride
        backend.stride = lambda *given: (rounds.append(1), plain(*given))[1]  # type: ignore[method-assign,func-returns-value]
        engine = BatchedEngine(backend, model.profile)
        try:
            prompt = engine.tokenize(passage + "\n" + passage[: len(passage) // 2])

            async def greedy(tokens: Sequence[int], count: int) -> Completion:
                sampling = Sampling(temperature=0.0, max_tokens=count)
                (found,) = await engine.complete(
                    Request(prompt=(Segment(tokens=tuple(tokens)),), sampling=sampling, seeds=(0,))
                )
                return found

            await greedy(prompt[:9], 2)
            said, load, steps = await greedy(prompt, 120), engine.load, engine.steps
            behind = [await greedy([*prompt, *said.tokens[:count]], 1) for count in range(0, 120, 6)]
        finally:
            await engine.close()
        assert sum(rounds) < steps
        again = [each.tokens[0] for each in behind]
        return said, again, load.accepted, steps

    said, again, accepted, steps = asyncio.run(main())
    assert accepted > 60
    assert steps < 60
    same = sum(one == other for one, other in zip(again, said.tokens[::6], strict=True))
    assert same >= 18


def test_canaries_among_cancelled_requests_are_untouched() -> None:
    """While others begin, share heads and are cancelled at any moment, canaries get the answers they get alone."""
    model = resolve("repair")
    order = np.random.default_rng(11)

    async def story(engine: BatchedEngine) -> list[tuple[Completion, ...]]:
        canaries, noise = [], []
        for n in range(40):
            canaries.append(asyncio.create_task(engine.complete(asking(engine, n % 15, n))))
            noise += [asyncio.create_task(engine.complete(asking(engine, n % 15 + k, 100 * k + n))) for k in range(3)]
            for victim in order.permutation(len(noise))[:2]:
                noise[victim].cancel()
            if n % 4 == 0:
                await canaries[order.integers(len(canaries))]
        results = [await canary for canary in canaries]
        for task in noise:
            task.cancel()
        await asyncio.gather(*noise, return_exceptions=True)
        return results

    async def alone(engine: BatchedEngine) -> list[tuple[Completion, ...]]:
        return [await engine.complete(asking(engine, n % 15, n)) for n in range(40)]

    mixed, single = play(model, story, agents=12), play(model, alone)
    assert [answers(each) for each in mixed] == [answers(each) for each in single]


@pytest.mark.parametrize("layout", ["streams", "flash", "unified"])
def test_a_hundred_requests_decode_as_one_batch(layout: Layout) -> None:
    """As many steps as the longest answer has tokens, and a few for the prompts; equal prompts are computed once."""

    async def story(engine: BatchedEngine) -> tuple[list[Completion], int, int]:
        requests = [asking(engine, n % 10, n) for n in range(100)]
        prompts = {request.prompt[0].tokens for request in requests}
        completions = [each for (each,) in await together(engine, requests)]
        return completions, engine.steps, sum(map(len, prompts))

    completions, steps, distinct = play(resolve("repair"), story, layout=layout)
    assert steps <= max(each.usage.decoded for each in completions) + 4
    assert sum(each.usage.prefilled for each in completions) <= distinct
    assert sum(each.usage.reused for each in completions) >= 9 * distinct


def test_a_shared_head_is_computed_once(chat_gguf: Path) -> None:
    """Prompts that begin with the same long text: one computes it, all others reuse it, also those that come later."""
    head = "You mend programs. " * 20

    async def story(engine: BatchedEngine) -> list[Completion]:
        def request(number: int) -> Request:
            prompt = (Segment(text=head), Segment(text=f"{number}: what is wrong?"))
            return Request(prompt=prompt, sampling=Sampling(max_tokens=4), seeds=(number,))

        first = await together(engine, [request(number) for number in range(30)])
        later = await together(engine, [request(number) for number in range(30, 40)])
        return [each for (each,) in (*first, *later)]

    completions = play(describe(chat_gguf), story, agents=30)
    tails = sum(len(f"{number}: what is wrong?") for number in range(40))
    assert sum(each.usage.prefilled for each in completions) <= 1 + len(head) + tails
    assert all(each.usage.reused >= len(head) for each in completions[30:])


@pytest.mark.parametrize("layout", ["flash", "unified"])
def test_layouts_that_are_not_exact_answer_alike(chat_gguf: Path, layout: Layout) -> None:
    """With flash attention, greedy answers of a chat model are those of one request at a time."""

    async def story(engine: BatchedEngine) -> tuple[Any, Any]:
        requests = [
            Request(prompt=(Segment(text=f"Question {n % 7}?"),), sampling=Sampling(max_tokens=12, temperature=0))
            for n in range(30)
        ]
        return await together(engine, requests), [await engine.complete(request) for request in requests]

    batched, alone = play(describe(chat_gguf), story, agents=30, context=256, layout=layout)
    assert [each.tokens for (each,) in batched] == [each.tokens for (each,) in alone]
    assert [each.logprobs for (each,) in batched] == [pytest.approx(each.logprobs, abs=0.05) for (each,) in alone]


def test_more_requests_than_seats_wait_their_turn() -> None:
    """Three sequences at once, forty requests: all are answered, as they would be with more room."""

    async def story(engine: BatchedEngine) -> Any:
        return [answers(each) for each in await together(engine, [asking(engine, n % 10, n) for n in range(40)])]

    assert play(resolve("repair"), story, agents=3) == play(resolve("repair"), story)


def test_sequences_are_parked_when_cells_run_short(chat_gguf: Path) -> None:
    """With far fewer cells than the sequences grow to, every answer is still complete."""
    model = describe(chat_gguf)
    small = replace(model, profile=replace(model.profile, context=600))

    async def story(engine: BatchedEngine) -> list[Completion]:
        def request(number: int) -> Request:
            asked = (Segment(tokens=(1, *range(3 + number, 43 + number))),)
            return Request(prompt=asked, sampling=Sampling(max_tokens=250), seeds=(number,))

        return [each for (each,) in await together(engine, [request(number) for number in range(10)])]

    ended = play(small, story, agents=10, cells=700)
    assert all(each.finish == "stop" or len(each.tokens) == 250 for each in ended)
    assert sum(len(each.tokens) for each in ended) > 700


def test_a_request_longer_than_the_context_is_refused() -> None:
    """With the numbers, before anything is computed."""

    async def story(engine: BatchedEngine) -> None:
        await engine.complete(Request(prompt=(Segment(tokens=(5,) * 500),), sampling=Sampling(max_tokens=64)))

    with pytest.raises(UsageError, match="prompt of 500 tokens and an answer of 64 do not fit the context of 563"):
        play(resolve("repair"), story)


def test_closing_ends_requests_in_the_middle(chat_gguf: Path) -> None:
    """They raise `EngineLost`, and so does whatever is asked of the closed engine."""

    async def story(engine: BatchedEngine) -> list[Any]:
        request = Request(prompt=(Segment(text="and so on "),), sampling=Sampling(max_tokens=4000), stop_tokens=())
        pending = asyncio.gather(*[engine.complete(request) for _ in range(4)], return_exceptions=True)
        await engine.complete(replace(request, sampling=Sampling(max_tokens=1)))
        await engine.close()
        with pytest.raises(EngineLost):
            engine.tokenize("something new")
        return [*await pending, *await asyncio.gather(engine.complete(request), return_exceptions=True)]

    assert [type(each) for each in play(describe(chat_gguf), story)] == [EngineLost] * 5


def test_a_step_can_be_interrupted() -> None:
    """A step that is interrupted fails, so that closing need not wait for a large model."""
    backend = LlamaBackend(resolve("repair"), Room(agents=1), threading.Event())
    step = Step(tokens=[5, 6], positions=[0, 1], seats=[0, 0], reads=[Read(1, [0])])
    assert len(backend.run(step)) == 1
    backend.interrupt()
    with pytest.raises(StepFailed):
        backend.run(Step(tokens=[7, 8], positions=[2, 3], seats=[0, 0], reads=[Read(1, [0])]))
    backend.close()


def test_text_survives_tokenization(chat_gguf: Path) -> None:
    """Bytes come back as they were, control tokens stand for nothing, and their spelling only where it is asked for."""
    text = "def π(x):\n\treturn '<|bug|>' # 日本 🙂\r\n"

    async def story(engine: BatchedEngine) -> None:
        tokens = engine.tokenize(text)
        assert engine.detokenize(tokens).decode() == text
        assert engine.tokenize("", special=True) == ()
        assert engine.detokenize([-1, 10**6]) == b""

    async def span(engine: BatchedEngine) -> None:
        await story(engine)
        assert engine.tokenize("<|bug|>", special=True) == (BUG,)
        assert BUG not in engine.tokenize("<|bug|>")
        assert engine.detokenize([BEGIN, *engine.tokenize("x = 1"), END]) == b"x = 1"
        assert engine.profile.vocabulary == 4096

    play(describe(chat_gguf), story)
    play(resolve("repair"), span)


def test_a_begin_token_is_added_where_the_model_wants_it(chat_gguf: Path) -> None:
    """The chat model wants one before text; spelled in a template it is not doubled."""

    async def story(engine: BatchedEngine) -> list[int]:
        prompts = (Segment(text="ab"), Segment(text="<s>ab", special=True), Segment(tokens=(100, 101)))
        requests = [Request(prompt=(prompt,), sampling=Sampling(max_tokens=1)) for prompt in prompts]
        return [one.usage.prefilled + one.usage.reused for (one,) in await together(engine, requests)]

    assert play(describe(chat_gguf), story) == [3, 3, 2]


SCHEMA = """{"type": "object", "properties": {"ok": {"type": "boolean"},
                                              "n": {"oneOf": [{"const": 1}, {"enum": ["2"]}]}},
             "required": ["ok", "n"], "additionalProperties": false}"""


def test_an_answer_follows_its_schema(chat_gguf: Path) -> None:
    """Even a model of random weights answers with JSON that fits, and others in the batch are not held to it."""

    async def story(engine: BatchedEngine) -> tuple[Any, Any]:
        prompt, sampling = (Segment(text="plan"),), Sampling(max_tokens=200)
        held = Request(prompt=prompt, sampling=sampling, seeds=(1, 2, 3), schema=SCHEMA)
        free = Request(prompt=prompt, sampling=Sampling(max_tokens=20), seeds=(1, 2, 3))
        return await asyncio.gather(engine.complete(held), engine.complete(free))

    held, free = play(describe(chat_gguf), story)
    for each in held:
        assert each.finish == "stop"
        said = json.loads(each.text)
        assert set(said) == {"ok", "n"}
        assert said["ok"] in (True, False)
        assert said["n"] in (1, "2")
        assert len(each.logprobs) == len(each.tokens) + 1
    assert not any(each.text.startswith("{") for each in free)


@pytest.mark.parametrize(
    "schema", ["no json", '{"type": "fancy"}', '{"$ref": "#/nowhere"}', "[]", '{"uniqueItems": true}']
)
def test_a_schema_that_makes_no_grammar_is_refused(chat_gguf: Path, schema: str) -> None:
    """With a reason, and without harm to the engine."""

    async def story(engine: BatchedEngine) -> None:
        request = Request(prompt=(Segment(text="x"),), sampling=Sampling(max_tokens=4))
        with pytest.raises(ModelError, match="schema"):
            await engine.complete(replace(request, schema=schema))
        await engine.complete(request)

    play(describe(chat_gguf), story)


NESTED = {"properties": {"enum": {"const": 3}}, "required": ["enum"]}
OBJECTS = [
    ({"properties": {"a": {"enum": [1]}}, "required": ["a"]}, {"a": 1}),
    ({"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}], "$defs": {
        "a": {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"]},
        "b": {"type": "object", "properties": {"b": {"enum": [2]}}, "required": ["b"]},
    }}, {"a": 1, "b": 2}),
    ({"properties": {"properties": NESTED}, "required": ["properties"]}, {"properties": {"enum": 3}}),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "expected"), OBJECTS)
def test_objects_have_what_their_schema_names(chat_gguf: Path, schema: Any, expected: Any) -> None:
    """Nothing is invented, also where objects are combined of several."""

    async def story(engine: BatchedEngine) -> str:
        request = Request(prompt=(Segment(text="x"),), sampling=Sampling(max_tokens=200), schema=json.dumps(schema))
        ((found,),) = await together(engine, [request])
        return found.text

    said = json.loads(play(describe(chat_gguf), story))
    assert {key: said[key] for key in expected} == expected
    assert "allOf" in schema or said == expected


def test_weights_that_are_cut_or_wrong_are_refused(
    tmp_path: Path, chat_gguf: Path, gguf_writer: Writer, chat_header: Callable[..., dict[str, Any]], capfd: Any
) -> None:
    """A header can be whole where the file is not; the reason is llama.cpp's, the line is ours, and nothing else is
    printed."""
    content = chat_gguf.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: len(content) - 5000])
    gguf_writer(tmp_path / "strange.gguf", chat_header(**{"general.architecture": "strange"}))
    gguf_writer(tmp_path / "bare.gguf", chat_header())
    embedded = resolve("repair").path.read_bytes()
    (tmp_path / "half.gguf").write_bytes(embedded[: len(embedded) // 2])
    for name, reason in (
        ("cut.gguf", "is damaged or not whole"),
        ("strange.gguf", "unknown model architecture: 'strange'"),
        ("bare.gguf", "'token_embd.weight' not found"),
        ("half.gguf", "is damaged or not whole"),
    ):
        with pytest.raises(ModelError, match=reason) as error:
            asyncio.run(open_engine(describe(tmp_path / name)))
        assert str(tmp_path / name) in error.value.message
        assert "\n" not in error.value.message
        assert error.value.hint
    assert capfd.readouterr() == ("", "")


def test_a_file_that_vanished_is_refused(chat_gguf: Path, tmp_path: Path) -> None:
    """Between being described and being opened."""
    model = replace(describe(chat_gguf), path=tmp_path / "gone.gguf")
    with pytest.raises(ModelError, match="cannot load"):
        asyncio.run(open_engine(model))


@pytest.mark.parametrize("agents", [0, 1000])
def test_more_agents_than_can_be_told_apart_are_refused(agents: int) -> None:
    """Before anything is loaded."""
    with pytest.raises(UsageError, match=f"{agents} agents"):
        asyncio.run(open_engine(resolve("repair"), agents=agents))


def test_opening_is_quiet_and_can_be_repeated(capfd: Any) -> None:
    """Two engines on one model at once; neither prints anything."""

    async def main() -> list[tuple[Completion, ...]]:
        engines = [await open_engine(resolve("repair"), agents=4) for _ in range(2)]
        results = [await engine.complete(asking(engine, 0, 1)) for engine in engines]
        for engine in engines:
            await engine.close()
            await engine.close()
        return results

    first, second = asyncio.run(main())
    assert answers(first) == answers(second)
    assert capfd.readouterr() == ("", "")


def test_opening_can_be_cancelled() -> None:
    """The loading stops, and what was loaded is freed."""

    async def main() -> None:
        opening = asyncio.create_task(open_engine(resolve("repair")))
        await asyncio.sleep(0)
        opening.cancel()
        await opening

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_threads_do_not_spin_for_long() -> None:
    """The limit is set when llama.cpp is loaded: spinning threads starve, and are starved by, the tests beside them."""
    assert os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
