"""Reads the header of a GGUF file: its metadata and the list of its tensors, without llama.cpp.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The file is untrusted: every length is checked
against what is left of it before anything is read, and every tensor must lie inside the file. What the weights hold is
not looked at.

A large model comes in several files, `name-00001-of-00003.gguf` and so on; the first has the metadata, and each has a
share of the tensors. `parts` finds them all.
"""

import math
import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from swarmcode.errors import ModelError

Value = bool | int | float | str | list["Value"]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_KEPT = 256
_MOST_DIMENSIONS = 4
_ALIGNMENT = 32
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)
_HINT = "download it again, and compare its size with the publisher's"

TYPES = {
    **{0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22)},
    **{7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110)},
    **{12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292)},
    **{16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50)},
    **{20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136)},
    **{24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8)},
    **{29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66)},
    **{39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36)},
}
"""ggml's tensor types: name, numbers in a block, bytes of a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One weight, as its file announces it."""

    name: str
    parameters: int
    """How many numbers it holds."""
    kind: str
    """How they are stored: a name of `TYPES`, or `type 99` where ggml has a newer one."""
    bytes: int
    """On disk; 0 where the type is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a GGUF says of itself."""

    metadata: dict[str, Value]
    """By key. Of an array, the first 256 items."""
    lengths: dict[str, int]
    """How many items each array has."""
    tensors: tuple[Tensor, ...]
    """Its weights."""
    size: int
    """Bytes of the file."""

    def text(self, key: str) -> str:
        """The string at `key`; empty where there is none."""
        value = self.metadata.get(key, "")
        return value if isinstance(value, str) else ""

    def number(self, key: str, default: float = 0) -> float:
        """The number at `key`, of an array (one a layer) the largest; `default` where there is no finite one."""
        value = self.metadata.get(key, default)
        numbers = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, int | float)]
        return max((number for number in numbers if math.isfinite(number)), default=default)

    def strings(self, key: str) -> list[str]:
        """The first strings of the array at `key`."""
        value = self.metadata.get(key, [])
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def read(path: Path) -> Header:
    """The header of the file. Raises `ModelError` where it is missing, unreadable, or no whole GGUF header."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if not size:
                raise ModelError(f"{path} is empty", _HINT)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).header(size)
    except FileNotFoundError as error:
        raise ModelError(f"there is no model file {path}", "check the path given with --model") from error
    except IsADirectoryError as error:
        raise ModelError(f"{path} is a folder, not a model file", "name the .gguf file in it") from error
    except OSError as error:
        raise ModelError(f"the model file {path} cannot be read: {error.strerror}", "check its permissions") from error


def files(path: Path) -> list[Path]:
    """All files of the model that `path` belongs to, by its name, there or not; of a model in one file, that one."""
    named = _PART.fullmatch(path.name)
    if named is None:
        return [path]
    stem, count = named["stem"], int(named["count"])
    return [path.with_name(f"{stem}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]


def parts(path: Path) -> list[Path]:
    """The same, all of them there. Raises `ModelError` where one is not, or where `path` is not the first of them."""
    found = files(path)
    if path not in found[:1]:
        raise ModelError(
            f"{path} is not the first of its {len(found)} parts", f"name {found[0].name if found else '?'}"
        )
    missing = [file.name for file in found if not file.is_file()]
    if missing and path.is_file():
        lacking = f"{missing[0]} and {len(missing) - 1} more are" if len(missing) > 1 else f"{missing[0]} is"
        raise ModelError(f"{path} has {len(found)} parts, and {lacking} not there", "put all parts into one folder")
    return found


def read_all(path: Path) -> list[Header]:
    """The headers of all parts of a model, the first first. Raises `ModelError`, also where parts do not belong
    together."""
    found = parts(path)
    headers = [read(file) for file in found]
    for number, (file, header) in enumerate(zip(found, headers, strict=True)):
        count = header.number("split.count") or 1
        if (count, header.number("split.no")) != (len(found), number):
            raise ModelError(
                f"{file} says that it is part {header.number('split.no') + 1:g} of {count:g}, "
                f"and by its name it is part {number + 1} of {len(found)}",
                "give the files their publisher's names",
            )
    promised, there = headers[0].number("split.tensors.count"), sum(len(header.tensors) for header in headers)
    if promised and promised != there:
        raise ModelError(f"{path} promises {promised:g} tensors, and its parts have {there}", _HINT)
    return headers


class _Reader:
    """A position in the bytes of a file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._at = 0

    def header(self, size: int) -> Header:
        if self._data[:4] != _MAGIC:
            raise ModelError(f"{self._path} is not a GGUF file", "swarmcode runs models in llama.cpp's GGUF format")
        self._at = 4
        version = self._scalar("I")
        if version not in _VERSIONS:
            raise ModelError(f"{self._path} is GGUF version {version}, which cannot be read", "convert the model anew")
        tensors, pairs = int(self._scalar("Q")), int(self._scalar("Q"))
        metadata: dict[str, Value] = {}
        lengths: dict[str, int] = {}
        for _ in range(pairs):
            key = self._string()
            kind = int(self._scalar("I"))
            if kind == _ARRAY:
                kind, lengths[key] = int(self._scalar("I")), int(self._scalar("Q"))
                metadata[key] = self._array(kind, lengths[key])
            else:
                metadata[key] = self._value(kind)
        return Header(metadata=metadata, lengths=lengths, tensors=self._tensors(tensors, metadata), size=size)

    def _tensors(self, count: int, metadata: dict[str, Value]) -> tuple[Tensor, ...]:
        """The list of weights, and a check that the file has room for each."""
        found, ends = [], [0]
        for _ in range(count):
            tensor, end = self._tensor()
            found.append(tensor)
            ends.append(end)
        alignment = metadata.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= mmap.PAGESIZE:
            raise self._broken()
        data = -(-self._at // alignment) * alignment
        if found and data + max(ends) > len(self._data):
            raise self._broken()
        return tuple(found)

    def _tensor(self) -> tuple[Tensor, int]:
        """The next weight, and where it ends, from where all weights begin."""
        name = self._string()
        dimensions = int(self._scalar("I"))
        if dimensions > _MOST_DIMENSIONS:
            raise self._broken()
        parameters = math.prod(int(self._scalar("Q")) for _ in range(dimensions))
        number, offset = int(self._scalar("I")), int(self._scalar("Q"))
        kind, block, width = TYPES.get(number, (f"type {number}", 1, 0))
        size = -(-parameters // block) * width
        return Tensor(name=name, parameters=parameters, kind=kind, bytes=size), offset + size

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind not in _SCALARS:
            raise self._broken()
        return self._scalar(_SCALARS[kind])

    def _array(self, kind: int, count: int) -> list[Value]:
        if kind in _SCALARS:
            width = struct.calcsize("<" + _SCALARS[kind])
            start = self._skip(count * width)
            kept = min(count, _KEPT)
            return list(struct.unpack_from(f"<{kept}{_SCALARS[kind]}", self._data, start))
        if kind != _STRING:
            raise self._broken()
        strings: list[Value] = [self._string() for _ in range(min(count, _KEPT))]
        self._skip_strings(count - len(strings))
        return strings

    def _skip_strings(self, count: int) -> None:
        """A loop of its own, because vocabularies have a hundred thousand of them and more."""
        data, at, last, length_at = self._data, self._at, len(self._data) - 8, struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at > last:
                raise self._broken()
            at += 8 + length_at(data, at)[0]
        self._at = at
        self._skip(0)

    def _string(self) -> str:
        length = int(self._scalar("Q"))
        start = self._skip(length)
        return self._data[start : start + length].decode("utf-8", errors="replace")

    def _scalar(self, code: str) -> bool | int | float:
        start = self._skip(struct.calcsize("<" + code))
        value: bool | int | float = struct.unpack_from("<" + code, self._data, start)[0]
        return value

    def _skip(self, count: int) -> int:
        """Moves on by `count` bytes; where they start."""
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise self._broken()
        return start

    def _broken(self) -> ModelError:
        return ModelError(f"the model file {self._path} is damaged or not whole", _HINT)
