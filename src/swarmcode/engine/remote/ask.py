"""One request to one endpoint: sent, listened to, and what may come back told apart."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from swarmcode.engine.protocol import Completion, Request
from swarmcode.engine.remote import listen, pace, wire
from swarmcode.engine.remote.body import OPTIONAL, UNMISTAKABLE, body_of
from swarmcode.engine.remote.chat import Conversation
from swarmcode.engine.remote.client import Reply
from swarmcode.engine.remote.faults import Fault, Unsupported
from swarmcode.engine.remote.listen import Heard
from swarmcode.engine.remote.pool import Seat
from swarmcode.errors import UsageError
from swarmcode.flow import Usage

NOT_ALLOWED = (401, 402, 403)
"""Statuses that no other try will change."""
KEY_HINT = "put its key into SWARMCODE_API_KEY, or name the variable that holds it: key=VARIABLE after the address"
ADDRESS_HINT = "check the address, which often ends with /v1, and the name of the model after #"
LARGEST_REFUSAL = 64 << 10
"""Bytes that are read of what an endpoint says when it refuses."""
_TOO_LONG = re.compile(
    r"context.{0,20}(length|size|window|exceed)|exceed.{0,40}context|too (long|large|many tokens)", re.I
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited, in seconds."""

    first: float = 180.0
    """For the first word of an answer, once it was asked for: a prompt may wait behind many others."""
    between: float = 60.0
    """For the next word."""
    total: float = 600.0
    """For a whole answer, and for all tries at one request."""
    usage: float = 5.0
    """For what comes after the last word: the count of tokens."""
    again: float = 1.0
    """Between two tries at first, at most; about doubled each time."""
    aside: float = 2.0
    """For an endpoint that fails repeatedly, at first; doubled each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One completion, and what is known of its cost."""

    completion: Completion
    counted: bool
    """Whether the endpoint counted its tokens."""
    rest: float | None = None
    """Seconds for which the endpoint has said that it will answer no more."""


async def ask(seat: Seat, said: Conversation, request: Request, seed: int, patience: Patience) -> Answered:
    """One answer. Raises `Fault`, `Unsupported` where the endpoint has to be asked otherwise, and `UsageError` where it
    refuses the request for what it is."""
    body = body_of(seat.endpoint, said, request, seed, seat.dialect)
    forms = {name: seat.dialect.refused(name) for name in OPTIONAL}
    heard = Heard(most=request.sampling.max_tokens, stop=tuple(stop for stop in request.stop if stop))
    began, rest = time.monotonic(), None
    try:
        async with asyncio.timeout(patience.first) as limit:
            async with seat.client.call("/chat/completions", body) as reply:
                if reply.status != 200:
                    await _refused(seat, reply, body, forms)
                rest = pace.spent(reply.headers)
                await _listen(reply, heard, _clock(limit, heard, patience))
    except TimeoutError:
        if heard.finish is None:
            silent = not (heard.events or heard.logprobs)
            raise Fault("no answer within the time for one" if silent else "it fell silent within an answer") from None
    heard.end()
    return _answered(heard, time.monotonic() - began, rest)


def _clock(limit: asyncio.Timeout, heard: Heard, patience: Patience) -> Callable[[bool], None]:
    """Moves the time limit on with what is heard."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience.total
    finished = False

    def heard_something(spoke: bool) -> None:
        nonlocal finished
        if heard.finish and not finished:
            finished = True
            limit.reschedule(loop.time() + patience.usage)
        elif spoke and not finished:
            limit.reschedule(min(end, loop.time() + patience.between))

    return heard_something


async def _listen(reply: Reply, heard: Heard, tick: Callable[[bool], None]) -> None:
    if not reply.streamed:
        heard.take(wire.piece(await listen.whole(reply.chunks, listen.LARGEST_WHOLE)))
        return
    most = (1 << 20) + listen.BYTES_A_TOKEN * heard.most
    async for data in listen.events(reply.chunks, most):
        tick(heard.take(wire.piece(data)))
        if heard.cut:
            return


def _answered(heard: Heard, seconds: float, rest: float | None) -> Answered:
    """Where the endpoint does not count tokens, the log-probabilities that it gave are counted; else nothing is."""
    assert heard.finish
    spent = heard.spent or wire.Spent(completion_tokens=len(heard.logprobs))
    usage = Usage(
        prefilled=spent.prompt_tokens - spent.cached,
        reused=spent.cached,
        decoded=spent.completion_tokens,
        seconds=seconds,
    )
    completion = Completion(
        text=heard.text, tokens=(), logprobs=tuple(heard.logprobs), finish=heard.finish, usage=usage
    )
    return Answered(completion=completion, counted=heard.spent is not None, rest=rest)


async def _refused(seat: Seat, reply: Reply, body: dict[str, Any], forms: dict[str, int]) -> None:
    """What a status other than 200 means. Raises in any case."""
    status, client = reply.status, seat.client
    said = wire.complaint(await listen.whole(reply.chunks, LARGEST_REFUSAL))
    shown = f"{client.scrubbed(said)} ({status})" if said else f"status {status}"
    if status in NOT_ALLOWED:
        raise Fault(f"it does not let us in: {shown}", hint=KEY_HINT)
    if status == 429:
        raise Fault(f"it is asked too often: {shown}", throttled=True, pause=pace.retry_after(reply.headers))
    if status in (400, 413, 422, 500, 501):
        _about_the_request(seat, status, said, shown, body, forms)
    if status == 404 or 300 <= status < 400:
        raise Fault(f"there is nothing at this address: {shown}", hint=ADDRESS_HINT)
    if status in (503, 529):
        raise Fault(f"it is overloaded: {shown}", pause=pace.retry_after(reply.headers))
    raise Fault(f"it fails: {shown}")


def _about_the_request(
    seat: Seat, status: int, said: str, shown: str, body: dict[str, Any], forms: dict[str, int]
) -> None:
    """Raises where the refusal is about what was asked, and another endpoint or another try would not help."""
    if status < 500 and (status == 413 or _TOO_LONG.search(said)):
        raise UsageError(f"{seat.endpoint.origin} finds the prompt too long: {shown}", "give it less to read")
    unproven = seat.answered == float("-inf")
    name = seat.dialect.culprit(body, said, guess=unproven and status < 500)
    name = name if status < 500 or name in UNMISTAKABLE else ""
    if name:
        seat.dialect.refuse(name, forms[name])
        raise Unsupported(name)
    if status in (400, 413, 422):
        raise UsageError(f"{seat.endpoint.origin} refuses the request: {shown}", "see what it says")
