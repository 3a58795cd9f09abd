"""gpt-oss: messages on channels, of which a call is one with a recipient.

    <|channel|>analysis<|message|>thoughts<|end|>
    <|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{...}<|call|>
    <|start|>assistant<|channel|>final<|message|>answer<|return|>

(without the line ends). Source: OpenAI's "harmony response format". The recipient stands before or behind the channel.
A message without its `<|message|>` is read as far as it can be.
"""

import re

from swarmcode.dialect.said import Dialect, RawCall, Said

_BREAK = re.compile(r"<\|(?:start|end|call|return)\|>")
_MESSAGE = "<|message|>"
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w*)")
_RECIPIENT = re.compile(r"\bto=\s*(?P<name>[^\s<{]{1,200})")


def _read(text: str, said: Said) -> None:
    if "<|" not in text and not _RECIPIENT.match(text.lstrip()):
        said.content.append(text)
        return
    for piece in _BREAK.split(text):
        if piece.strip():
            _message(piece, said)


def _message(piece: str, said: Said) -> None:
    header, mark, body = piece.partition(_MESSAGE)
    channel = _CHANNEL.search(header)
    recipient = _RECIPIENT.search(header)
    if recipient:
        if not mark:
            _, brace, rest = header[recipient.end() :].partition("{")
            body = brace + rest
        _call(recipient["name"], body, said)
    elif not mark:
        if channel is None and header.strip() != "assistant":
            said.content.append(header)
    elif channel and channel[1] == "analysis":
        said.thinking.append(body)
    else:
        said.content.append(body)


def _call(recipient: str, body: str, said: Said) -> None:
    name = recipient.removeprefix("functions.").removeprefix("function.")
    if not name.strip("."):
        said.faults.append("A message has a recipient that names no tool; the form is to=functions.NAME.")
        return
    said.calls.append(RawCall(name, body.replace("<|constrain|>", "")))


HARMONY = Dialect(
    name="harmony",
    telltales=("<|channel|>",),
    markers=(*("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>"),),
    ends=("<|call|>", "<|return|>", "<|end|>"),
    read=_read,
    opening=re.compile(r"<\|channel\|>"),
    sure=True,
    call_id=lambda name, index: f"call_{index}",
    example="<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>ARGUMENTS<|call|>",
)
