"""Prompt segments -> messages: how agents speak with an endpoint that renders its own chat template.

Agents render a profile's template to segments and know nothing of endpoints. A remote profile brings the template
below, whose only words are marks, one before each message; this file reads them back. Marks stand in segments that are
`special`, contents in segments that are not, so nothing that an issue or a file spells can pass for a mark.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from swarmcode.engine.protocol import Segment
from swarmcode.errors import ModelError

TEMPLATE = (
    "{% if thinking %}<|thinking|>{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
)
"""In a profile's `chat_template`."""
_MARK = re.compile(r"(?P<thinking><\|thinking\|>)?<\|(?P<role>system|user|assistant)\|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What a request says, as an endpoint wants it."""

    messages: tuple[tuple[str, str], ...]
    """Role and content."""
    thinking: bool
    """Whether the model may reason before it answers."""


def conversation(prompt: Sequence[Segment]) -> Conversation:
    """Reads a rendered prompt back. Raises `ModelError` for one that `TEMPLATE` did not make."""
    messages: list[tuple[str, str]] = []
    thinking = False
    for segment in prompt:
        mark = _MARK.fullmatch(segment.text) if segment.special else None
        if mark:
            thinking = thinking or bool(mark["thinking"])
            messages.append((mark["role"], ""))
        elif segment.special or segment.tokens or not messages:
            raise ModelError("an endpoint takes chat messages alone", "use a model file for this")
        else:
            role, content = messages[-1]
            messages[-1] = (role, content + segment.text)
    if not messages:
        raise ModelError("the prompt has no message", "give at least one")
    return Conversation(messages=tuple(messages), thinking=thinking)
