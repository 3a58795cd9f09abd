"""A chat body -> the conversation and the tools that it means, in the words of `dialect`, or what is wrong with it."""

from collections.abc import Sequence

from swarmcode.dialect.loose import json_object
from swarmcode.dialect.messages import Call, Message, Tool
from swarmcode.serve import schema
from swarmcode.serve.asked import ChatBody, Choose, MessageBody, Part
from swarmcode.serve.faults import wrong

_LAZY = ("none", "minimal")
"""Values of `reasoning_effort` that ask for no thoughts."""


def messages(body: ChatBody) -> tuple[Message, ...]:
    """Raises `Refused`."""
    names: dict[str, str] = {}
    return tuple(_message(each, f"messages.{place}", names) for place, each in enumerate(body.messages))


def tools(body: ChatBody) -> tuple[Tool, ...]:
    """Those that may be called. Raises `Refused`."""
    if body.tool_choice == "none":
        return ()
    return tuple(
        Tool(
            name=tool.function.name,
            description=tool.function.description or "",
            parameters=_parameters(tool.function.parameters, f"tools.{place}.function.parameters"),
        )
        for place, tool in enumerate(body.tools or ())
    )


def must_call(body: ChatBody, offered: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools one of which has to be called; empty: the model may choose. Raises `Refused`."""
    if isinstance(body.tool_choice, Choose):
        name = body.tool_choice.function.name
        found = tuple(tool for tool in offered if tool.name == name)
        if not found:
            raise wrong("tool_choice", "tool_choice: it names none of the tools")
        return found
    if body.tool_choice == "required" and not offered:
        raise wrong("tool_choice", "tool_choice: a call is required, and there are no tools")
    return tuple(offered) if body.tool_choice == "required" else ()


def thinks(body: ChatBody) -> bool:
    """Whether the model is to think before it answers: only where the client says so."""
    switches = body.chat_template_kwargs
    said = [switches.thinking, switches.enable_thinking] if switches else []
    for value in said:
        if value is not None:
            return value
    return body.reasoning_effort is not None and body.reasoning_effort not in _LAZY


def _message(body: MessageBody, place: str, names: dict[str, str]) -> Message:
    """`names`: the tools of the calls so far, by the calls' ids."""
    content = _text(body.content or (), f"{place}.content")
    if body.role == "tool":
        answered = body.tool_call_id or ""
        if answered not in names:
            raise wrong(f"{place}.tool_call_id", f"{place}.tool_call_id: no earlier message has a call of that id")
        return Message(role="tool", content=content, answers=answered, name=names[answered])
    if body.role != "assistant":
        return Message(role="system" if body.role == "developer" else body.role, content=content)
    calls = []
    for number, call in enumerate(body.tool_calls or ()):
        try:
            arguments = json_object(call.function.arguments)
        except ValueError as error:
            where = f"{place}.tool_calls.{number}.function.arguments"
            raise wrong(where, f"{where}: {error}") from None
        calls.append(Call(id=call.id, name=call.function.name, arguments=arguments))
        names[call.id] = call.function.name
    return Message(role="assistant", content=content, thinking=body.reasoning_content or "", calls=tuple(calls))


def _text(parts: Sequence[Part], place: str) -> str:
    for number, part in enumerate(parts):
        if part.type not in ("text", "input_text"):
            raise wrong(f"{place}.{number}.type", f"{place}.{number}.type: the model reads text alone")
    return "\n".join(part.text for part in parts)


def _parameters(given: object, place: str) -> dict[str, object]:
    if given is None:
        return {"type": "object", "properties": {}}
    assert isinstance(given, dict)
    schema.checked(given, place)
    return given
