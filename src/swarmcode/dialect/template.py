"""Messages -> prompt segments, through the chat template that the GGUF brings.

A template comes from a downloaded file, so it runs in jinja2's sandbox, and within bounds (`bounds`). What messages,
tools and arguments say is untrusted: it is tokenized without control tokens (`marks`), so that code or an issue that
spells `<|im_end|>` cannot end its own message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2

from swarmcode.dialect.bounds import BoundedEnvironment, TooMuch, bounded
from swarmcode.dialect.marks import Given, Marks, as_json
from swarmcode.dialect.messages import Message, Tool
from swarmcode.engine.protocol import Segment
from swarmcode.errors import ModelError

SWITCHES: Mapping[str, tuple[object, object]] = {
    "reasoning_effort": ("low", "high"),
    "thinking": (False, True),
    "enable_thinking": (False, True),
}
"""Variables that turn thoughts on and off, each with its values for off and on; the first that a template names is
its own."""
_HINT = "use a GGUF build with a working chat template"
_LONGEST_FAULT = 300
"""Characters: a template may say what it likes."""
_BROKEN = (
    *(jinja2.TemplateError, TypeError, ValueError, AttributeError, ArithmeticError, LookupError),
    *(RecursionError, MemoryError),
    SyntaxError,  # of Python: jinja2 translates loops in loops as they are, and Python has a limit
)


def segments(
    template: str, messages: Sequence[Message], *, thinking: bool, tools: Sequence[Tool] = ()
) -> tuple[Segment, ...]:
    """The prompt for the assistant's next turn.

    `thinking` sets the switches that templates know (`thinking` of Kimi and DeepSeek, `enable_thinking` of Qwen,
    `reasoning_effort` of gpt-oss). A template without a system role gets the system message at the head of the first
    user message; one that refuses thoughts beside calls gets the calls. Raises `ModelError` where the template is
    broken or cannot take these messages.
    """
    error: ModelError | None = None
    for form in (_as_they_are, _without_thoughts, _without_system):
        shaped = form(messages)
        if shaped is None:
            continue
        try:
            return _rendered(template, shaped, thinking=thinking, tools=tools)
        except ModelError as failed:
            if isinstance(failed.__cause__, TooMuch):  # another form would take as long
                raise
            error = error or failed
    assert error, "messages have a first form"
    raise error


def _as_they_are(messages: Sequence[Message]) -> Sequence[Message] | None:
    return messages


def _without_thoughts(messages: Sequence[Message]) -> Sequence[Message] | None:
    thoughtful = any(message.thinking for message in messages)
    return [replace(message, thinking="") for message in messages] if thoughtful else None


def _without_system(messages: Sequence[Message]) -> Sequence[Message] | None:
    if messages[0].role != "system" or len(messages) == 1:
        return None
    system, first, *rest = messages
    return [replace(first, content=f"{system.content}{system.form}\n\n{first.content}"), *rest]


def _rendered(
    template: str, messages: Sequence[Message], *, thinking: bool, tools: Sequence[Tool]
) -> tuple[Segment, ...]:
    marks = Marks()
    values: dict[str, Any] = {
        "messages": Given(_shaped(message, marks) for message in messages),
        "add_generation_prompt": True,
        **{name: values[thinking] for name, values in SWITCHES.items()},
        "preserve_thinking": True,
        "bos_token": "",
        "eos_token": "",
    }
    if tools:
        values["tools"] = marks.listed([tool.declared for tool in tools])
    try:
        with bounded():
            text = _compiled(template).render(values)
        if not marks.required <= marks.found(text):
            raise ModelError("the model's chat template leaves messages out", _HINT)
        return marks.cut(text)
    except _BROKEN as error:
        said = " ".join(str(error).split())[:_LONGEST_FAULT]
        raise ModelError(f"the model's chat template does not render: {said}", _HINT) from error


def _shaped(message: Message, marks: Marks) -> dict[str, Any]:
    """A message as templates know it; each family calls some things by a name of its own."""
    shaped: dict[str, Any] = {"role": message.role, "content": ""}
    if message.content or not message.calls:
        shaped["content"] = marks.put(message.content, required=not message.calls, form=message.form)
    if message.thinking:
        shaped["reasoning_content"] = shaped["thinking"] = marks.put(message.thinking)
    if message.calls:
        shaped["tool_calls"] = [
            {
                "id": marks.word(call.id),
                "type": "function",
                "function": {"name": marks.word(call.name), "arguments": marks.whole(call.arguments)},
            }
            for call in message.calls
        ]
    if message.role == "tool":
        shaped["tool_call_id"], shaped["name"] = marks.word(message.answers), marks.word(message.name)
    return shaped


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


@lru_cache(maxsize=1)
def _environment() -> BoundedEnvironment:
    environment = BoundedEnvironment(
        {"tojson": as_json}, trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals.update(raise_exception=_refuse, strftime_now=_now)
    return environment


@lru_cache(maxsize=32)
def _compiled(template: str) -> jinja2.Template:
    """Raises `jinja2.TemplateError`. Within `bounded`: constants are worked out here."""
    return _environment().from_string(template)
