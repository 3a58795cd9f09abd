"""Frames between the host and the supervisor: a length, a JSON header, and the bytes that the header announces.

4 bytes, big-endian     length of the header
header                  JSON object; `blobs` lists the lengths of what follows
blobs                   raw bytes, one after another
"""

import json
import os
import select
from dataclasses import dataclass, field
from typing import Any

STDIN, STDOUT = 0, 1
CHUNK = 1 << 16


@dataclass
class Blob:
    """An open file of which `size` bytes are sent, so that large files never lie in memory."""

    fd: int
    size: int


@dataclass
class Frame:
    header: dict[str, Any]
    blobs: list[bytes] = field(default_factory=list)


class Wire:
    """The supervisor's end: standard input and output."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.ended = False

    def receive(self) -> Frame | None:
        """Waits for the next frame; None once the host has hung up."""
        while not self.ended:
            if (frame := self.poll(None)) is not None:
                return frame
        return None

    def poll(self, timeout: float | None = 0) -> Frame | None:
        """Takes what has arrived within `timeout` seconds; a frame, if one is whole."""
        if (frame := self._whole()) is not None:
            return frame
        if select.select([STDIN], [], [], timeout)[0]:
            data = os.read(STDIN, CHUNK)
            self._buffer += data
            self.ended = not data
        return self._whole()

    def send(self, header: dict[str, Any], blobs: list[bytes | Blob] | None = None) -> None:
        blobs = blobs or []
        sizes = [blob.size if isinstance(blob, Blob) else len(blob) for blob in blobs]
        text = json.dumps({**header, "blobs": sizes}).encode()
        write(STDOUT, len(text).to_bytes(4, "big") + text)
        for blob in blobs:
            if isinstance(blob, bytes):
                write(STDOUT, blob)
            else:
                _copy(blob)

    def _whole(self) -> Frame | None:
        if len(self._buffer) < 4:
            return None
        start = 4 + int.from_bytes(self._buffer[:4], "big")
        if len(self._buffer) < start:
            return None
        header = json.loads(bytes(self._buffer[4:start]))
        end = start + sum(header["blobs"])
        if len(self._buffer) < end:
            return None
        blobs = []
        for size in header["blobs"]:
            blobs.append(bytes(self._buffer[start : start + size]))
            start += size
        del self._buffer[:end]
        return Frame(header, blobs)


def write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _copy(blob: Blob) -> None:
    left = blob.size
    while left:
        data = os.read(blob.fd, min(left, CHUNK))
        # The length has been announced: a file that is shorter than its size is filled up.
        data = data or bytes(min(left, CHUNK))
        write(STDOUT, data)
        left -= len(data)
