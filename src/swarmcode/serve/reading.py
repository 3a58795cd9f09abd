"""An answer in chat -> what it says: thoughts, words, calls; whole, and while it is being said.

While an answer goes on, thoughts and words are told up to the first call; calls are told when it has ended, because
only a whole call can be read. Of models whose answers are channels (gpt-oss) nothing is told before the end.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from swarmcode.dialect.harmony import HARMONY
from swarmcode.dialect.messages import Tool
from swarmcode.dialect.reading import parse
from swarmcode.dialect.said import Dialect

LONGEST_SIGN = 64
"""Characters of the longest thing that begins with `<` and means something."""
_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidCall:
    """A tool call."""

    id: str
    name: str
    arguments: str
    """JSON; cut where the answer was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """An answer, or a piece of one."""

    thinking: str = ""
    content: str = ""
    calls: tuple[SaidCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How the answers to one request are read."""

    dialect: Dialect
    tools: tuple[Tool, ...] = ()
    """Those that may be called."""
    first: int = 0
    """How many calls the conversation has had."""
    opened: bool = False
    """Whether the prompt ends within a thought."""
    form: bool = False
    """Whether a schema was given: the answer is JSON and nothing else."""
    must_call: tuple[str, ...] = ()
    """Tools one of which has to be called: the answer is a call's JSON and nothing else, of one tool its arguments."""
    single: bool = False
    """Whether the client takes one call at a time."""

    def whole(self, text: str) -> Spoken:
        """What an answer says, whose control tokens are spelt out. One that is words alone stays as it is; where more
        was said, white space around the words is left out."""
        if self.must_call:
            return Spoken(calls=(self._forced(text),))
        if self.form:
            return Spoken(content=text)
        turn = parse(self.dialect, text, tools=self.tools, first=self.first, thinking=self.opened)
        if (not self.tools and (turn.calls or turn.faults)) or (turn.faults and not turn.calls):
            # Nobody offered a tool, or the call is malformed: the client gets the words and judges for itself.
            return Spoken(thinking=turn.thinking, content=text.rpartition(_CLOSE)[2].strip())
        if turn.content == text.strip():
            return Spoken(content=text)
        made = turn.calls[:1] if self.single else turn.calls
        calls = (SaidCall(id=call.id, name=call.name, arguments=_json(call.arguments)) for call in made)
        return Spoken(thinking=turn.thinking, content=turn.content, calls=tuple(calls))

    def _forced(self, text: str) -> SaidCall:
        made = f"call_{secrets.token_hex(8)}"
        if len(self.must_call) == 1:
            return SaidCall(id=made, name=self.must_call[0], arguments=text)
        try:
            told = json.loads(text)
            return SaidCall(id=made, name=str(told["name"]), arguments=_json(told["arguments"]))
        except (ValueError, LookupError, TypeError, RecursionError):  # it was cut
            return SaidCall(id=made, name="", arguments=text)


class Listening:
    """One answer while it is being said."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._text: list[str] = []
        self._left = ""
        """Not told yet."""
        self._thinking = ""
        self._content = ""
        self._thought = reader.opened
        """Whether there was a thought."""
        self._state = "thinking" if reader.opened else "beginning"
        if reader.form:
            self._state = "form"
        elif reader.must_call or reader.dialect is HARMONY:
            self._state = "silent"

    def take(self, text: str) -> Spoken:
        """Goes on by some text; what can be told of it."""
        self._text.append(text)
        if self._state == "form":
            self._content += text
            return Spoken(content=text)
        self._left += text
        thinking = content = ""
        if self._state == "beginning":
            self._begin()
        if self._state == "thinking":
            thinking = self._thoughts()
        if self._state == "answering":
            content = self._words()
        self._thinking += thinking
        self._content += content
        return Spoken(thinking=thinking, content=content)

    def end(self) -> Spoken:
        """What is left to tell when the answer has ended."""
        whole = self._reader.whole("".join(self._text))
        return Spoken(
            thinking=_rest(whole.thinking, self._thinking),
            content=_rest(whole.content, self._content),
            calls=whole.calls,
        )

    def _begin(self) -> None:
        start = self._left.lstrip()
        if start.startswith(_OPEN):
            self._left = start.removeprefix(_OPEN)
            self._state = "thinking"
            self._thought = True
        elif start and not _OPEN.startswith(start):
            self._state = "answering"

    def _thoughts(self) -> str:
        call = self._reader.dialect.opening.search(self._left)
        close = self._left.find(_CLOSE)
        if call and (close < 0 or call.start() < close):
            self._state = "silent"
            return self._cut(call.start(), strip=not self._thinking)
        if close < 0:
            return self._cut(_certain(self._left), strip=not self._thinking)
        thought = self._cut(close, strip=not self._thinking)
        self._left = self._left.lstrip().removeprefix(_CLOSE)
        self._state = "answering"
        return thought

    def _words(self) -> str:
        call = self._reader.dialect.opening.search(self._left)
        if call:
            self._state = "silent"
        return self._cut(call.start() if call else _certain(self._left), strip=self._thought and not self._content)

    def _cut(self, end: int, *, strip: bool) -> str:
        """Takes what is told from what is left, without white space at the end: more may follow, or a call."""
        told = self._left[:end].rstrip()
        self._left = self._left[len(told) :]
        return told.lstrip() if strip else told


def _certain(text: str) -> int:
    """Up to where a text can be nothing but words."""
    sign = text.rfind("<", max(0, len(text) - LONGEST_SIGN))
    return len(text) if sign < 0 else sign


def _rest(whole: str, told: str) -> str:
    """What is to be told after `told`. Where the whole was read otherwise in the end, all of it: better twice than
    not."""
    if whole.startswith(told):
        return whole.removeprefix(told)
    bare, begun = whole.lstrip(), told.lstrip()
    return bare.removeprefix(begun) if bare.startswith(begun) else whole


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def call_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """What an answer must look like that calls one of these tools; see `Reader.must_call`."""
    if len(tools) == 1:
        return dict(tools[0].parameters)
    forms = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": dict(tool.parameters)},
            "required": ["name", "arguments"],
        }
        for tool in tools
    ]
    return {"anyOf": forms}
