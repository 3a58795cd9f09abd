"""Qwen3-Coder: each argument in a tag of its own, as it is, so that code needs no quoting.

    <tool_call>
    <function=NAME>
    <parameter=KEY>
    value
    </parameter>
    </function>
    </tool_call>

A value may hold these very tags: it ends at a closing tag that something of the call, or nothing more, follows. Tags
that are not closed, and calls without the outer pair, are read too. What type a value has, its tool's schema says.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from swarmcode.dialect.said import Dialect, RawCall, Said

_TAG = re.compile(
    r"(?P<function><function=(?P<name>[^<>\n]{0,200})>)|(?P<parameter><parameter=(?P<key>[^<>\n]{0,200})>)"
    r"|(?P<close></parameter>)|(?P<end></function>)|(?P<call></?tool_call>)"
)
_FORM = "<function=NAME>, then <parameter=KEY>, the value and </parameter> for each argument, then </function>"


@dataclass(frozen=True, slots=True)
class _Tag:
    kind: str
    value: str
    """Name or key."""
    start: int
    end: int


def read(text: str, said: Said) -> None:
    """Takes apart an answer; each call's arguments are spelled by themselves."""
    tags = [
        _Tag(match.lastgroup or "", (match["name"] or match["key"] or "").strip("\"' "), match.start(), match.end())
        for match in _TAG.finditer(text)
    ]
    place, at, begun = 0, 0, False
    while place < len(tags):
        tag = tags[place]
        if tag.kind in ("function", "call"):
            said.content.append(text[at : tag.start])
            at = tag.end
        begun = begun or tag.kind == "call"
        place += 1
        if tag.kind == "function":
            arguments, place, at = _arguments(text, tags, place, at)
            said.calls.append(RawCall(tag.value, arguments, spelled=True))
    said.content.append(text[at:])
    if begun and not said.calls:
        said.faults.append(f"A tool call names no function; its form is {_FORM}.")


def _arguments(text: str, tags: Sequence[_Tag], place: int, at: int) -> tuple[dict[str, Any], int, int]:
    """Of the function whose tag ends at `at`: its arguments, the next tag behind it, and where it ends."""
    arguments: dict[str, Any] = {}
    while place < len(tags):
        tag = tags[place]
        if tag.kind == "end":
            return arguments, place + 1, tag.end
        if tag.kind in ("function", "call"):
            return arguments, place, tag.start
        place += 1
        at = tag.end
        if tag.kind == "parameter":
            close = _close(text, tags, place)
            end = tags[close].start if close < len(tags) else len(text)
            arguments[tag.value] = _unwrapped(text[tag.end : end])
            place = close + 1 if close < len(tags) and tags[close].kind == "close" else close
            at = tags[close].end if place > close else end
    return arguments, place, at


def _close(text: str, tags: Sequence[_Tag], place: int) -> int:
    """The tag that ends a value, from `place` on; `len(tags)` where the answer does.

    A tag that does not stand where a call could go on is part of the value.
    """
    for number in range(place, len(tags)):
        tag = tags[number]
        following = tags[number + 1].start if number + 1 < len(tags) else len(text)
        goes_on = not text[tag.end : following].strip()
        if tag.kind in ("close", "end") and (goes_on or number + 1 == len(tags)):
            return number
        if tag.kind == "parameter" and text[tag.start - 1] == "\n":
            return number
        if tag.kind == "call" and goes_on:
            return number
    return len(tags)


def _unwrapped(value: str) -> str:
    """Without the one line end on each side that the form puts there."""
    return value.removeprefix("\n").removesuffix("\n")


CODER = Dialect(
    name="coder",
    telltales=("<function=",),
    markers=("<tool_call>", "</tool_call>", "<think>", "</think>"),
    ends=("<|im_end|>", "<|endoftext|>"),
    read=read,
    opening=re.compile("<tool_call>|<function="),
    sure=False,
    call_id=lambda name, index: f"call_{index}",
    example=(
        "<tool_call>\n<function=NAME>\n<parameter=KEY>\nvalue\n</parameter>\n</function>\n</tool_call> "
        "with these parameters: ARGUMENTS"
    ),
)
