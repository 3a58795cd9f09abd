"""Prompt segments -> messages: how agents speak with an endpoint that renders its own chat template.

Agents render a profile's template to segments and know nothing of endpoints. A remote profile brings the template
below, whose only words are marks, one before each part; this file reads them back. Marks stand in segments that are
`special`, contents in segments that are not, so nothing that an issue or a file spells can pass for a mark.
"""

import json
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from swarmcode.dialect.messages import Call, Message, Role, Tool
from swarmcode.engine.protocol import Segment
from swarmcode.errors import ModelError

TEMPLATE = (
    "{# Calls come as <tool_call>, whatever the endpoint has made of them. #}"
    "{% if thinking %}<|thinking|>{% endif %}"
    "{% if tools %}<|tools|>{{ tools | tojson }}{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% for call in message.tool_calls %}"
    "<|call|>{{ call.function.name }}<|arguments|>{{ call.function.arguments | tojson }}"
    "{% endfor %}{% endfor %}"
)
"""In a profile's `chat_template`."""
_MARK = re.compile(r"<\|(thinking|tools|system|user|assistant|tool|call|arguments)\|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What a request says, as an endpoint wants it."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    thinking: bool
    """Whether the model may reason before it answers."""


@dataclass(slots=True)
class _Part:
    """A mark, and what stands behind it."""

    kind: str
    text: str


def conversation(prompt: Sequence[Segment]) -> Conversation:
    """Reads a rendered prompt back; calls are numbered, and results belong to them in their order. Raises `ModelError`
    for a prompt that `TEMPLATE` did not make."""
    messages: list[Message] = []
    tools: tuple[Tool, ...] = ()
    thinking = False
    open_calls: deque[Call] = deque()
    parts = _parts(prompt)
    count = 0
    for place, part in enumerate(parts):
        match part.kind:
            case "thinking":
                thinking = True
            case "tools":
                tools = tuple(_tools(part.text))
            case "call":
                call = Call(id=f"call_{count}", name=part.text, arguments=json.loads(parts[place + 1].text))
                count += 1
                open_calls.append(call)
                messages[-1] = replace(messages[-1], calls=(*messages[-1].calls, call))
            case "tool":
                if not open_calls:
                    raise ModelError("the prompt has the result of a call that was not made", "leave it out")
                call = open_calls.popleft()
                messages.append(Message(role="tool", content=part.text, answers=call.id, name=call.name))
            case "system" | "user" | "assistant":
                open_calls.clear()
                messages.append(Message(role=cast(Role, part.kind), content=part.text))
    if not messages:
        raise ModelError("the prompt has no message", "give at least one")
    return Conversation(messages=tuple(messages), tools=tools, thinking=thinking)


def _parts(prompt: Sequence[Segment]) -> list[_Part]:
    parts: list[_Part] = []
    for segment in prompt:
        before, *found = _MARK.split(segment.text) if segment.special else [segment.text]
        if before and parts:
            parts[-1].text += before
        if segment.tokens or (before and not parts) or (segment.special and "<" in "".join((before, *found[1::2]))):
            raise ModelError("an endpoint takes chat messages alone", "use a model file for this")
        parts += [_Part(kind, text) for kind, text in zip(found[::2], found[1::2], strict=True)]
    return parts


def _tools(text: str) -> Iterable[Tool]:
    for each in json.loads(text):
        told = each["function"]
        yield Tool(name=told["name"], description=told["description"], parameters=told["parameters"])
