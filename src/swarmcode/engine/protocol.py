"""The seam between whoever wants text and whatever runs the model.

A prompt is given as segments, the part that many requests share first, so that equal heads are recognised and computed
once. Callers are asyncio tasks; an engine may run its model wherever it likes, and cancelling the task cancels the
request and frees what it held.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from swarmcode.flow import Usage

Finish = Literal["stop", "length", "circles"]
Likeliest = tuple[tuple[int, float], ...]
"""Tokens with their natural log-probabilities, the likeliest first, of equals the smaller token first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of a prompt: text to be tokenized by itself, or tokens as they are."""

    text: str = ""
    """Tokenized alone, so that equal segments give equal tokens whatever follows."""
    tokens: tuple[int, ...] = ()
    """Used where `text` is empty."""
    special: bool = False
    """Whether the spelling of control tokens in `text` stands for those tokens. Never set it for untrusted text."""


class Constraint(Protocol):
    """Which tokens may come next. Pure: the same tokens give the same answer."""

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_] | None:
        """Mask of shape (vocabulary,), True where the token may follow `generated`; None where all may."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is chosen. Order: constraint, penalties and bias, top-k, top-p, min-p, temperature."""

    temperature: float = 1.0
    """0 takes the most probable token."""
    top_k: int = 0
    """0: no limit."""
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0
    """Divides the logits of tokens that stand in the prompt or the answer, multiplies those below zero; above 0."""
    presence: float = 0.0
    """Taken off the logits of tokens that stand in the answer."""
    frequency: float = 0.0
    """Likewise, once for each time that they do."""
    bias: tuple[tuple[int, float], ...] = ()
    """Tokens, and what is added to their logits."""
    max_tokens: int = 256
    """The answer is cut there, with finish `length`."""

    @property
    def penalised(self) -> bool:
        """Whether what was said before, or a bias, changes logits."""
        return bool(self.repetition != 1 or self.presence or self.frequency or self.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt, one or more answers."""

    prompt: tuple[Segment, ...]
    sampling: Sampling
    seeds: tuple[int, ...] = (0,)
    """One answer a seed: they share the whole prompt. Equal request and seed give an equal answer, whatever else is in
    the batch, as far as the backend's arithmetic permits."""
    stop: tuple[str, ...] = ()
    """Ends the answer; not part of it."""
    stop_tokens: tuple[int, ...] = ()
    """As `stop`; the model's own end-of-generation tokens always count."""
    constraint: Constraint | None = None
    schema: str = ""
    """JSON schema that the answer must follow; empty: none."""
    top: int = 0
    """How many of the likeliest next tokens are reported for each generated token."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Control tokens that the text spells out; it has none of the others."""
    circling: bool = True
    """Whether an answer may go in circles; else it is ended where it does, by an engine that sees its tokens."""
    priority: float = 0.0
    """Higher runs first when seats are scarce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One answer."""

    text: str
    """Detokenized, without the stop; of control tokens, those that the request has names for."""
    tokens: tuple[int, ...]
    """As generated, without the stop token."""
    logprobs: tuple[float, ...]
    """Natural log-probability of each generated token, the stop token included as last one where there was one:
    under the constraint, at temperature 1, before penalties, top-k, top-p and min-p."""
    finish: Finish
    tops: tuple[Likeliest, ...] = ()
    """For each of `logprobs`, the likeliest tokens by the same measure: as many as the request asked for, or as may
    follow. Empty where none were asked for, or where the model does not tell."""
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What one answer of a request has gained since the last news of it."""

    index: int
    """Of its seed."""
    text: str = ""
    """Goes on where the last one ended: whole characters, and nothing that may turn out to begin a stop. All of them
    together are the text of the completion."""
    tokens: tuple[int, ...] = ()
    """As generated; their text may come later."""
    logprobs: tuple[float, ...] = ()
    """One for each of the tokens."""
    tops: tuple[Likeliest, ...] = ()
    """One for each of the tokens, where they were asked for."""
    completion: Completion | None = None
    """The whole answer, with its last news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What an engine is doing at this moment, for a live view."""

    running: int = 0
    """Sequences that are decoding."""
    waiting: int = 0
    """Sequences that wait for a seat or for cells."""
    drafted: int = 0
    """Tokens that were guessed and computed, since the engine was opened."""
    accepted: int = 0
    """Of them, those that were right: as many steps less for their sequences."""
    usage: Usage = field(default_factory=Usage)
    """Since the engine was opened; `seconds` is the time spent computing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanFormat:
    """What a span-edit model was trained to see around a line. Lines are left out, furthest first, until each side has
    no more tokens than it may."""

    before_lines: int = 16
    after_lines: int = 8
    before_tokens: int = 256
    after_tokens: int = 128
    line_tokens: int = 63
    answer_tokens: int = 48
    """Pointers and end mark included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model file, and what is true of it. Whatever it does not promise is never asked of the model."""

    name: str
    """How reports call it."""
    protocols: tuple[str, ...]
    """Agent protocols that it speaks, best first: `span`, `tools`, `blocks`."""
    context: int
    """Longest sequence, in tokens."""
    vocabulary: int = 0
    """Number of tokens: the length of a constraint's mask."""
    chat_template: str = ""
    """Jinja source from the GGUF; empty: it cannot chat."""
    plans: bool = False
    """Whether it follows instructions well enough to plan."""
    sampling: Sampling = field(default_factory=Sampling)
    """Default for attempts."""
    reasoning: Sampling | None = None
    """Default for attempts with thoughts; None: as without."""
    family: str = ""
    """The family whose publisher's defaults these are; empty: none that is known."""
    dialect: str = ""
    """The form of its tool calls, which its template shows; empty: it shows none, and calls are asked for in words."""
    switch: str = ""
    """The variable of its template that turns thoughts on and off; empty: they cannot be turned."""
    stops: tuple[str, ...] = ()
    """Control tokens that end its turns."""
    span: SpanFormat | None = None
    """How span edits are asked for; None: the model knows none."""


class Engine(Protocol):
    """A model that is loaded and ready."""

    @property
    def profile(self) -> Profile: ...

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """One completion a seed, in the order of the seeds.

        Raises `UsageError` where the prompt and `max_tokens` do not fit the context, `ModelError` where the model
        cannot do what is asked (a schema, say), `EngineLost` where the engine died or was closed; where
        it failed at this request and can go on, the `StepLost` among them.
        """
        ...

    def tokenize(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        """Tokens of `text` alone, without a begin token. Fast, and safe from any thread."""
        ...

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        """The bytes that ordinary tokens stand for; control tokens give nothing."""
        ...

    @property
    def load(self) -> Load: ...

    async def close(self) -> None:
        """Ends the engine; pending requests raise `EngineLost`. Idempotent."""
        ...


class Stream(Protocol):
    """The news of one request. Whoever stops listening before the end closes it (`contextlib.closing`)."""

    def __aiter__(self) -> "Stream": ...

    async def __anext__(self) -> tuple[News, ...]:
        """All that has come since the last call, at least one; of an answer, in order. Raises what `complete` raises
        while a request is under way."""
        ...

    def close(self) -> None:
        """Ends the request if it has not ended, and frees what it held. Idempotent."""
        ...


class StreamingEngine(Engine, Protocol):
    """An engine that tells of answers while they are generated, and knows what a prompt costs beforehand."""

    @property
    def alive(self) -> bool:
        """Whether it can still answer: it was not closed, and has not died."""
        ...

    def stream(self, request: Request) -> Stream:
        """As `complete`, for the event loop that runs. Raises at once what `complete` raises before a request is under
        way."""
        ...

    def prompt(self, segments: Sequence[Segment]) -> tuple[int, ...]:
        """The tokens that a prompt of these segments has, with what the model wants before them. From any thread."""
        ...
