"""The stream of a container's standard input and output, as an engine multiplexes it.

Each piece of output has a header of eight bytes: 1 for standard output or 2 for standard error, three zeros, and the
length (Docker Engine API, `POST /containers/{id}/attach`).
"""

import asyncio
import socket
import struct

from swarmcode.sandbox.line import COMPLAINT_BYTES, last_line

HEADER = struct.Struct(">BxxxL")
STDERR = 2


class Attached:
    """Both directions of one container."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._output = bytearray()
        self._errors = bytearray()

    @classmethod
    async def over(cls, connection: socket.socket) -> "Attached":
        return cls(*await asyncio.open_connection(sock=connection))

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def read(self, size: int) -> bytes:
        """Exactly `size` bytes of standard output. Raises `EOFError` where the container has ended."""
        while len(self._output) < size:
            kind, length = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            piece = await self._reader.readexactly(length)
            if kind == STDERR:
                self._errors = (self._errors + piece)[-COMPLAINT_BYTES:]
            else:
                self._output += piece
        data = bytes(self._output[:size])
        del self._output[:size]
        return data

    @property
    def complaint(self) -> str:
        """The last line on standard error."""
        return last_line(self._errors.decode(errors="replace"))

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass  # the other end was faster
