"""A conversation with tools -> the prompt for its next turn, whatever the model's template knows of tools.

A template that renders calls is used as it is. One that does not is given calls and results as words, in the form that
`Dialect.example` shows; what it does not declare is declared in the system message.

Turn after turn only the end of a prompt is new: `continued` takes the prompt so far and the very tokens that the model
generated, so that an engine finds all of it in its cache.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from swarmcode.dialect.choose import ability, dialect_of
from swarmcode.dialect.hermes import HERMES
from swarmcode.dialect.messages import Message, Tool
from swarmcode.dialect.said import Dialect
from swarmcode.dialect.template import segments
from swarmcode.engine.protocol import Segment

_DECLARED = """\
# Tools

You may call these tools. Each line is the JSON schema of one:

{tools}"""
_FORM = """

To call one, answer in exactly this form, with a tool's name for NAME and a JSON object for ARGUMENTS:

{example}

Then end your answer: the result is given to you. You may make several calls in one answer."""
_STAND_IN = "\ue010answer\ue011"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """How one model is spoken with about some tools."""

    template: str
    tools: tuple[Tool, ...] = ()

    @property
    def dialect(self) -> Dialect:
        """The form in which it calls."""
        return dialect_of(self.template) if self._calls else HERMES

    @property
    def _calls(self) -> bool:
        return not self.tools or ability(self.template).calls

    def prompt(self, messages: Sequence[Message], *, thinking: bool) -> tuple[Segment, ...]:
        """The prompt for the assistant's next turn. Raises `ModelError` where the template cannot take it."""
        if not self.tools:
            return segments(self.template, messages, thinking=thinking)
        if not self._calls:
            return segments(self.template, in_words(messages, self.tools), thinking=thinking)
        if not ability(self.template).declares:
            messages = _declared(messages, self.tools, self.dialect)
        return segments(self.template, messages, thinking=thinking, tools=self.tools)

    def continued(
        self, prompt: tuple[Segment, ...], answer: Sequence[int], messages: Sequence[Message], *, thinking: bool
    ) -> tuple[Segment, ...]:
        """The prompt after an answer: `prompt`, the tokens of the answer as they were generated, and what the template
        puts between it and the next turn. `messages`: the whole conversation, the answer and what followed it included.

        Where the template does not show where an answer ends, or no tokens are known, all is rendered anew.
        """
        last = max(place for place, message in enumerate(messages) if message.role == "assistant")
        rest = self._behind(messages, last, thinking=thinking) if answer else None
        if rest is None:
            return self.prompt(messages, thinking=thinking)
        return (*prompt, Segment(tokens=tuple(answer)), *rest)

    def _behind(self, messages: Sequence[Message], last: int, *, thinking: bool) -> tuple[Segment, ...] | None:
        """What follows the answer, from the token on that ends it."""
        said = messages[last]
        if said.calls:
            *others, call = said.calls
            marked = replace(said, calls=(*others, replace(call, arguments={"_": _STAND_IN})))
        else:
            marked = replace(said, content=_STAND_IN)
        rendered = self.prompt([*messages[:last], marked, *messages[last + 1 :]], thinking=thinking)
        place = next((place for place, segment in enumerate(rendered) if _STAND_IN in segment.text), None)
        if place is None:
            return None
        place = next((later for later in range(place, len(rendered)) if rendered[later].special), place)
        tail = rendered[place]
        starts = [found for end in self.dialect.ends if (found := tail.text.find(end)) >= 0]
        if not starts:
            return None
        return (replace(tail, text=tail.text[min(starts) :]), *rendered[place + 1 :])


def _declared(messages: Sequence[Message], tools: Sequence[Tool], dialect: Dialect) -> list[Message]:
    """With the tools told in the system message."""
    lines = "\n".join(json.dumps(tool.declared["function"], ensure_ascii=False) for tool in tools)
    told, form = _DECLARED.format(tools=lines), _FORM.format(example=dialect.example)
    if messages and messages[0].role == "system":
        return [replace(messages[0], content=f"{messages[0].content}\n\n{told}", form=form), *messages[1:]]
    return [Message(role="system", content=told, form=form), *messages]


def in_words(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """With tools told in the system message, calls as words of the assistant, and results as words of the user, who
    never speaks twice in a row."""
    told: list[Message] = []
    for message in messages:
        if message.role == "assistant":
            calls = [spelt(call.name, json.dumps(call.arguments, ensure_ascii=False)) for call in message.calls]
            said = Message(role="assistant", content="".join((message.content, *calls)))
        elif message.role == "tool":
            said = Message(role="user", content=f"<tool_response>\n{message.content}\n</tool_response>")
        else:
            said = message
        if told and told[-1].role == said.role == "user":
            told[-1] = replace(told[-1], content=f"{told[-1].content}\n{said.content}")
        else:
            told.append(said)
    return _declared(told, tools, HERMES)


def spelt(name: str, arguments: str, *, masked: bool = False) -> str:
    """A call in words; `arguments` are JSON text, or what should be. `masked`: nothing in it looks like a mark."""
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        given = arguments
    said = json.dumps({"name": name, "arguments": given}, ensure_ascii=False)
    if masked:
        said = said.replace("<", r"\u003c")
    return f"\n<tool_call>\n{said}\n</tool_call>"
