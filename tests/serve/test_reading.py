"""Answers in chat are told while they are being said: put together, they are what the whole answer says."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.dialect.choose import DIALECTS
from swarmcode.dialect.harmony import HARMONY
from swarmcode.dialect.hermes import HERMES
from swarmcode.dialect.kimi import KIMI
from swarmcode.dialect.messages import Tool
from swarmcode.dialect.said import Dialect
from swarmcode.serve.reading import Listening, Reader, Spoken

READ = Tool(name="read", description="Reads.", parameters={"type": "object", "properties": {"path": {}}})
CALL = '<tool_call>\n{"name": "read", "arguments": {"path": "a.py"}}\n</tool_call>'
KIMI_CALL = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.read:0<|tool_call_argument_begin|>"
    '{"path": "a.py"}<|tool_call_end|><|tool_calls_section_end|>'
)


def heard(reader: Reader, text: str, seed: int = 0) -> tuple[list[Spoken], Spoken]:
    """What is told when the text comes in pieces, piece by piece, and at the end."""
    listening, rng, told = Listening(reader), random.Random(seed), []
    while text:
        size = rng.randrange(1, 9)
        told.append(listening.take(text[:size]))
        text = text[size:]
    return told, listening.end()


def joined(told: list[Spoken], rest: Spoken) -> tuple[str, str]:
    return (
        "".join(each.thinking for each in [*told, rest]),
        "".join(each.content for each in [*told, rest]),
    )


@pytest.mark.parametrize(
    ("dialect", "opened", "text", "thinking", "content", "calls"),
    [
        (HERMES, False, "It is 3 < 4.", "", "It is 3 < 4.", 0),
        (HERMES, False, "\n    return x\n", "", "\n    return x\n", 0),
        (HERMES, False, " <think>\nHm.\n</think>\n\nYes: a<b\n", "Hm.", "Yes: a<b", 0),
        (HERMES, False, f"I look.\n{CALL}", "", "I look.", 1),
        (HERMES, False, CALL + "\n" + CALL, "", "", 2),
        (KIMI, True, f"First look.</think>I read it. {KIMI_CALL}", "First look.", "I read it.", 1),
        (KIMI, True, f"Never closed. {KIMI_CALL}", "Never closed.", "", 1),
        (KIMI, True, "Cut in a thou", "Cut in a thou", "", 0),
        (
            HARMONY,
            False,
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
            *("Hm.", "Yes.", 0),
        ),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_thoughts_words_and_calls(
    dialect: Dialect, opened: bool, text: str, thinking: str, content: str, calls: int, seed: int
) -> None:
    """However the text is cut into pieces; calls come whole, at the end."""
    told, rest = heard(Reader(dialect=dialect, tools=(READ,), opened=opened), text, seed)
    assert joined(told, rest) == (thinking, content)
    assert [(call.name, json.loads(call.arguments)) for call in rest.calls] == [("read", {"path": "a.py"})] * calls
    assert not any(each.calls for each in told)


def test_words_are_told_before_the_end() -> None:
    """Nearly all of them, though `<` may begin something."""
    text = "word " * 100 + "a < b " + "word " * 100
    told, rest = heard(Reader(dialect=HERMES, tools=(READ,)), text)
    assert len(rest.content) < 80
    assert joined(told, rest)[1] == text


@settings(max_examples=150, deadline=None)
@given(
    dialect=st.sampled_from([each for each in DIALECTS if each is not HARMONY]),
    pieces=st.lists(
        st.sampled_from(
            [
                "<think>",
                "</think>",
                "<",
                "</",
                "a",
                " ",
                "\n",
                CALL,
                KIMI_CALL,
                "<tool_call>",
                "<|tool_call_begin|>",
                "é",
            ]
        ),
        max_size=8,
    ),
    opened=st.booleans(),
    offered=st.booleans(),
    seed=st.integers(0, 9),
)
def test_nothing_is_lost(dialect: Dialect, pieces: list[str], opened: bool, offered: bool, seed: int) -> None:
    """Whatever a model says: calls are those of the whole answer, and its words are all told."""
    text = "".join(pieces)
    reader = Reader(dialect=dialect, tools=(READ,) if offered else (), opened=opened)
    told, rest = heard(reader, text, seed)
    whole = reader.whole(text)
    thinking, content = joined(told, rest)
    assert thinking.endswith(whole.thinking)
    assert content.endswith(whole.content)
    assert [(call.name, call.arguments) for call in rest.calls] == [(call.name, call.arguments) for call in whole.calls]


def test_words_that_look_like_a_call_stay_words_where_nothing_can_be_called() -> None:
    """The client gets what was said, also where a call is malformed."""
    assert Reader(dialect=HERMES).whole(f"As in {CALL}").content == f"As in {CALL}"
    broken = "<tool_call>{nonsense</tool_call>"
    assert Reader(dialect=HERMES, tools=(READ,)).whole(broken) == Spoken(content=broken)


def test_who_takes_one_call_at_a_time_gets_one() -> None:
    """The first."""
    reader = Reader(dialect=HERMES, tools=(READ,), single=True)
    assert [call.id for call in reader.whole(CALL + CALL).calls] == ["call_0"]


def test_a_call_that_has_to_be_made() -> None:
    """Its arguments alone where one tool is meant, its name and arguments where several are; cut ones as they are."""
    (named,) = Reader(dialect=HERMES, tools=(READ,), must_call=("read",)).whole('{"path": "a.py"}').calls
    assert (named.name, named.arguments) == ("read", '{"path": "a.py"}')
    several = Reader(dialect=HERMES, tools=(READ,), must_call=("read", "write"))
    (chosen,) = several.whole('{"name": "write", "arguments": {"path": "é"}}').calls
    assert (chosen.name, chosen.arguments) == ("write", '{"path": "é"}')
    assert several.whole('{"name": "wri').calls[0].arguments == '{"name": "wri'
    told, rest = heard(several, '{"name": "read", "arguments": {}}')
    assert joined(told, rest) == ("", "")
    assert rest.calls[0].name == "read"
