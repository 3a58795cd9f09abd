"""Messages -> prompt segments, through the chat template that the GGUF brings.

A template comes from a downloaded file, so it runs in jinja2's sandbox. What messages say is untrusted: it is tokenized
without control tokens, so that code or an issue that spells `<|im_end|>` cannot end its own message. To that end the
template is rendered with a placeholder for each content, and cut at the placeholders.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from swarmcode.engine.protocol import Segment
from swarmcode.errors import ModelError

_PLACEHOLDER = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals.update(raise_exception=_refuse, strftime_now=_now)
    return environment


def segments(template: str, messages: Sequence[Message], *, thinking: bool) -> tuple[Segment, ...]:
    """The prompt for the assistant's next turn.

    `thinking` sets the switches that templates know (`thinking` of Kimi, `enable_thinking` of Qwen). A template without
    a system role gets the system message at the head of the first user message. Raises `ModelError` where the template
    is broken or cannot take these messages.
    """
    try:
        return _rendered(template, messages, thinking=thinking)
    except ModelError:
        if messages[0].role != "system" or len(messages) == 1:
            raise
        system, first, *rest = messages
        joined = Message(role=first.role, content=f"{system.content}\n\n{first.content}")
        return _rendered(template, [joined, *rest], thinking=thinking)


def _rendered(template: str, messages: Sequence[Message], *, thinking: bool) -> tuple[Segment, ...]:
    stand_ins = [{"role": message.role, "content": f"\ue000{place}\ue001"} for place, message in enumerate(messages)]
    values: dict[str, Any] = {"thinking": thinking, "enable_thinking": thinking, "bos_token": "", "eos_token": ""}
    hint = "use a GGUF build with a working chat template"
    try:
        text = _environment().from_string(template).render(messages=stand_ins, add_generation_prompt=True, **values)
    except (jinja2.TemplateError, TypeError, ValueError, AttributeError, ArithmeticError, LookupError) as error:
        raise ModelError(f"the model's chat template does not render: {error}", hint) from error
    if {int(place) for place in _PLACEHOLDER.findall(text)} != set(range(len(messages))):
        raise ModelError("the model's chat template leaves messages out", hint)
    return tuple(_cut(text, messages))


def _cut(text: str, messages: Sequence[Message]) -> list[Segment]:
    """Template text with control tokens, contents without."""
    found: list[Segment] = []
    for place, piece in enumerate(_PLACEHOLDER.split(text)):
        if place % 2:
            found.append(Segment(text=messages[int(piece)].content))
        else:
            found.append(Segment(text=piece, special=True))
    return [segment for segment in found if segment.text]
