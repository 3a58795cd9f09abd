"""What an endpoint says of itself before anything is sent to it: which models it has, and how long a context."""

import asyncio
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from swarmcode.engine.remote import listen
from swarmcode.engine.remote.address import Endpoint
from swarmcode.engine.remote.ask import KEY_HINT, NOT_ALLOWED
from swarmcode.engine.remote.client import Client
from swarmcode.engine.remote.faults import Fault
from swarmcode.engine.remote.wire import Models, Properties

_TIME = 15.0
"""Seconds for an answer."""
_LARGEST = 8 << 20
"""Bytes of an answer: some vendors list a thousand models."""
_NAMED = 8
"""Most models that a message names."""

T = TypeVar("T", bound=BaseModel)


async def introduced(endpoint: Endpoint, client: Client) -> Endpoint:
    """The endpoint with what it says of its model filled in. One that keeps no list of its models is believed to have
    the one that was named. Raises `Fault`."""
    listed = await _asked(client, "/models", Models)
    named = _named(endpoint, client, listed)
    told = next((model for model in listed.data if model.id == named), None) if listed else None
    context = endpoint.context or (told.context if told else 0) or await _props(endpoint, client)
    return replace(endpoint, model=named, context=context, owner=(told.owned_by or "") if told else "")


def _named(endpoint: Endpoint, client: Client, listed: Models | None) -> str:
    names = [model.id for model in listed.data] if listed else []
    wanted = endpoint.model
    if wanted and (not names or wanted in names):
        return wanted
    if not wanted and len(names) == 1:
        return names[0]
    tagged = [name for name in names if name.partition(":")[0] == wanted]
    if len(tagged) == 1:
        return tagged[0]
    shown = client.scrubbed(", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else ""))
    what = f"it has no model {wanted}" if wanted else "the model is not named"
    raise Fault(
        f"{what}; it has {shown}" if names else what, hint="name its model after the address: http://host:port/v1#model"
    )


async def _props(endpoint: Endpoint, client: Client) -> int:
    """As llama-server tells it, beside its `/v1`; 0 where nothing is told."""
    if not endpoint.url.endswith("/v1"):
        return 0
    try:
        told = await _asked(client, "/../props", Properties)
    except Fault:
        return 0
    return told.default_generation_settings.n_ctx if told else 0


async def _asked(client: Client, path: str, form: type[T]) -> T | None:
    """What a GET gives; None where there is nothing of that form. Raises `Fault`."""
    try:
        async with asyncio.timeout(_TIME), client.call(path) as reply:
            if reply.status in NOT_ALLOWED:
                raise Fault(f"it does not let us in (status {reply.status})", hint=KEY_HINT)
            if reply.status == 429 or (reply.status >= 500 and reply.status != 501):
                raise Fault(f"it is not ready (status {reply.status})")
            if reply.status != 200:
                return None
            return form.model_validate_json(await listen.whole(reply.chunks, _LARGEST))
    except ValidationError:
        return None
    except TimeoutError:
        raise Fault(f"no answer within {_TIME:g} s") from None
