"""Frozen dataclasses to JSON and back: the one place where the values of `flow` and `events` lose their types.

The types in the dataclass say how a value is read, so nothing is listed twice. Sets are written sorted, bytes as
base64, numbers that JSON does not know (-inf, nan) as text. Reading is strict about what is there and lenient about
what is not: a field that a newer version added takes its default, one that it dropped is passed over.
"""

import base64
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Json = Any
"""What `json.loads` gives."""
Decode = Callable[[Json], Any]

T = TypeVar("T")


def encode(value: object) -> Json:
    """`value` as plain JSON data. Raises `TypeError` for a type that no value of `flow` has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return [encode(item) for item in sorted(value)]
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: encode(getattr(value, each.name)) for each in fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def decode(kind: type[T], data: Json) -> T:
    """The value of dataclass `kind` that `data` stands for. Raises `ValueError` where it stands for none."""
    hashable: Any = kind
    value: T = _decoder(hashable)(data)
    return value


@cache
def _decoder(kind: Any) -> Decode:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _literal(arguments)
    if origin in (Union, types.UnionType):
        return _optional(arguments)
    if origin in (tuple, frozenset):
        return _sequence(origin, _decoder(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(_decoder(arguments[1]))
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind)
    return _PLAIN[kind]


def _exactly(kind: type) -> Decode:
    def read(data: Json) -> Any:
        if type(data) is not kind:
            raise ValueError(f"expected {kind.__name__}, not {type(data).__name__}")
        return data

    return read


def _float(data: Json) -> float:
    if data in ("inf", "-inf", "nan") or (isinstance(data, int | float) and not isinstance(data, bool)):
        return float(data)
    raise ValueError(f"expected a number, not {type(data).__name__}")


def _bytes(data: Json) -> bytes:
    return base64.b64decode(_text(data), validate=True)


def _path(data: Json) -> Path:
    return Path(_text(data))


_text = _exactly(str)
_PLAIN: Mapping[type, Decode] = {
    str: _text,
    bool: _exactly(bool),
    int: _exactly(int),
    float: _float,
    bytes: _bytes,
    Path: _path,
    types.NoneType: _exactly(types.NoneType),
}


def _literal(choices: tuple[Any, ...]) -> Decode:
    def read(data: Json) -> Any:
        if data not in choices:
            raise ValueError(f"expected one of {choices}")
        return data

    return read


def _optional(members: tuple[Any, ...]) -> Decode:
    (member,) = (_decoder(each) for each in members if each is not types.NoneType)
    return lambda data: None if data is None else member(data)


def _sequence(made: type, item: Decode) -> Decode:
    array = _exactly(list)
    return lambda data: made(item(each) for each in array(data))


def _mapping(item: Decode) -> Decode:
    table = _exactly(dict)
    return lambda data: {key: item(each) for key, each in table(data).items()}


def _dataclass(kind: type) -> Decode:
    hints = get_type_hints(kind)
    decoders = {each.name: _decoder(hints[each.name]) for each in fields(kind)}
    needed = {each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING}
    table = _exactly(dict)

    def read(data: Json) -> Any:
        missing = needed - table(data).keys()
        if missing:
            raise ValueError(f"{kind.__name__} lacks {', '.join(sorted(missing))}")
        return kind(**{name: decoder(data[name]) for name, decoder in decoders.items() if name in data})

    return read
