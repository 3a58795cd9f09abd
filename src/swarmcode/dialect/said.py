"""What a dialect's parser finds in an answer, before names, arguments and ids are made sense of."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RawCall:
    """A call as it was written."""

    name: str
    """May be empty."""
    arguments: str | dict[str, Any]
    """JSON text, an object, or, from dialects that spell each by itself, a string for each name."""
    index: int | None = None
    """Which call of the conversation it says that it is."""
    spelled: bool = False
    """Whether each argument was spelled by itself, so that its type is only known from the tool's schema."""


@dataclass(slots=True)
class Said:
    """An answer while it is taken apart."""

    thinking: list[str] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    calls: list[RawCall] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Sentences for the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a family of models speaks of tools."""

    name: str
    telltales: tuple[str, ...]
    """Any of these in a chat template: the model speaks so."""
    markers: tuple[str, ...]
    """Control tokens that answers are made of: they must be spelt out in what `read` gets."""
    ends: tuple[str, ...]
    """Control tokens that end a turn."""
    read: Callable[[str, Said], None]
    """Takes apart an answer, thoughts in think tags left out."""
    opening: re.Pattern[str]
    """What begins a call. It ends a thought that was never closed."""
    sure: bool
    """Whether what begins a call is a control token, so that it ends a thought even if a closing tag comes later."""
    call_id: Callable[[str, int], str]
    """Id of a call, from its tool's name and its number in the conversation."""
    example: str
    """A call with `NAME` and `ARGUMENTS` in it, for models whose template says nothing of tools."""
