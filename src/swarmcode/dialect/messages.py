"""What a conversation with a model consists of, whatever dialect the model speaks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that a model may call."""

    name: str
    """Letters, digits, `_` and `-`."""
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of an object."""

    @property
    def declared(self) -> dict[str, Any]:
        """As chat templates and OpenAI's interface want it."""
        told = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": told}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a tool. Untrusted: a model wrote it."""

    id: str
    """Unique in its conversation; the result is given under it."""
    name: str
    """As the model wrote it; there may be no such tool."""
    arguments: Mapping[str, Any]
    """A JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    form: str = ""
    """Our own words behind the content, in which control tokens may be spelt: how calls are made."""
    thinking: str = ""
    """What an assistant thought before it answered."""
    calls: tuple[Call, ...] = ()
    """What an assistant asked for."""
    answers: str = ""
    """Of a tool's result: the id of its call."""
    name: str = ""
    """Of a tool's result: the tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A model's answer, taken apart."""

    thinking: str = ""
    content: str = ""
    """What it said beside thoughts and calls."""
    calls: tuple[Call, ...] = ()
    """In the order in which it made them."""
    faults: tuple[str, ...] = field(default=())
    """What is wrong with calls that could not be read: a sentence each, for the model itself."""

    def message(self) -> Message:
        """The same, as part of the conversation that goes on."""
        return Message(role="assistant", content=self.content, thinking=self.thinking, calls=self.calls)
