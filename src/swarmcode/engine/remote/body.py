"""The body of a request for an endpoint, and what of it an endpoint has turned out not to know.

The fields beyond the oldest form of the interface are all of them optional somewhere: one that is refused is left out
from then on.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from swarmcode.dialect.kimi import KIMI
from swarmcode.dialect.messages import Message
from swarmcode.dialect.prompt import in_words
from swarmcode.engine.families import family
from swarmcode.engine.protocol import Request, Sampling
from swarmcode.engine.remote.address import Endpoint
from swarmcode.engine.remote.chat import Conversation

OPTIONAL = (
    "chat_template_kwargs",
    "stream_options",
    "logprobs",
    "min_p",
    "top_k",
    "repetition_penalty",
    "repeat_penalty",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "tools",
    "seed",
    "response_format",
    "max_tokens",
    "temperature",
    "top_p",
    "stop",
)
"""Fields that some endpoint refuses, the likeliest first."""
STRANGE = frozenset(OPTIONAL[: OPTIONAL.index("tools") + 1])
"""What is given up first where an endpoint refuses a request without saying why."""
UNMISTAKABLE = STRANGE | {"response_format"}
"""What a complaint can mean nothing else by; some endpoints call a request that they cannot read a fault of theirs."""
SERVERS = frozenset({"swarmcode", "llamacpp", "vllm", "sglang"})
"""Owners of models that take `top_k` and `min_p`, and put defaults that limit in the place of those left out:
llama-server 40 and 0.05, the others what the model's publisher recommends."""
_NO_TOP_K = -1
"""No limit, for all of `SERVERS`; 0 says the same to most of them, and is refused by older ones of vLLM and SGLang."""
_LARGEST_SEED = (1 << 31) - 1
"""Some endpoints read a seed as 32 bits with a sign."""


class Dialect:
    """What one endpoint has turned out not to know."""

    def __init__(self) -> None:
        self._refused: dict[str, int] = {}

    def refused(self, name: str) -> int:
        """How often a field was refused: two of them have a second form that is tried before they are left out."""
        return self._refused.get(name, 0)

    def refuse(self, name: str, was: int) -> None:
        """Takes note that a field was refused in the form in which it is sent after `was` refusals."""
        if self.refused(name) == was:
            self._refused[name] = was + 1

    def culprit(self, body: dict[str, Any], complaint: str, *, guess: bool) -> str:
        """The field of a refused body that the endpoint complains of, else, for a guess, the first one that is not in
        the oldest form of the interface; empty: the request itself is refused."""
        sent = [name for name in OPTIONAL if name in body]
        if "max_completion_tokens" in complaint and "max_tokens" in sent:
            return "max_tokens"
        if "tools" in sent and re.search(r"\btool[s_ ]", complaint):  # of a choice, a parser or calls, perhaps
            return "tools"
        named = (name for name in sent if name != "max_tokens" and re.search(rf"\b{name}\b", complaint))
        return next(named, "") or next((name for name in sent if guess and name in STRANGE), "")


def body_of(endpoint: Endpoint, said: Conversation, request: Request, seed: int, dialect: Dialect) -> dict[str, Any]:
    """A request for one answer, without what the endpoint is known not to know."""
    model, sampling = endpoint.model, request.sampling
    fields: dict[str, Any] = {
        "model": model,
        "messages": _messages(model, said, native=not dialect.refused("tools")),
        "stream": True,
        "stream_options": {"include_usage": True},
        "logprobs": True,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": seed & _LARGEST_SEED,
        "chat_template_kwargs": {"thinking": said.thinking, "enable_thinking": said.thinking},
    }
    fields |= _limits(sampling, known=endpoint.owner in SERVERS) | _penalties(sampling, endpoint.owner)
    if said.tools:
        fields["tools"] = [tool.declared for tool in said.tools]
    if request.stop:
        fields["stop"] = list(request.stop)
    if request.schema:
        fields["response_format"] = _format(request.schema, dialect.refused("response_format"))
    kept = {name: value for name, value in fields.items() if not _left_out(name, dialect)}
    if dialect.refused("max_tokens"):
        kept["max_completion_tokens"] = sampling.max_tokens
    return kept


def _limits(sampling: Sampling, *, known: bool) -> dict[str, Any]:
    """The two limits that OpenAI does not have. That there is none is said to a known server alone: a vendor's own
    default is no limit, and one that knows no such field must not be sent it for nothing. Not covered: a known server
    behind a proxy that tells another owner, which then limits as it does by default."""
    limits: dict[str, Any] = {}
    if sampling.top_k or known:
        limits["top_k"] = sampling.top_k or _NO_TOP_K
    if sampling.min_p or known:
        limits["min_p"] = sampling.min_p
    return limits


def _penalties(sampling: Sampling, owner: str) -> dict[str, Any]:
    """Those that there are; to known servers also that there is none."""
    repetition = "repeat_penalty" if owner == "llamacpp" else "repetition_penalty"
    values = {
        repetition: (sampling.repetition, 1),
        "presence_penalty": (sampling.presence, 0),
        "frequency_penalty": (sampling.frequency, 0),
    }
    penalties: dict[str, Any] = {
        name: value for name, (value, none) in values.items() if value != none or owner in SERVERS
    }
    if sampling.bias:
        penalties["logit_bias"] = {str(token): value for token, value in sampling.bias}
    return penalties


def _messages(model: str, said: Conversation, *, native: bool) -> list[dict[str, Any]]:
    """Messages with calls and results of their own; in words, for an endpoint that knows no tools."""
    if said.tools and not native:
        return [_message(message, {}) for message in in_words(said.messages, said.tools)]
    calls = [call for message in said.messages for call in message.calls]
    # A Kimi reads the name of a tool in the id of its call, and nowhere else.
    named = family(model).dialect == KIMI.name
    ids = {call.id: KIMI.call_id(call.name, number) if named else call.id for number, call in enumerate(calls)}
    return [_message(message, ids) for message in said.messages]


def _message(message: Message, ids: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content + message.form}
    if message.calls:
        told["tool_calls"] = [
            {
                "id": ids[call.id],
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for call in message.calls
        ]
    if message.answers:
        told["tool_call_id"] = ids[message.answers]
    return told


def _left_out(name: str, dialect: Dialect) -> bool:
    return dialect.refused(name) > (1 if name == "response_format" else 0)


def _format(schema: str, refused: int) -> dict[str, Any]:
    """As most endpoints want a schema; after a refusal, as llama-cpp-python's server does."""
    tree = json.loads(schema)
    if refused:
        return {"type": "json_object", "schema": tree}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": tree}}
