"""Do a call's arguments fit its tool? The part of JSON schema that tools use: types, required names, choices."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from swarmcode.dialect.loose import json_object, value_at
from swarmcode.dialect.messages import Call, Tool

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_LONGEST_NUMBER = 40


def coerced(arguments: Mapping[str, Any], tool: Tool, *, spelled: bool) -> dict[str, Any]:
    """Arguments in the types that the tool wants, as far as it is certain what is meant: `"12"` for an integer, 12 for
    a string. `spelled`: all are strings, because the dialect spells each by itself; what is not declared is then read
    as JSON if it is JSON."""
    properties = _properties(tool)
    return {name: _coerced(value, properties.get(name), spelled=spelled) for name, value in arguments.items()}


def misfit(call: Call, tools: Sequence[Tool]) -> str:
    """What is wrong with a call, in a sentence for its author; empty if nothing is."""
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return f"There is no tool {call.name[:60]!r}; the tools are: {', '.join(tool.name for tool in tools)}."
    properties, required = _properties(tool), tool.parameters.get("required", ())
    missing = [name for name in required if name not in call.arguments]
    if missing:
        return f"{tool.name} lacks {', '.join(missing)}; it takes: {', '.join(properties)}."
    for name, value in call.arguments.items():
        schema = properties.get(name)
        if schema is None:
            return f"{tool.name} has no argument {name[:60]!r}; it takes: {', '.join(properties) or 'none'}."
        if not _is(value, schema.get("type")):
            return f"{name} of {tool.name} must be of type {schema['type']}, and is {json.dumps(value)[:60]}."
        choices = schema.get("enum")
        if isinstance(choices, list) and value not in choices:
            return f"{name} of {tool.name} must be one of {', '.join(map(str, choices))}."
    return ""


def _properties(tool: Tool) -> Mapping[str, Mapping[str, Any]]:
    found = tool.parameters.get("properties", {})
    return {name: schema if isinstance(schema, Mapping) else {} for name, schema in found.items()}


def _is(value: Any, kind: object) -> bool:
    if not isinstance(kind, str) or kind not in _TYPES:
        return True
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _coerced(value: Any, schema: Mapping[str, Any] | None, *, spelled: bool) -> Any:
    kind = schema.get("type") if schema is not None else None
    if isinstance(kind, str) and _is(value, kind):
        return value
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and (isinstance(kind, str) or spelled):
        read = _read(value, kind)
        return read if _is(read, kind) else value
    return value


def _read(text: str, kind: object) -> Any:
    """The value that a text spells, else the text itself."""
    if kind in ("integer", "number", "boolean", "null") and len(text) > _LONGEST_NUMBER:
        return text
    try:
        if kind == "object" or text.lstrip()[:1] == "{":
            return json_object(text)
        value, end = value_at(text)
    except ValueError:
        return text
    return text if text[end:].strip() else value
