"""Hermes, Qwen 2.5 and 3, and many that were tuned like them: a JSON object in tags.

    <tool_call>
    {"name": NAME, "arguments": {...}}
    </tool_call>

Also what every instruction-tuned model is asked for whose template says nothing of tools. Source: NousResearch's
`Hermes-Function-Calling`. Read too: tags that are not closed, several objects in one pair, a whole answer that is one
bare object, and the tagged arguments of Qwen3-Coder, which its smaller sisters mix in.
"""

import re
from typing import Any

from swarmcode.dialect import coder
from swarmcode.dialect.loose import fenced, json_object, value_at
from swarmcode.dialect.said import Dialect, RawCall, Said

_TAG = re.compile(r"</?tool_call>")
_ONE = "one JSON object with `name` and `arguments`"


def _read(text: str, said: Said) -> None:
    if "<function=" in text:
        coder.read(text, said)
        return
    pieces = _TAG.split(text)
    if len(pieces) == 1 and _bare(text, said):
        return
    for tag, piece in zip(["", *_TAG.findall(text)], pieces, strict=True):
        if tag == "<tool_call>":
            _objects(piece, said)
        else:
            said.content.append(piece)


def _bare(text: str, said: Said) -> bool:
    """A whole answer that is one call and nothing else."""
    inner = fenced(text).strip()
    if not (inner.startswith("{") and inner.endswith("}") and '"arguments"' in inner):
        return False
    try:
        _call(json_object(inner), said)
    except ValueError:
        return False
    return True


def _objects(text: str, said: Said) -> None:
    """One object after another, as far as they can be read."""
    inner, at = fenced(text).strip(), 0
    if not inner:
        said.faults.append(f"A tool call is empty; write {_ONE}.")
    while at < len(inner):
        try:
            value, at = value_at(inner, at)
            _call(json_object(value) if isinstance(value, str) else value, said)
        except ValueError as error:
            if not said.calls or inner[at:].strip("}] \n"):
                said.faults.append(f"A tool call cannot be read: {error}; write {_ONE}.")
            return
        while inner[at : at + 1] in (",", "}", "]") or inner[at : at + 1].isspace():
            at += 1


def _call(value: Any, said: Said) -> None:
    """Raises `ValueError` where it is no call."""
    if isinstance(value, list):
        for item in value:
            _call(item, said)
        return
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  # the model's mistake, not the caller's
    if isinstance(value.get("function"), dict):  # OpenAI's form
        value = value["function"]
    name = value.get("name", value.get("function"))
    if not isinstance(name, str) or not name:
        raise ValueError("it has no `name`")
    arguments = value.get("arguments", value.get("parameters", {}))
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict | str):
        raise ValueError("its `arguments` are no JSON object")  # noqa: TRY004
    said.calls.append(RawCall(name, arguments))


HERMES = Dialect(
    name="hermes",
    telltales=("<tool_call>",),
    markers=("<tool_call>", "</tool_call>", "<think>", "</think>"),
    ends=("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|endoftext|>", "<end_of_turn>", "</s>"),
    read=_read,
    opening=re.compile("<tool_call>"),
    sure=False,
    call_id=lambda name, index: f"call_{index}",
    example='<tool_call>\n{"name": "NAME", "arguments": ARGUMENTS}\n</tool_call>',
)
