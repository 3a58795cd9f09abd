"""The scripted engine keeps the contract of an engine, and complains about scripts that cannot."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from swarmcode.engine.protocol import Completion, Engine, Request, Sampling, Segment
from swarmcode.engine.scripted import CHAT, SPAN, VOCABULARY, ScriptedEngine, ScriptError
from swarmcode.errors import EngineLost, UsageError


def ask(engine: Engine, **changes: Any) -> tuple[Completion, ...]:
    fields: dict[str, Any] = {"prompt": (Segment(text="héllo"),), "sampling": Sampling(max_tokens=9)} | changes
    return asyncio.run(engine.complete(Request(**fields)))


class Below:
    """A constraint to tokens below a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_] | None:
        return np.arange(VOCABULARY) < self.limit


def test_answers_come_in_the_order_of_the_script() -> None:
    """One for each seed; the prompt and the answer are counted."""
    engine: Engine = ScriptedEngine(["one", "two", "three"])
    first, second = ask(engine, seeds=(1, 2))
    (third,) = ask(engine)
    assert [first.text, second.text, third.text] == ["one", "two", "three"]
    assert (first.usage.prefilled, first.usage.decoded, first.finish) == (6, 4, "stop")
    assert len(first.logprobs) == 4
    assert engine.load.usage.decoded == 4 + 4 + 6


def test_a_script_may_be_a_function() -> None:
    """Of the request and the seed."""
    engine = ScriptedEngine(lambda request, seed: f"{request.prompt[0].text} {seed}")
    assert [each.text for each in ask(engine, seeds=(4, 5))] == ["héllo 4", "héllo 5"]


def test_a_script_that_runs_out_is_an_error() -> None:
    """It never makes up an answer."""
    engine = ScriptedEngine(["one"])
    ask(engine)
    with pytest.raises(ScriptError, match="run out"):
        ask(engine)


def test_a_script_may_give_whole_completions() -> None:
    """With log-probabilities and likeliest tokens of its own; the constraint holds for them too."""
    scored = Completion(text="A", tokens=(65,), logprobs=(-0.5,), finish="length", tops=(((65, -0.5), (66, -1.0)),))
    assert ask(ScriptedEngine([scored])) == (scored,)
    with pytest.raises(ScriptError, match="forbids"):
        ask(ScriptedEngine([scored]), constraint=Below(65))


def test_an_exception_in_the_script_is_raised() -> None:
    """So that a lost engine can be played."""
    with pytest.raises(EngineLost, match="played"):
        ask(ScriptedEngine([EngineLost("played")]))


def test_an_answer_that_the_constraint_forbids_is_an_error() -> None:
    """A model could not have given it, so no test may build on it."""
    assert ask(ScriptedEngine([(65, 66)]), constraint=Below(67))[0].text == "AB"
    with pytest.raises(ScriptError, match="token 1 of the scripted answer is 67"):
        ask(ScriptedEngine([(65, 67)]), constraint=Below(67))


def test_stops_and_limits_cut_the_answer() -> None:
    """As an engine's do."""
    by_text, by_token, by_length = (
        ask(ScriptedEngine(["some text here"]), stop=(" text",))[0],
        ask(ScriptedEngine([(65, 66, 257, 67)]), stop_tokens=(257,))[0],
        ask(ScriptedEngine(["some text here"]), sampling=Sampling(max_tokens=4))[0],
    )
    assert (by_text.text, by_text.finish) == ("some", "stop")
    assert (by_token.tokens, by_token.finish, len(by_token.logprobs)) == ((65, 66), "stop", 3)
    assert (by_length.text, by_length.finish, len(by_length.logprobs)) == ("some", "length", 4)


def test_what_does_not_fit_is_refused() -> None:
    """As an engine does."""
    with pytest.raises(UsageError, match="do not fit"):
        ask(ScriptedEngine(["x"], SPAN), sampling=Sampling(max_tokens=5000))


def test_a_closed_engine_is_lost() -> None:
    """As an engine is."""
    engine = ScriptedEngine(["x"])
    asyncio.run(engine.close())
    with pytest.raises(EngineLost):
        ask(engine)


def test_tokens_are_bytes_and_control_tokens_only_where_they_are_asked_for() -> None:
    """Untrusted text that spells a control token stays text."""
    engine = ScriptedEngine([], CHAT)
    assert engine.tokenize("a<|bug|>é", special=True) == (97, 258, 195, 169)
    assert len(engine.tokenize("a<|bug|>é")) == 10
    assert engine.detokenize((97, 258, 195, 169)).decode() == "aé"
