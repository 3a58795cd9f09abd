"""Which dialect a model speaks: told by its own chat template, never by its name."""

import re
from dataclasses import dataclass
from functools import lru_cache, partial

from swarmcode.dialect.coder import CODER
from swarmcode.dialect.deepseek import DEEPSEEK
from swarmcode.dialect.harmony import HARMONY
from swarmcode.dialect.hermes import HERMES
from swarmcode.dialect.kimi import KIMI
from swarmcode.dialect.messages import Call, Message, Tool
from swarmcode.dialect.said import Dialect
from swarmcode.dialect.template import SWITCHES, segments
from swarmcode.errors import ModelError

DIALECTS = (KIMI, HARMONY, DEEPSEEK, CODER, HERMES)
"""The first whose telltales a template has."""
UNREAD = ("<arg_key>", "｜DSML｜", "minimax:tool_call", "[TOOL_CALLS]", "<|tool_list_start|>")
"""Signs of forms that are not read here (GLM, DeepSeek V3.2, MiniMax, Mistral, LFM): such models are asked in words."""
_PROBE = Tool(name="probe_tool", description="Probes.", parameters={"type": "object", "properties": {}})
_CALL = Call(id="functions.probe_call:0", name="probe_call", arguments={"probed": "argument"})
_TALK = (
    Message(role="system", content="system probe"),
    Message(role="user", content="user probe"),
    Message(role="assistant", content="", calls=(_CALL,)),
    Message(role="tool", content="result probe", answers=_CALL.id, name=_CALL.name),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """What a chat template was seen to do with tools."""

    calls: bool
    """It renders calls and their results, in a form that is read here."""
    declares: bool
    """It tells the model which tools there are."""
    switch: str
    """The variable that turns thoughts on and off; empty: none does."""


def dialect_of(template: str) -> Dialect:
    """The dialect of models with this template; Hermes, which is easily explained, where it shows none."""
    return _shown(template) or HERMES


def _shown(template: str) -> Dialect | None:
    if any(sign in template for sign in UNREAD):
        return None
    return next((each for each in DIALECTS if any(sign in template for sign in each.telltales)), None)


@lru_cache(maxsize=64)
def ability(template: str) -> Ability:
    """Renders a small conversation and looks what came of it."""
    told = _text(template, _TALK)
    asked, thought = (_text(template, _TALK[:2], thinking=thinking) for thinking in (False, True))
    return Ability(
        calls=_shown(template) is not None and all(word in told for word in ("probe_call", "argument", "result probe")),
        declares="probe_tool" in told,
        switch=next(filter(partial(_named, template), SWITCHES), "") if asked != thought else "",
    )


def _named(template: str, name: str) -> bool:
    """Whether a template has a variable of this name, and not just a word, a tag or an attribute."""
    return re.search(rf"(?<![\w.'\"<|/]){name}\b(?!['\">])", template) is not None


def _text(template: str, messages: tuple[Message, ...], *, thinking: bool = False) -> str:
    try:
        return "".join(segment.text for segment in segments(template, messages, thinking=thinking, tools=(_PROBE,)))
    except ModelError:
        return ""
