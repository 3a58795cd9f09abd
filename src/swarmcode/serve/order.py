"""What one HTTP request asks of the engine: bodies become engine requests, or are refused with the field that is wrong.

What is not said is as the model's profile says: publishers recommend sampling settings, and the file carries them.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from swarmcode.engine.protocol import Profile, Request, Sampling, Segment, StreamingEngine
from swarmcode.serve import schema
from swarmcode.serve.asked import Body, CompletionBody
from swarmcode.serve.faults import wrong

SHORT_ANSWER = 16
"""Tokens of a completion where `max_tokens` is not said, as OpenAI has it."""
_SEEDS = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An HTTP request, ready for the engine."""

    requests: tuple[Request, ...]
    """One a prompt; all have as many seeds."""
    prompt_tokens: int
    """Of all prompts together."""
    stream: bool = False
    usage: bool = False
    """Whether a stream ends with the usage."""
    logprobs: bool = False
    """Whether log-probabilities are told."""

    @property
    def answers(self) -> int:
        return sum(len(request.seeds) for request in self.requests)


def of_completion(body: CompletionBody, engine: StreamingEngine) -> Order:
    """Prompts are taken as they are: the spelling of a control token stands for that token, as on other servers.
    Raises `Refused`."""
    if body.stream and len(body.prompt) > 1:
        raise wrong("prompt", "prompt: a stream answers one prompt; send one request for each")
    prompts = [
        engine.prompt((Segment(text=each, special=True),)) if isinstance(each, str) else each for each in body.prompt
    ]
    wanted = body.max_tokens or SHORT_ANSWER
    return order(body, engine.profile, prompts, field="prompt", wanted=wanted, top=body.logprobs)


def order(
    body: Body,
    profile: Profile,
    prompts: Sequence[tuple[int, ...]],
    *,
    field: str,
    wanted: int,
    top: int | None,
    form: Mapping[str, JsonValue] | None = None,
    thinking: bool = False,
    names: Mapping[int, str] | None = None,
) -> Order:
    """For prompts that are tokens, which stand in `field`.

    `wanted`: tokens of an answer, 0 as many as there is room for; `top`: alternatives to each token, None where no
    log-probabilities are told; `form`: a schema in place of the body's; `names`: as in `Request`. Raises `Refused`.
    """
    answers = body.n or 1
    seed = secrets.randbelow(_SEEDS) if body.seed is None else body.seed
    default = (profile.reasoning if thinking else None) or profile.sampling
    text = schema.checked(form, "tools") if form else _schema(body)
    requests = tuple(
        Request(
            prompt=(Segment(tokens=prompt),),
            sampling=_sampling(body, default, _bias(body, profile), _fitting(prompt, wanted, profile, field)),
            seeds=tuple(range(seed + place * answers, seed + (place + 1) * answers)),
            stop=body.stop or (),
            schema=text,
            top=top or 0,
            names=names or {},
        )
        for place, prompt in enumerate(prompts)
    )
    return Order(
        requests=requests,
        prompt_tokens=sum(map(len, prompts)),
        stream=bool(body.stream),
        usage=bool(body.stream_options and body.stream_options.include_usage),
        logprobs=top is not None,
    )


def _sampling(body: Body, default: Sampling, bias: tuple[tuple[int, float], ...], max_tokens: int) -> Sampling:
    temperature, top_p, top_k, min_p = body.temperature, body.top_p, body.top_k, body.min_p
    repetition = body.repetition_penalty or body.repeat_penalty
    return Sampling(
        temperature=default.temperature if temperature is None else temperature,
        top_p=default.top_p if top_p is None else top_p,
        top_k=default.top_k if top_k is None else max(0, top_k),
        min_p=default.min_p if min_p is None else min_p,
        repetition=repetition or default.repetition,
        presence=default.presence if body.presence_penalty is None else body.presence_penalty,
        frequency=default.frequency if body.frequency_penalty is None else body.frequency_penalty,
        bias=bias,
        max_tokens=max_tokens,
    )


def _bias(body: Body, profile: Profile) -> tuple[tuple[int, float], ...]:
    """Raises `Refused` where one is for no token of the model's."""
    found = {int(token): value for token, value in (body.logit_bias or {}).items()}
    if strangers := [token for token in found if token >= profile.vocabulary]:
        raise wrong(
            "logit_bias", f"logit_bias: the model has no token {strangers[0]}, only 0 to {profile.vocabulary - 1}"
        )
    return tuple(sorted(found.items()))


def _fitting(prompt: tuple[int, ...], wanted: int, profile: Profile, field: str) -> int:
    """How many tokens an answer may have. Raises `Refused` where prompt and answer do not fit the context."""
    if not prompt:
        raise wrong(field, f"{field}: it is empty; give at least one token")
    room = profile.context - len(prompt)
    if room < (wanted or 1):
        raise wrong(
            field if room < 1 else "max_tokens",
            f"{len(prompt)} tokens of prompt and {wanted or 1} of answer do not fit the context of {profile.context}",
            code="context_length_exceeded",
        )
    return wanted or room


def _schema(body: Body) -> str:
    asked = body.response_format
    if asked is None or asked.type == "text":
        return ""
    if asked.type == "json_object":
        return schema.checked(asked.schema_ or {"type": "object"}, "response_format.schema")
    if asked.json_schema is None or asked.json_schema.schema_ is None:
        raise wrong("response_format.json_schema", "response_format.json_schema: it has no schema")
    return schema.checked(asked.json_schema.schema_, "response_format.json_schema.schema")
