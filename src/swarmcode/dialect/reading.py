"""A raw answer -> `Turn`: thoughts, words, calls, and what is wrong with calls that cannot be read.

What a model says is untrusted. Never raises, takes time linear in the answer, and gives arguments that are JSON objects
or a fault. Whether a call makes sense to its tool is asked by `fit.misfit`.
"""

import re
from collections.abc import Mapping, Sequence

from swarmcode.dialect.deepseek import DEEPSEEK
from swarmcode.dialect.fit import coerced
from swarmcode.dialect.harmony import HARMONY
from swarmcode.dialect.hermes import HERMES
from swarmcode.dialect.kimi import KIMI
from swarmcode.dialect.loose import json_object
from swarmcode.dialect.messages import Call, Tool, Turn
from swarmcode.dialect.said import Dialect, RawCall, Said

MOST_CALLS = 32
"""Of one answer: a model that repeats itself would fill the context with results."""
UNMISTAKABLE = (KIMI, DEEPSEEK, HARMONY)
"""Dialects whose calls begin with control tokens."""
_OPEN, _CLOSE = "<think>", "</think>"
_TAG = re.compile("</?think>")


def parse(dialect: Dialect, text: str, *, tools: Sequence[Tool] = (), first: int = 0, thinking: bool = False) -> Turn:
    """Takes apart an answer whose control tokens are spelt out (`spell`).

    `tools`: the declared ones, whose schemas say what type an argument has; `first`: how many calls the conversation
    has had so far; `thinking`: whether the prompt ended within an open thought.
    """
    dialect = _overheard(dialect, text)
    thought, rest = _thought(dialect, text, opened=thinking)
    said = Said(thinking=[thought] if thought else [])
    dialect.read(rest, said)
    known = {tool.name: tool for tool in tools}
    calls: list[Call] = []
    used: set[int] = set()
    for raw in said.calls[:MOST_CALLS]:
        index = raw.index if raw.index is not None and raw.index >= first and raw.index not in used else None
        number = first if index is None else index
        while number in used:
            number += 1
        try:
            call = _call(dialect, raw, number, known)
        except ValueError as error:
            said.faults.append(f"The arguments of {raw.name[:60]} cannot be read: {error}.")
            continue
        used.add(number)
        calls.append(call)
    if len(said.calls) > MOST_CALLS:
        said.faults.append(f"There are {len(said.calls)} calls in one answer; make at most {MOST_CALLS}.")
    content = _TAG.sub("", "".join(said.content)).strip()
    return Turn(thinking="".join(said.thinking).strip(), content=content, calls=tuple(calls), faults=tuple(said.faults))


def _overheard(dialect: Dialect, text: str) -> Dialect:
    """The dialect that an answer is in: a model that was asked for calls in words may fall back into what it was
    trained on, and an endpoint may leave that to us."""
    if dialect is not HERMES or dialect.opening.search(text):
        return dialect
    return next((other for other in UNMISTAKABLE if other.opening.search(text)), dialect)


def said(dialect: Dialect, text: str, *, thinking: bool = False) -> str:
    """An answer that is to call nothing, without its thoughts: what looks like a call in it is left as it is."""
    _, rest = _thought(dialect, text, opened=thinking)
    if dialect is not HARMONY:
        return rest
    found = Said()
    dialect.read(rest, found)
    return "".join(found.content)


def next_index(turn: Turn, first: int) -> int:
    """How many calls the conversation has had after `turn`: indices run on behind the highest that was used."""
    told = [int(match[1]) for call in turn.calls if (match := re.search(r"(\d{1,9})\Z", call.id))]
    return max([first, *(number + 1 for number in told)])


def _thought(dialect: Dialect, text: str, *, opened: bool) -> tuple[str, str]:
    """What stands in think tags, and the rest. A call begins no thought's end unless the thought is never closed, or
    what begins it is a token that means nothing else."""
    stripped = text.lstrip()
    tagged = stripped.startswith(_OPEN)
    inner = stripped.removeprefix(_OPEN) if tagged else text
    close = inner.find(_CLOSE)
    if not (opened or tagged) and close < 0:
        return "", text
    call = dialect.opening.search(inner)
    if call and (close < 0 or (dialect.sure and call.start() < close)):
        return inner[: call.start()], inner[call.start() :]
    if close < 0:
        return inner, ""
    return inner[:close], inner[close + len(_CLOSE) :]


def _call(dialect: Dialect, raw: RawCall, number: int, known: Mapping[str, Tool]) -> Call:
    """Raises `ValueError` where the arguments are no JSON object."""
    arguments = raw.arguments if isinstance(raw.arguments, dict) else json_object(raw.arguments)
    tool = known.get(raw.name)
    if tool:
        arguments = coerced(arguments, tool, spelled=raw.spelled)
    return Call(id=dialect.call_id(raw.name, number), name=raw.name, arguments=arguments)
