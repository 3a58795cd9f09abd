"""Whatever comes over a line from a box, it is an answer or `Broken`, and never more than was asked for."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.sandbox.attach import Attached
from swarmcode.sandbox.line import Broken, Cause, Reply, answer


class Recorded:
    """A line from which given bytes come."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def write(self, data: bytes) -> None: ...

    async def read(self, size: int) -> bytes:
        if len(self._data) < size:
            raise EOFError
        data, self._data = self._data[:size], self._data[size:]
        return data

    async def cause(self) -> Cause:
        return ""

    async def complaint(self) -> str:
        return ""

    async def end(self) -> None: ...


def framed(header: object, *blobs: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + text + b"".join(blobs)


def read(data: bytes, most: int = 100) -> Reply:
    return asyncio.run(answer(Recorded(data), most))


def test_answer_is_read() -> None:
    """Header and blobs come out as they went in."""
    reply = read(framed({"exit_code": 3, "blobs": [2, 0, 1]}, b"abc"))
    assert reply.header["exit_code"] == 3
    assert reply.blobs == (b"ab", b"", b"c")


@given(st.binary())
def test_noise_is_broken(data: bytes) -> None:
    """Arbitrary bytes raise nothing but `Broken`."""
    try:
        read(data)
    except Broken:
        pass


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5)


@given(JSON, st.binary(max_size=50))
def test_lengths_are_checked(lengths: object, data: bytes) -> None:
    """Whatever is claimed of lengths, no more than `most` bytes come out."""
    try:
        reply = read(framed({"blobs": lengths}, data), most=20)
    except Broken:
        return
    assert sum(map(len, reply.blobs)) <= 20


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", framed([]), framed({"blobs": [101]}), framed({})])
def test_absurd_answers_are_broken(data: bytes) -> None:
    """A header of four gigabytes, one that is no object, or more than was asked for, is not read."""
    with pytest.raises(Broken):
        read(data)


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=20))), st.integers(1, 7))
def test_engine_stream_is_taken_apart(pieces: list[tuple[int, bytes]], size: int) -> None:
    """However an engine cuts output into pieces, and mixes errors in, standard output comes out whole and in order."""

    async def scenario() -> bytes:
        reader = asyncio.StreamReader()
        for kind, piece in pieces:
            reader.feed_data(bytes([kind, 0, 0, 0]) + len(piece).to_bytes(4, "big") + piece)
        reader.feed_eof()
        stream = Attached(reader, None)  # type: ignore[arg-type]
        found = b""
        while True:
            try:
                found += await stream.read(size)
            except EOFError:
                return found

    output = b"".join(piece for kind, piece in pieces if kind == 1)
    assert asyncio.run(scenario()) == output[: len(output) // size * size]
