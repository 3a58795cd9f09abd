"""An engine whose models run elsewhere: one or several OpenAI-compatible endpoints as one.

Each answer is a request of its own, so that it has a seed of its own; a prompt that they share is the endpoint's to
cache. A request that fails is tried again, elsewhere if possible, after exponentially growing waits with jitter
(tenacity), a bounded number of times. What then ends is the request alone, if others were answered meanwhile; else the
engine is lost.

What an endpoint does not tell is not made up. Where one gives no log-probabilities, no completion has any from then on:
agents then score all answers alike (0), and candidates are tried in the order in which they came.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import NoReturn
from urllib.parse import urlsplit

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from swarmcode.engine.families import family
from swarmcode.engine.protocol import Completion, Load, Profile, Request
from swarmcode.engine.remote import chat
from swarmcode.engine.remote.address import Endpoint, Price
from swarmcode.engine.remote.ask import Answered, Patience, ask
from swarmcode.engine.remote.chat import Conversation
from swarmcode.engine.remote.client import Client
from swarmcode.engine.remote.faults import Fault, Unsupported
from swarmcode.engine.remote.greet import introduced
from swarmcode.engine.remote.pool import Pool, Seat
from swarmcode.errors import EngineLost, ModelError, UsageError
from swarmcode.flow import Usage

TRIES = 6
"""Of one request."""
_LONGEST_WAIT = 20.0
"""Seconds between tries. Each wait is a random part of a time that is doubled each time, so that requests that failed
together do not come back together."""
CONTEXT = 16_384
"""Tokens, where an endpoint does not tell how long a context it has."""
_GREETINGS = 3
"""Tries at finding out what an endpoint has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What the answers so far cost, by the prices that were given."""

    money: float = 0.0
    unpriced: int = 0
    """Answers of endpoints without a price, or without a count of tokens, which are not in `money`."""


class RemoteEngine:
    """Implements `protocol.Engine` on endpoints that are there."""

    def __init__(
        self,
        seats: Sequence[Seat],
        profile: Profile,
        patience: Patience | None = None,
        *,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._patience = patience or Patience()
        self._pool = Pool(seats, self._patience.aside)
        self._profile = profile
        self._usage = Usage()
        self._scored = True
        self.spending = Spending()
        self.warnings = warnings
        """A line for each endpoint that is left out, and why."""

    @property
    def profile(self) -> Profile:
        return self._profile

    @property
    def load(self) -> Load:
        return Load(running=self._pool.running, waiting=self._pool.waiting, usage=self._usage)

    def tokenize(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        """Not to be had: an endpoint keeps its vocabulary to itself. Raises `ModelError`."""
        _impossible("tokens of a text")

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        """As `tokenize`."""
        _impossible("the text of tokens")

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """As in `Engine`; `tokens` of a completion are empty, and so are its `logprobs` where an endpoint gives none.
        Also raises `UsageError` where this request alone finds no answer, though others do."""
        if request.constraint or request.stop_tokens:
            _impossible("an answer with constraints on its tokens")
        if request.sampling.max_tokens < 1:
            raise UsageError(f"an answer of {request.sampling.max_tokens} tokens was asked for", "ask for at least one")
        said = chat.conversation(request.prompt)
        if len(request.seeds) == 1:
            return (await self._one(said, request, request.seeds[0]),)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(said, request, seed)) for seed in request.seeds]
        except BaseExceptionGroup as error:
            raise error.exceptions[0] from None
        return tuple(task.result() for task in tasks)

    async def close(self) -> None:
        """As in `Engine`."""
        self._pool.close()
        for seat in self._pool.seats:
            await seat.client.close()

    async def _one(self, said: Conversation, request: Request, seed: int) -> Completion:
        began = asyncio.get_running_loop().time()
        tries = AsyncRetrying(
            stop=stop_after_attempt(TRIES) | stop_after_delay(self._patience.total),
            wait=wait_random_exponential(self._patience.again, _LONGEST_WAIT),
            retry=retry_if_exception(lambda error: isinstance(error, Fault)),
            retry_error_callback=lambda state: self._give_up(state, began),
        )
        answered: object = await tries(self._try, said, request, seed)
        assert isinstance(answered, Answered)
        return answered.completion

    async def _try(self, said: Conversation, request: Request, seed: int) -> Answered:
        """One endpoint's answer, asked in as many ways as it takes to be understood. Raises `Fault`."""
        while True:
            seat = await self._pool.take(request.priority)
            try:
                with self._pool.place(seat):
                    answered = await ask(seat, said, request, seed, self._patience)
            except Unsupported:
                continue
            return self._accounted(seat, answered)

    def _accounted(self, seat: Seat, answered: Answered) -> Answered:
        completion = answered.completion
        if answered.rest:
            self._pool.pause(seat, answered.rest)
        self._usage += completion.usage
        self.spending = _added(self.spending, seat.endpoint.price if answered.counted else None, completion.usage)
        self._scored = self._scored and bool(completion.logprobs)
        return answered if self._scored else replace(answered, completion=replace(completion, logprobs=()))

    def _give_up(self, state: RetryCallState, began: float) -> NoReturn:
        fault = state.outcome.exception() if state.outcome else None
        assert isinstance(fault, Fault)
        tries = f"{state.attempt_number} tries"
        if self._pool.answered > began:
            raise UsageError(f"no endpoint has an answer to this request in {tries}: {fault.message}")
        raise EngineLost(f"no answer in {tries} from {self._where()}: {fault.message}")

    def _where(self) -> str:
        return ", ".join(dict.fromkeys(seat.endpoint.origin for seat in self._pool.seats))


