"""HTTP: the only caller of httpx.

Covered: a redirect is not followed (it would take the key along), compressed answers are refused (a bomb is small on
the wire), and a proxy is used for hosts beyond this machine alone. What httpx raises becomes a `Fault`; neither its
words nor what an endpoint says of itself can carry the key into a message.
"""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from swarmcode.engine.remote.address import Endpoint
from swarmcode.engine.remote.faults import Fault

_CONNECT, _SEND = 10.0, 60.0
"""Seconds. How long an answer may take is up to whoever waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The head of an answer, and its body as it comes."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    chunks: AsyncIterator[bytes]
    """Raises `Fault`."""

    @property
    def streamed(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")


class Client:
    """Connections to one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        headers = {"accept-encoding": "identity", "user-agent": "swarmcode"}
        if endpoint.key:
            headers["authorization"] = f"Bearer {endpoint.key}"
        self._key = endpoint.key
        self._url = endpoint.url
        plain = endpoint.loopback and endpoint.url.startswith("http:")
        self._http = httpx.AsyncClient(
            # Without encryption no authority is trusted, and none need be loaded, which takes a tenth of a second.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True,
            headers=headers,
            timeout=httpx.Timeout(None, connect=_CONNECT, write=_SEND),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=endpoint.seats),
            trust_env=not endpoint.loopback,
            follow_redirects=False,
        )

    @asynccontextmanager
    async def call(self, path: str, body: Mapping[str, Any] | None = None) -> AsyncIterator[Reply]:
        """A POST of JSON, or without a body a GET of `path` below the endpoint's URL, `/..` included. Leaving the
        block, in whatever way, ends the request. Raises `Fault`."""
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"content-type": "application/json"}
        url = self._url.rpartition("/")[0] + path.removeprefix("/..") if path.startswith("/..") else self._url + path
        try:
            async with self._http.stream(
                "GET" if body is None else "POST", url, content=content, headers=headers
            ) as got:
                if got.headers.get("content-encoding", "identity") != "identity":
                    raise Fault("it compresses its answers though it was asked not to")
                yield Reply(status=got.status_code, headers=got.headers, chunks=_chunks(got))
        except httpx.InvalidURL:
            raise Fault("this is no address", hint="check the address of the endpoint") from None
        except httpx.ConnectError as error:
            raise Fault(self.scrubbed(f"no connection: {error}")) from None
        except httpx.TimeoutException:
            raise Fault("no connection within the time for one") from None
        except httpx.HTTPError as error:
            raise Fault(f"the connection broke ({type(error).__name__})") from None

    def scrubbed(self, text: str) -> str:
        """A line for a person: without the key, should it be in there, and not long."""
        clean = text.replace(self._key, "***") if self._key else text
        return " ".join("".join(c if c.isprintable() else " " for c in clean).split())[:300]

    async def close(self) -> None:
        """Ends all connections."""
        await self._http.aclose()


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except httpx.HTTPError as error:
        raise Fault(f"the connection broke ({type(error).__name__})") from None
