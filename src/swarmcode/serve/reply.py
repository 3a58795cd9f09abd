"""What is answered: the JSON of OpenAI's interface, and only the parts of it that mean something here."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from swarmcode.engine.protocol import Completion, News, Profile
from swarmcode.serve.faults import Told

DONE = b"[DONE]"
"""The last event of every stream."""
Spell = Callable[[Sequence[int]], bytes]
"""Tokens -> the bytes that they stand for."""


class Voice(Protocol):
    """How one request is answered. What it gives is JSON."""

    def whole(self, completions: Sequence[Completion]) -> bytes:
        """All answers at once, in order."""
        ...

    def opening(self) -> list[bytes]:
        """The first events of a stream."""
        ...

    def pieces(self, news: News) -> list[bytes]:
        """The events that tell some news."""
        ...

    def closing(self, completions: Sequence[Completion]) -> list[bytes]:
        """The last events of a stream, but for `DONE`; all answers are known by then."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What all parts of the answer to one request have in common."""

    id: str
    created: int
    """Seconds since 1970."""
    model: str
    prompt_tokens: int
    """Of all prompts."""
    stream_usage: bool
    """Whether a stream tells what it cost."""

    def wrap(self, kind: str, choices: list[dict[str, Any]], completions: Sequence[Completion] = ()) -> bytes:
        """An object of that kind; with what the completions cost, if there are any."""
        told: dict[str, Any] = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        told["choices"] = choices
        if completions:
            told["usage"] = self._usage(completions)
        return encoded(told)

    def closing(self, kind: str, completions: Sequence[Completion]) -> list[bytes]:
        """The last event of a stream of such objects, where one is due."""
        return [self.wrap(kind, [], completions)] if self.stream_usage else []

    def _usage(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """Prompt tokens count once a prompt, however many answers it has. Cached are those that did not have to be
        computed for this request; a sequence that was parked computes some twice, hence the bound."""
        said = sum(each.usage.decoded for each in completions)
        computed = sum(each.usage.prefilled for each in completions)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": said,
            "total_tokens": self.prompt_tokens + said,
            "prompt_tokens_details": {"cached_tokens": max(0, self.prompt_tokens - computed)},
        }


def error(told: Told) -> bytes:
    """Why there is no answer."""
    return encoded(
        {
            "error": {
                "message": told.message,
                "type": told.kind,
                "param": told.field or None,
                "code": told.code or None,
            }
        }
    )


def models(profile: Profile, created: int) -> bytes:
    """The list of the one model; `max_model_len` is vLLM's word for its context."""
    return encoded({"object": "list", "data": [model(profile, created)]})


def model(profile: Profile, created: int) -> dict[str, Any]:
    """One model."""
    return {
        "id": profile.name,
        "object": "model",
        "created": created,
        "owned_by": "swarmcode",
        "max_model_len": profile.context,
    }


def encoded(value: object) -> bytes:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")
