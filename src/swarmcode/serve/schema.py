"""Which JSON schemas are taken from a client. Guarded: turning one into a grammar must not cost much.

A grammar spells repetitions out, so a schema of fifty bytes could fill the memory (`minItems: 1000000000`). Not
covered: a schema within these bounds may still take a grammar that llama.cpp refuses; the client is then told so.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from swarmcode.serve.faults import wrong

LARGEST = 32 << 10
"""Characters."""
DEEPEST = 32
MOST_REPEATED = 1000
"""Of `minItems`, `maxLength` and the like, and of all repetitions in a pattern, multiplied."""
LONGEST_PATTERN = 256
_REPEATED = ("minItems", "maxItems", "minLength", "maxLength")
_QUANTIFIER = re.compile(r"\{(\d*)(?:,(\d*))?\}")


def checked(schema: Mapping[str, JsonValue], field: str) -> str:
    """The schema as text. Raises `Refused`."""
    text = json.dumps(schema)
    if len(text) > LARGEST:
        raise wrong(field, f"{field}: a schema has at most {LARGEST} characters")
    for key, value, depth in _walk(schema, 0):
        if depth > DEEPEST:
            raise wrong(field, f"{field}: a schema is nested at most {DEEPEST} deep")
        if key in _REPEATED and isinstance(value, int | float) and not 0 <= value <= MOST_REPEATED:
            raise wrong(field, f"{field}: {key} is at most {MOST_REPEATED}")
        if key == "pattern" and isinstance(value, str) and not _cheap(value):
            raise wrong(field, f"{field}: the pattern is too long, or repeats too much")
    return text


def _walk(value: JsonValue | Mapping[str, JsonValue], depth: int) -> Iterator[tuple[str, JsonValue, int]]:
    """Every key with its value, and how deep it is."""
    if depth > DEEPEST + 1:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield key, item, depth
            yield from _walk(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield "", item, depth
            yield from _walk(item, depth + 1)


def _cheap(pattern: str) -> bool:
    quantifiers = (found.groups(default="") for found in _QUANTIFIER.finditer(pattern))
    repeated = math.prod(max(1, *(int(number[:9] or 1) for number in pair)) for pair in quantifiers)
    return len(pattern) <= LONGEST_PATTERN and repeated <= MOST_REPEATED
