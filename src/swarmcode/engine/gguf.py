"""Reads the header of a GGUF file: its metadata, without its weights and without llama.cpp.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The file is untrusted: every length is checked
against what is left of it before anything is read. Whether the weights are whole is not checked here; llama.cpp does
that when it loads them.
"""

import math
import mmap
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
_HINT = "download it again, and compare its size with the publisher's"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a GGUF says of itself."""

    metadata: dict[str, Value]
    """By key. Of an array, the first 256 items."""
    lengths: dict[str, int]
    """How many items each array has."""
    tensors: int
    """How many weights it announces."""
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
        return Header(metadata=metadata, lengths=lengths, tensors=tensors, size=size)

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
