"""Bytes as they arrive -> one answer. Bounded in all directions, whatever the endpoint sends.

An answer that does not end is cut: at `max_tokens` where the endpoint gives a log-probability for each token, else at
as many characters as no such number of tokens spells.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from swarmcode.dialect.prompt import spelt
from swarmcode.engine.protocol import Finish
from swarmcode.engine.remote import wire
from swarmcode.engine.remote.faults import Fault
from swarmcode.errors import UsageError

LONGEST_LINE = 1 << 20
"""Bytes of one event."""
LARGEST_WHOLE = 8 << 20
"""Bytes of an answer that is not streamed."""
BYTES_A_TOKEN = 8192
"""On the wire, with all that is said around a token."""
CHARACTERS_A_TOKEN = 32
EVENTS_A_TOKEN = 4
"""Some endpoints send less than a token at a time."""
_STOPPED = ("stop", "eos", "end_turn", "tool_calls", "function_call")


@dataclass(slots=True)
class Heard:
    """An answer while it arrives."""

    most: int
    """Tokens that were asked for."""
    stop: tuple[str, ...] = ()
    """Some endpoints do not know them, or leave them in the text."""
    text: str = ""
    logprobs: list[float] = field(default_factory=list)
    spent: wire.Spent | None = None
    finish: Finish | None = None
    thought: bool = False
    cut: bool = False
    """Whether it was ended here: what the endpoint counts will not be heard of."""
    events: int = 0
    _calls: dict[int, list[str]] = field(default_factory=dict)
    """Number of a call -> its name, and its arguments in pieces."""
    _parts: list[str] = field(default_factory=list)
    _length: int = 0

    def take(self, piece: wire.Piece) -> bool:
        """Goes on by a piece; whether the model said something. Raises `Fault`, `UsageError`."""
        if piece.error:
            raise Fault("it broke off with an error in the middle of an answer")
        self.spent = piece.usage or self.spent
        if self.finish is None:
            text = piece.text
            self._parts.append(text)
            self._length += len(text) + self._asked(piece)
            self.logprobs += piece.logprobs
            self.thought = self.thought or piece.thought
            self.events += bool(text or piece.thought or piece.asked)
            self.finish = _finish(piece.finish)
        if self.finish is None and self._endless():
            self.finish, self.cut = "length", True
        return bool(piece.choices) and (bool(piece.text) or piece.thought or bool(piece.asked))

    def _asked(self, piece: wire.Piece) -> int:
        """Takes calls of tools; how many characters they have."""
        length = 0
        for number, asked in piece.asked:
            call = self._calls.setdefault(number, [""])
            call[0] = call[0] or asked.name
            call.append(asked.arguments)
            length += len(asked.name) + len(asked.arguments)
        return length

    def _endless(self) -> bool:
        return (
            len(self.logprobs) > self.most
            or self._length > CHARACTERS_A_TOKEN * self.most
            or self.events > EVENTS_A_TOKEN * self.most
        )

    def end(self) -> None:
        """Nothing more will come. Raises `Fault` where what came is no answer."""
        if self.finish is None and not self.events:
            raise Fault("it broke off before the first word (some do where a prompt is too long for them)")
        if self.finish is None:
            raise Fault("it broke off in the middle of an answer")
        self.text = "".join(self._parts)
        for stop in self.stop:
            self.text, found, _ = self.text.partition(stop)
            self.finish = "stop" if found else self.finish
        calls = (spelt(name, "".join(pieces), masked=True) for _, (name, *pieces) in sorted(self._calls.items()))
        self.text = "".join((self.text, *calls)).encode(errors="replace").decode()
        spoke = self.text or self.thought or (self.spent and self.spent.completion_tokens)
        if not spoke:
            raise Fault("it ended an answer in which it said nothing")
        del self.logprobs[self.most + 1 :]


def _finish(reason: str) -> Finish | None:
    if not reason:
        return None
    if reason == "length":
        return "length"
    if reason in _STOPPED:
        return "stop"
    if reason == "content_filter":
        raise UsageError("the endpoint's filter stopped the answer", "nothing was proposed by this attempt")
    raise Fault("it ended an answer for a reason that is none")


async def events(chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """The data of server-sent events, until `[DONE]` or the end; `most` bytes in all. Raises `Fault`."""
    total = 0
    async for line in _lines(chunks):
        total += len(line) + 1
        if total > most:
            raise Fault(f"it sent more than {most >> 20} MiB for one answer")
        if line.startswith(b"data:") and (data := line[5:].strip()):
            if data == b"[DONE]":
                return
            yield data


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Without their ends. What a line begins with is put together once, however small the chunks are."""
    held: list[bytes] = []
    length = 0
    async for chunk in chunks:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield b"".join((*held, line))
            held, length = [], 0
        held.append(rest)
        length += len(rest)
        if length > LONGEST_LINE:
            raise Fault(f"it sent an event of more than {LONGEST_LINE >> 20} MiB")
    yield b"".join(held)


async def whole(chunks: AsyncIterator[bytes], most: int) -> bytes:
    """All of a body. Raises `Fault` where it is larger than `most` bytes."""
    found = bytearray()
    async for chunk in chunks:
        found += chunk
        if len(found) > most:
            raise Fault(f"it sent more than {most >> 10} KiB where less was due")
    return bytes(found)
