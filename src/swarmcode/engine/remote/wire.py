"""What an endpoint may answer over the wire.

Answers are untrusted: each piece is checked here, and what is of the wrong type, negative, infinite or no UTF-8 is a
`Fault`.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from swarmcode.engine.remote.faults import Fault

_MOST_TOKENS = 1 << 31

Count = Annotated[int, Field(ge=0, lt=_MOST_TOKENS, strict=True)]


class _Function(BaseModel):
    name: str | None = Field(default=None, max_length=1000)
    arguments: str | dict[str, Any] | None = None


class Asked(BaseModel):
    """A call of a tool, or a piece of one."""

    index: Annotated[int, Field(ge=0, lt=1000)] | None = None
    function: _Function = _Function()

    @property
    def name(self) -> str:
        return self.function.name or ""

    @property
    def arguments(self) -> str:
        """JSON text, or a piece of it."""
        given = self.function.arguments
        return json.dumps(given, ensure_ascii=False) if isinstance(given, dict) else given or ""


class _Said(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Asked] | None = Field(default=None, max_length=1000)


class _Token(BaseModel):
    logprob: FiniteFloat


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Choice(BaseModel):
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Details(BaseModel):
    cached_tokens: Count | None = None


class Spent(BaseModel):
    """Tokens, as the endpoint counts them."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    prompt_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: Count | None = None

    @property
    def cached(self) -> int:
        """Prompt tokens that need not be computed again; 0 where the endpoint does not say."""
        details = self.prompt_tokens_details
        return (details and details.cached_tokens) or self.prompt_cache_hit_tokens or 0


class Piece(BaseModel):
    """One event of a stream, or a whole answer that was not streamed."""

    choices: list[_Choice] = Field(default=[], max_length=8)
    usage: Spent | None = None
    error: Any = None

    @property
    def text(self) -> str:
        return "".join(said.content or "" for said in self._said())

    @property
    def asked(self) -> list[tuple[int, Asked]]:
        """Calls and pieces of calls, each with the number of its call within the answer."""
        every = [asked for said in self._said() for asked in said.tool_calls or ()]
        return [(place if asked.index is None else asked.index, asked) for place, asked in enumerate(every)]

    @property
    def thought(self) -> bool:
        """Whether it carries reasoning, which is no part of the answer."""
        return any(said.reasoning_content or said.reasoning for said in self._said())

    @property
    def logprobs(self) -> list[float]:
        """Natural, at most 0."""
        found = self.choices[0].logprobs if self.choices else None
        return [min(token.logprob, 0.0) for token in (found and found.content) or ()]

    @property
    def finish(self) -> str:
        """Why it ended, in the endpoint's words; empty while it goes on."""
        return (self.choices[0].finish_reason or "") if self.choices else ""

    def _said(self) -> Sequence[_Said]:
        choice = self.choices[0] if self.choices else None
        return [said for said in (choice.delta, choice.message) if said] if choice else []


class _Meta(BaseModel):
    n_ctx: Count | None = None


class _Model(BaseModel):
    id: str = Field(max_length=1000)
    owned_by: str | None = Field(default=None, max_length=1000)
    max_model_len: Count | None = None
    context_length: Count | None = None
    context_window: Count | None = None
    meta: _Meta | None = None

    @property
    def context(self) -> int:
        """Tokens of prompt and answer; 0 where it does not say."""
        meta = self.meta.n_ctx if self.meta else None
        return self.max_model_len or self.context_length or self.context_window or meta or 0


class Models(BaseModel):
    """What `/models` answers."""

    data: list[_Model] = Field(max_length=100_000)


class _Generation(BaseModel):
    n_ctx: Count = 0


class Properties(BaseModel):
    """What llama-server's `/props` answers."""

    default_generation_settings: _Generation = _Generation()


class _Message(BaseModel):
    message: str = ""


class _Refusal(BaseModel):
    error: _Message | str = ""
    message: str = ""


def piece(data: bytes) -> Piece:
    """Raises `Fault`."""
    try:
        found = Piece.model_validate_json(data)
    except ValidationError as error:
        raise Fault(f"what it answers is malformed: {_first(error)}") from None
    if found.usage and found.usage.cached > found.usage.prompt_tokens:
        raise Fault("what it answers is malformed: more of the prompt is cached than there is")
    return found


def complaint(data: bytes) -> str:
    """What an endpoint says of a request that it refuses, on one line; untrusted, and perhaps empty."""
    try:
        refusal = _Refusal.model_validate_json(data)
        said = refusal.error if isinstance(refusal.error, str) else refusal.error.message
        text = said or refusal.message or data.decode()
    except ValidationError:
        text = data.decode("utf-8", errors="replace")
    return " ".join(text.split())


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, without what stood there."""
    wrong = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(step) for step in wrong["loc"])
    return f"{place}: {wrong['msg']}" if place else wrong["msg"]