def _impossible(what: str) -> NoReturn:
    raise ModelError(f"an endpoint cannot give {what}", "use a model file for this: --model PATH")


def _added(spending: Spending, price: Price | None, usage: Usage) -> Spending:
    if price is None:
        return replace(spending, unpriced=spending.unpriced + 1)
    cost = usage.prefilled * price.prompt + usage.reused * price.cached + usage.decoded * price.completion
    return replace(spending, money=spending.money + cost / 1e6)


async def open_remote(
    endpoints: Sequence[Endpoint], *, context: int = 0, patience: Patience | None = None
) -> RemoteEngine:
    """An engine on those endpoints that answer now; the others are named in its `warnings`. `context`: tokens of prompt
    and answer, at most; 0: as the endpoints say.

    Raises `EngineLost` where none can be reached, `ModelError` where none has the model or takes the key.
    """
    seats = [Seat(endpoint, Client(endpoint)) for endpoint in endpoints]
    async with AsyncExitStack() as opened:
        for seat in seats:
            opened.push_async_callback(seat.client.close)
        async with asyncio.TaskGroup() as group:
            for seat in seats:
                group.create_task(_greeted(seat, patience or Patience()))
        here = [seat for seat in seats if not seat.gone]
        if not here:
            raise Pool(seats).lost()
        opened.pop_all()
    left = tuple(f"{seat.endpoint.origin} is left out: {seat.gone.message}" for seat in seats if seat.gone)
    return RemoteEngine(here, _profile([seat.endpoint for seat in here], context), patience, warnings=left)


async def _greeted(seat: Seat, patience: Patience) -> None:
    """Takes down in the seat what its endpoint says of itself, or why it says nothing."""
    tries = AsyncRetrying(
        stop=stop_after_attempt(_GREETINGS),
        wait=wait_random_exponential(patience.again, _LONGEST_WAIT),
        retry=retry_if_exception(lambda error: isinstance(error, Fault) and not error.hint),
        reraise=True,
    )
    try:
        seat.endpoint = await tries(introduced, seat.endpoint, seat.client)
    except Fault as fault:
        seat.gone = fault


def _profile(endpoints: Sequence[Endpoint], context: int) -> Profile:
    """What is true of all of them."""
    models = " and ".join(dict.fromkeys(endpoint.model for endpoint in endpoints))
    hosts = ", ".join(dict.fromkeys(urlsplit(endpoint.url).netloc for endpoint in endpoints))
    shortest = min(endpoint.context or CONTEXT for endpoint in endpoints)
    longest, known = min(context or shortest, shortest), family(models)
    return Profile(
        name=f"{models} at {hosts}",
        protocols=("tools", "blocks"),
        context=longest,
        chat_template=chat.TEMPLATE,
        plans=True,
        sampling=known.instant,
        reasoning=known.reasoning(longest),
        family=known.name,
    )
