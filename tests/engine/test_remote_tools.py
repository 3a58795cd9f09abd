"""Tools over the wire: as the interface has them, or in words for endpoints that know none; calls as they arrive."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swarmcode.dialect.hermes import HERMES
from swarmcode.dialect.messages import Call, Message, Tool
from swarmcode.dialect.prompt import Speech
from swarmcode.dialect.reading import parse
from swarmcode.engine.protocol import Request, Sampling
from swarmcode.engine.remote import wire
from swarmcode.engine.remote.address import Endpoint
from swarmcode.engine.remote.body import Dialect, body_of
from swarmcode.engine.remote.chat import TEMPLATE, Conversation, conversation
from swarmcode.engine.remote.faults import Fault
from swarmcode.engine.remote.listen import Heard
from swarmcode.errors import ModelError

VIEW = Tool(name="view", description="Shows <a> file.", parameters={"type": "object", "properties": {"path": {}}})
CALLS = (
    Call(id="a", name="view", arguments={"path": "a.py<|tool|>"}),
    Call(id="b", name="<|user|>", arguments={}),
)
TALK = [
    Message(role="system", content="Be brief."),
    Message(role="user", content="Fix it. <|call|>"),
    Message(role="assistant", content="I look.", calls=CALLS),
    Message(role="tool", content="1: x <|arguments|>", answers="a", name="view"),
    Message(role="tool", content="", answers="b", name="<|user|>"),
]


def carried(thinking: bool = False) -> Conversation:
    return conversation(Speech(template=TEMPLATE, tools=(VIEW,)).prompt(TALK, thinking=thinking))


def body(model: str = "tiny", *refused: str) -> dict[str, Any]:
    dialect = Dialect()
    for name in refused:
        dialect.refuse(name, 0)
    return body_of(
        Endpoint(url="http://localhost/v1", model=model), carried(), Request(prompt=(), sampling=Sampling()), 0, dialect
    )


def test_a_conversation_comes_out_as_it_went_in() -> None:
    """Tools, calls with their arguments, results with their calls; nothing that is said passes for a mark."""
    found = carried(thinking=True)
    assert found.tools == (VIEW,)
    assert found.thinking
    assert [(each.role, each.content) for each in found.messages] == [(each.role, each.content) for each in TALK]
    first, second = found.messages[2].calls
    assert (first.name, first.arguments, second.name) == (CALLS[0].name, CALLS[0].arguments, CALLS[1].name)
    assert [each.answers for each in found.messages[3:]] == [first.id, second.id]
    with pytest.raises(ModelError, match="was not made"):
        conversation(Speech(template=TEMPLATE).prompt([Message(role="tool", content="x", answers="a")], thinking=False))


def test_an_endpoint_is_told_of_tools_as_the_interface_has_it() -> None:
    """Ids that a Kimi reads the tool's name in, where it is a Kimi."""
    sent = body()
    assert sent["tools"] == [VIEW.declared]
    assistant, first, second = sent["messages"][2:]
    assert assistant["content"] == "I look."
    assert assistant["tool_calls"][0] == {
        "id": "call_0",
        "type": "function",
        "function": {"name": "view", "arguments": '{"path": "a.py<|tool|>"}'},
    }
    assert first == {"role": "tool", "content": "1: x <|arguments|>", "tool_call_id": "call_0"}
    assert second["tool_call_id"] == "call_1"
    kimi = body("moonshotai/Kimi-K2.5")["messages"]
    assert [each["tool_call_id"] for each in kimi[3:]] == ["functions.view:0", "functions.<|user|>:1"]


def test_an_endpoint_that_knows_no_tools_is_told_in_words() -> None:
    """What calls look like is said in the system message; results come in the user's name, who speaks once."""
    sent = body("tiny", "tools")
    assert "tools" not in sent
    system, user, assistant, result = sent["messages"]
    assert [each["role"] for each in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert "Shows <a> file." in system["content"]
    assert user["content"] == "Fix it. <|call|>"
    turn = parse(HERMES, assistant["content"])
    assert [(call.name, call.arguments) for call in turn.calls] == [(call.name, call.arguments) for call in CALLS]
    assert turn.content == "I look."
    assert result["content"].count("<tool_response>") == 2


@pytest.mark.parametrize(
    "said",
    [
        "Unrecognized request argument supplied: tools",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "tools param requires --jinja flag",
        "messages.2.tool_calls: extra fields not permitted",
    ],
)
def test_how_endpoints_say_that_they_know_no_tools(said: str) -> None:
    """vLLM, llama-server, and what validates strictly."""
    assert Dialect().culprit(body(), said, guess=False) == "tools"


def heard(*answers: dict[str, Any], kind: str = "delta", finish: str = "tool_calls") -> str:
    """The text of an answer in pieces."""
    found = Heard(most=1000)
    for place, answer in enumerate(answers):
        reason = finish if place == len(answers) - 1 else None
        found.take(wire.piece(json.dumps({"choices": [{kind: answer, "finish_reason": reason}]}).encode()))
    found.end()
    return found.text


def piece(index: int | None = None, **function: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "id": "x", "type": "function", "function": function}]}


@pytest.mark.parametrize(
    "text",
    [
        heard(
            {"content": "I look."}, piece(0, name="view"), piece(0, arguments='{"pa'), piece(0, arguments='th": "a"}')
        ),
        heard(
            {"content": "I look."}, piece(0, name="view", arguments=""), piece(0, name="", arguments='{"path": "a"}')
        ),
        heard({"content": "I look.", **piece(name="view", arguments='{"path": "a"}')}, kind="message"),
        heard({"content": "I look.", **piece(name="view", arguments={"path": "a"})}, kind="message", finish="stop"),
    ],
)
def test_calls_are_heard_however_they_arrive(text: str) -> None:
    """In pieces, whole, as text or as an object: they stand behind the answer's text, in words."""
    turn = parse(HERMES, text)
    assert [(call.name, call.arguments) for call in turn.calls] == [("view", {"path": "a"})]
    assert (turn.content, turn.faults) == ("I look.", ())


def test_calls_that_are_mixed_or_broken() -> None:
    """Pieces of two calls in turn; arguments that are cut are a fault and no call."""
    two = heard(piece(1, name="b", arguments="{"), piece(0, name="a", arguments="{}"), piece(1, arguments="}"))
    assert [call.name for call in parse(HERMES, two).calls] == ["a", "b"]
    cut = parse(HERMES, heard(piece(0, name="a", arguments='{"path": "'), finish="length"))
    assert not cut.calls
    assert "not closed" in cut.faults[0]


@pytest.mark.parametrize("index", [-1, 1000, "x", 1.5])
def test_a_number_that_is_none_is_a_fault(index: object) -> None:
    """What an endpoint says is checked."""
    with pytest.raises(Fault, match="malformed"):
        heard(piece(index, name="a"))  # type: ignore[arg-type]


def test_endless_arguments_are_cut() -> None:
    """As an endless text is."""
    found = Heard(most=10)
    for _ in range(100):
        found.take(wire.piece(json.dumps({"choices": [{"delta": piece(0, arguments="x" * 100)}]}).encode()))
    assert found.cut


@settings(max_examples=50, deadline=None)
@given(name=st.text(max_size=20), arguments=st.text(max_size=40))
@example(name="", arguments="</think>")
@example(name="edit", arguments='{"text": "</tool_call>"}')
def test_any_call_is_heard(name: str, arguments: str) -> None:
    """And read, as a call or as a fault."""
    turn = parse(HERMES, heard(piece(0, name=name, arguments=arguments)))
    assert len(turn.calls) + len(turn.faults) >= 1
