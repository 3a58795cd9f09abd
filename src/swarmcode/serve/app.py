"""The server as an ASGI application: paths, who may ask, and what is told where something goes wrong.

POST /v1/completions        GET /v1/models, /v1/models/NAME     GET /health
POST /v1/chat/completions                                       GET /metrics
"""

import asyncio
import secrets
import time
from collections.abc import MutableMapping
from typing import Any

from swarmcode.engine.protocol import StreamingEngine
from swarmcode.errors import SwarmcodeError
from swarmcode.serve import metrics, reply
from swarmcode.serve.asgi import CLOSE, Headers, Receive, Scope, Send, body, respond
from swarmcode.serve.asked import ChatBody, CompletionBody, parsed
from swarmcode.serve.chat import ChatVoice, of_chat
from swarmcode.serve.desk import Desk
from swarmcode.serve.faults import ENGINE_GONE, INSIDE, RETRY_SECONDS, ClientGone, Refused, Told, refused, told
from swarmcode.serve.guard import Guard
from swarmcode.serve.metrics import Metrics, Outcome
from swarmcode.serve.order import Order, of_completion
from swarmcode.serve.reply import Envelope, Voice
from swarmcode.serve.text import TextVoice

LARGE_BODY = 256 << 10
"""Bytes from which on reading and tokenizing a body is left to a thread: others do not wait for it."""
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
_ENDPOINTS = {COMPLETIONS: "completions", CHAT: "chat"}


class Application:
    """One engine, served."""

    def __init__(self, engine: StreamingEngine, guard: Guard, *, agents: int) -> None:
        self._engine = engine
        self._guard = guard
        self._metrics = Metrics(lambda: engine.load)
        self._desk = Desk(engine, self._metrics, agents=agents)
        self._created = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers an HTTP request."""
        client = _Client(send)
        outcome: Outcome = "failed"
        try:
            self._guard.check(scope)
            outcome = await self._route(scope, receive, client)
        except ClientGone:
            outcome = "cancelled"
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except Refused as refusal:
            outcome = refusal.told.outcome
            await client.fail(refusal.told)
        except SwarmcodeError as error:
            await client.fail(told(error))
        except Exception:
            await client.fail(INSIDE)
            raise
        finally:
            if scope["path"] in _ENDPOINTS:
                self._metrics.ended(_ENDPOINTS[scope["path"]], outcome)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> Outcome:
        path = scope["path"]
        if path in _ENDPOINTS:
            _only(scope, "POST")
            data = await body(scope, receive)
            order, voice = await self._ordered(path, data)
            return await self._desk.answer(order, voice, receive, send)
        content, kind = self._page(path)
        _only(scope, "GET", "HEAD")
        await respond(send, 200, content, kind)
        return "answered"

    def _page(self, path: str) -> tuple[bytes, str]:
        """What is at a path, and its content type. Raises `Refused`."""
        if path == "/health":
            if not self._engine.alive:
                raise Refused(ENGINE_GONE)
            return reply.encoded({"status": "ok"}), "application/json"
        if path == "/metrics":
            return self._metrics.text(), metrics.CONTENT_TYPE
        if path == "/v1/models":
            return reply.models(self._engine.profile, self._created), "application/json"
        if path.startswith("/v1/models/"):
            self._check_model(path.removeprefix("/v1/models/"))
            return reply.encoded(reply.model(self._engine.profile, self._created)), "application/json"
        raise refused(404, "there is nothing at this path: see /v1/models")

    async def _ordered(self, path: str, data: bytes) -> tuple[Order, Voice]:
        if len(data) < LARGE_BODY:
            return self._order(path, data)
        return await asyncio.to_thread(self._order, path, data)

    def _order(self, path: str, data: bytes) -> tuple[Order, Voice]:
        engine = self._engine
        if path == COMPLETIONS:
            asked = parsed(CompletionBody, data)
            self._check_model(asked.model)
            order = of_completion(asked, engine)
            return order, TextVoice(self._envelope("cmpl", order), engine.detokenize, logprobs=order.logprobs)
        chat = parsed(ChatBody, data)
        self._check_model(chat.model)
        order, reader = of_chat(chat, engine)
        envelope = self._envelope("chatcmpl", order)
        return order, ChatVoice(envelope, engine.detokenize, reader, answers=order.answers, logprobs=order.logprobs)

    def _check_model(self, name: str | None) -> None:
        known = self._engine.profile.name
        if name is not None and name != known:
            raise Refused(Told(status=404, message=f"the model here is {known}", field="model", code="model_not_found"))

    def _envelope(self, kind: str, order: Order) -> Envelope:
        return Envelope(
            id=f"{kind}-{secrets.token_hex(12)}",
            created=int(time.time()),
            model=self._engine.profile.name,
            prompt_tokens=order.prompt_tokens,
            stream_usage=order.usage,
        )


class _Client:
    """Sends on, and remembers whether an answer has begun: an error can then no longer take its place."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self._begun = True
        await self._send(message)

    async def fail(self, what: Told) -> None:
        """Tells the client what went wrong, if it can still be told."""
        if self._begun:
            return
        more: Headers = {
            401: ((b"www-authenticate", b"Bearer"),),
            408: (CLOSE,),
            413: (CLOSE,),
            503: ((b"retry-after", str(RETRY_SECONDS).encode()),),
        }.get(what.status, ())
        try:
            await respond(self, what.status, reply.error(what), more=more)
        except ClientGone:
            return


def _only(scope: Scope, *methods: str) -> None:
    """Raises `Refused` for another method."""
    if scope["method"] not in methods:
        raise refused(405, f"this path takes {methods[0]}")
