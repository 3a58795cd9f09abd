"""Which endpoint gets the next request: the least loaded one that is well.

An endpoint that fails repeatedly is set aside, each time for longer, and then given one request to show itself; one
that asks for a pause gets it, and from then on fewer requests at once until it keeps up again (additive increase,
multiplicative decrease). Failures of requests that were under way when it was set aside say nothing new. Pure, but for
the clock of the event loop.
"""

import asyncio
import heapq
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from swarmcode.engine.remote.address import Endpoint
from swarmcode.engine.remote.body import Dialect
from swarmcode.engine.remote.client import Client
from swarmcode.engine.remote.faults import Fault
from swarmcode.errors import EngineLost, ModelError, SwarmcodeError

STRIKES = 3
"""Failures in a row after which an endpoint is set aside."""
ASIDE, LONGEST_ASIDE = 2.0, 60.0
"""Seconds; doubled each time."""
GIVEN_UP = 7
"""Failures in a row after which it is not asked again in this run: with the pauses between, after half a minute."""
LONGEST_PAUSE = 300.0
"""Seconds. An endpoint that wants to be left alone for longer is not asked again in this run."""


@dataclass(eq=False, slots=True)
class Seat:
    """One endpoint, and how it does."""

    endpoint: Endpoint
    client: Client
    dialect: Dialect = field(default_factory=Dialect)
    room: float = 0.0
    """Requests at once, as it turned out."""
    running: int = 0
    failures: int = 0
    """In a row."""
    until: float = 0.0
    """Nothing is asked of it before, on the loop's clock."""
    settled: float = 0.0
    """When it was last set aside or slowed down."""
    answered: float = float("-inf")
    """When it last answered well."""
    gone: Fault | None = None
    """Why nothing is asked of it any more."""

    def __post_init__(self) -> None:
        self.room = self.room or float(self.endpoint.seats)

    def free(self, now: float) -> bool:
        """Whether it may be given a request."""
        most = 1 if self.failures >= STRIKES else max(1, int(self.room))
        return self.gone is None and now >= self.until and self.running < most


class Pool:
    """All endpoints of a run."""

    def __init__(self, seats: Sequence[Seat], aside: float = ASIDE) -> None:
        """`aside`: seconds for which an endpoint is set aside at first."""
        self.seats = tuple(seats)
        self._aside = aside
        self._waiting: list[tuple[float, int, asyncio.Future[Seat]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def running(self) -> int:
        return sum(seat.running for seat in self.seats)

    @property
    def waiting(self) -> int:
        return sum(not future.done() for _, _, future in self._waiting)

    @property
    def answered(self) -> float:
        """When any endpoint last answered well."""
        return max(seat.answered for seat in self.seats)

    async def take(self, priority: float) -> Seat:
        """A place at an endpoint, to be used with `place`. Raises what `lost` gives where no endpoint is left."""
        future: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (-priority, next(self._order), future))
        self._share_out()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                self.leave(future.result())
            raise

    @contextmanager
    def place(self, seat: Seat) -> Iterator[None]:
        """Keeps count of how a request at a seat that was taken ends, and gives the place back."""
        began = self._now
        try:
            yield
            seat.answered = self._now
            seat.failures = 0
            seat.room = min(float(seat.endpoint.seats), seat.room + 1 / max(1.0, seat.room))
        except Fault as fault:
            self._failed(seat, fault, began)
            raise
        finally:
            self.leave(seat)

    def leave(self, seat: Seat) -> None:
        """Gives a place back."""
        seat.running -= 1
        self._share_out()

    def pause(self, seat: Seat, seconds: float) -> None:
        """Asks nothing of an endpoint for a while."""
        seat.until = max(seat.until, self._now + min(seconds, LONGEST_PAUSE))

    def lost(self) -> SwarmcodeError:
        """Why there is nobody left to ask: `ModelError` where a person must do something first, else `EngineLost`."""
        if self._closed:
            return EngineLost("the engine was closed under a request", "run it again")
        said = "; ".join(f"{seat.endpoint.origin}: {seat.gone.message}" for seat in self.seats if seat.gone)
        hints = [seat.gone.hint for seat in self.seats if seat.gone]
        return ModelError(said, hints[0]) if hints and all(hints) else EngineLost(f"no endpoint is left: {said}")

    def close(self) -> None:
        """Whoever waits gets `EngineLost`."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        self._share_out()

    def _failed(self, seat: Seat, fault: Fault, began: float) -> None:
        if fault.hint:
            seat.gone = fault
        elif fault.throttled:
            self._slow_down(seat, fault, began)
        elif began >= seat.settled:
            self.pause(seat, fault.pause or 0.0)
            seat.failures += 1
            seat.gone = fault if seat.failures >= GIVEN_UP else None
            if seat.failures >= STRIKES:
                self.pause(seat, min(LONGEST_ASIDE, self._aside * 2.0 ** min(10, seat.failures - STRIKES)))
                seat.settled = self._now

    def _slow_down(self, seat: Seat, fault: Fault, began: float) -> None:
        if fault.pause is not None and fault.pause > LONGEST_PAUSE:
            seat.gone = Fault(f"{fault.message}, and asks for a pause of {fault.pause:.0f} s", hint="try again later")
            return
        self.pause(seat, fault.pause if fault.pause is not None else 1.0)
        if began >= seat.settled:
            seat.room = max(1.0, min(seat.room, seat.running) / 2)
            seat.settled = self._now

    def _share_out(self) -> None:
        """Gives free places to those who wait, the most urgent first; sees to it that it is called again in time."""
        while self._waiting:
            *_, future = self._waiting[0]
            if not future.done():
                seat = self._best()
                if self._closed or all(each.gone for each in self.seats):
                    future.set_exception(self.lost())
                elif seat is None:
                    return self._wake()
                else:
                    seat.running += 1
                    future.set_result(seat)
            heapq.heappop(self._waiting)
        return None

    def _best(self) -> Seat | None:
        free = [seat for seat in self.seats if seat.free(self._now)]
        return min(free, key=lambda seat: (seat.failures > 0, seat.running / seat.room), default=None)

    def _wake(self) -> None:
        if self._timer:
            self._timer.cancel()
        pauses = [seat.until for seat in self.seats if not seat.gone and seat.until > self._now]
        if pauses:
            self._timer = asyncio.get_running_loop().call_at(min(pauses), self._share_out)

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()
