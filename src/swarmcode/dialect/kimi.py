"""Kimi K2, K2.5, K2.6: calls between tokens of their own, numbered through the conversation.

    <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:IDX<|tool_call_argument_begin|>{json}
    <|tool_call_end|><|tool_calls_section_end|>

(without the line end). Source: the model's `docs/tool_call_guidance.md`. Quantized builds say `tool_call_section`,
leave out any of the tokens, or write `functions_NAME_IDX`, as reported against llama.cpp, vLLM and others: what can be
read is read.
"""

import re

from swarmcode.dialect.said import Dialect, RawCall, Said

_MARK = re.compile(
    r"<\|tool_(?P<kind>calls?_section_begin|calls?_section_end|call_begin|call_argument_begin|call_end)\|>"
)
_HEADER = re.compile(r"(?:functions?[.:_ ])?(?P<name>[A-Za-z_][\w.-]*?)(?:[:_](?P<index>\d{1,6}))?")
_LONGEST_HEADER = 200
_FORM = "functions.NAME:IDX"


def _read(text: str, said: Said) -> None:
    pieces = _pieces(text)
    header = ""
    for place, (kind, body) in enumerate(pieces):
        arguments_follow = place + 1 < len(pieces) and pieces[place + 1][0] == "call_argument_begin"
        if kind == "call_begin":
            if not arguments_follow:
                _whole(body, said)
            header = body
            continue
        body, following = _cut_header(body) if arguments_follow else (body, "")
        if kind == "call_argument_begin":
            # What stands between two calls that run into each other is garbage.
            _take(header, body[: body.rfind("}") + 1] if following else body, said)
        else:
            said.content.append(body)
        header = following
    if len(pieces) > 1 and not said.calls and not said.faults:
        said.faults.append("A section of tool calls was begun, but there is no call in it.")


def _pieces(text: str) -> list[tuple[str, str]]:
    """Each token's kind with the text behind it; first, the text before all of them."""
    marks = list(_MARK.finditer(text))
    starts = [0, *(mark.end() for mark in marks)]
    ends = [*(mark.start() for mark in marks), len(text)]
    kinds = ["", *(mark["kind"] for mark in marks)]
    return [(kind, text[start:end]) for kind, start, end in zip(kinds, starts, ends, strict=True)]


def _cut_header(text: str) -> tuple[str, str]:
    """Without and with the last word: the name of a call whose first token is missing."""
    stripped = text.rstrip()
    words = re.split(r"[\s{}\ufffd]", stripped[-_LONGEST_HEADER:])
    word = words[-1].lstrip(".:_")
    return stripped.removesuffix(word), word


def _take(header: str, arguments: str, said: Said) -> None:
    known = _HEADER.fullmatch(header.strip())
    if known is None:
        told = f"is called {(header or '').strip()[:60]!r}" if header.strip() else "has no name"
        said.faults.append(f"A tool call {told}; its form is {_FORM}.")
        return
    index = int(known["index"]) if known["index"] else None
    said.calls.append(RawCall(known["name"], arguments, index))


def _whole(body: str, said: Said) -> None:
    """A call without the token between its name and its arguments."""
    name, brace, rest = body.partition("{")
    if brace:
        _take(name, brace + rest, said)
    else:
        said.faults.append(f"The tool call {body.strip()[:60]!r} has no arguments; give a JSON object, {{}} if none.")


KIMI = Dialect(
    name="kimi",
    telltales=("<|tool_calls_section_begin|>", "<|im_middle|>"),
    markers=(
        *("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_section_begin|>"),
        *("<|tool_call_section_end|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"),
        *("<think>", "</think>"),
    ),
    ends=("<|im_end|>",),
    read=_read,
    opening=_MARK,
    sure=True,
    call_id=lambda name, index: f"functions.{name}:{index}",
    example=(
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>ARGUMENTS"
        "<|tool_call_end|><|tool_calls_section_end|>"
    ),
)
