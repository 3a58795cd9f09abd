"""What a client is told when it does not get an answer: a status, and an error object of the OpenAI form.

Lower-layer errors are translated here, once. What is no fault of the client's is told without its inside: no path, no
traceback.
"""

from dataclasses import dataclass
from typing import Literal

from swarmcode.errors import ModelError, PassingFault, SwarmcodeError, UsageError

RETRY_SECONDS = 1
"""After which a client that was turned away for want of room may try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An error object."""

    status: int
    message: str
    field: str = ""
    """Of the request, that it is about."""
    kind: str = "invalid_request_error"
    code: str = ""
    """For programs; empty: none."""

    @property
    def outcome(self) -> Literal["refused", "overloaded", "failed"]:
        """As it is counted."""
        if self.status < 500:
            return "refused"
        return "overloaded" if self.status == 503 else "failed"


class Refused(Exception):
    """A request that is not answered, and why."""

    def __init__(self, told: Told) -> None:
        super().__init__(told.message)
        self.told = told


class ClientGone(Exception):
    """The client has closed its connection, or takes nothing any more: nobody is left to answer."""


def refused(status: int, message: str, *, code: str = "") -> Refused:
    """For what is wrong with the request as a whole."""
    return Refused(Told(status=status, message=message, code=code))


def wrong(field: str, message: str, *, code: str = "") -> Refused:
    """A field that cannot be as it is. The message names it."""
    return Refused(Told(status=400, message=message, field=field, code=code))


def full(message: str) -> Refused:
    """There is no room at this moment."""
    return Refused(Told(status=503, message=message, kind="server_error", code="overloaded"))


ENGINE_GONE = Told(status=503, message="the engine is gone", kind="server_error", code="engine_lost")
INSIDE = Told(status=500, message="an error inside swarmcode itself", kind="server_error")
"""All that a client is told of a fault of ours."""


def told(error: SwarmcodeError, *, schema: bool = False) -> Told:
    """What a client is told of an engine's error; `schema`: whether its request had one."""
    if isinstance(error, UsageError):
        return Told(status=400, message=str(error))
    if isinstance(error, ModelError) and schema:
        return Told(status=400, message=str(error), field="response_format")
    if isinstance(error, PassingFault):
        return ENGINE_GONE
    return Told(status=500, message=error.message, kind="server_error")
