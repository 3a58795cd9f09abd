"""What a client may ask: the bodies of the two endpoints, checked field by field.

Null means the default, as OpenAI has it. Fields that nobody here knows are ignored, as other servers do; those that are
known, would change the answer and cannot be honoured are refused by name, because an answer that silently ignores what
was asked is worse than none.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from swarmcode.serve.faults import Refused, wrong

MOST_ANSWERS = 128
"""`n` at most."""
MOST_PROMPTS = 256
MOST_STOPS = 16
LONGEST_STOP = 256
"""Characters."""
MOST_TOPS = 20
"""Alternatives to a token, at most."""
MOST_BIASES = 1024
"""Tokens whose logits are changed, at most."""

T = TypeVar("T", bound=BaseModel)


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else _tuple(value)


def _parts(value: object) -> object:
    return (Part(type="text", text=value),) if isinstance(value, str) else _tuple(value)


def _prompts(value: object) -> object:
    """A text, a list of texts, tokens, or a list of lists of tokens: always a list of prompts."""
    if isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], int)):
        return (value,)
    if not isinstance(value, list):
        raise ValueError("a text, a list of tokens, or a list of such")  # noqa: TRY004  # pydantic takes this one
    return tuple(value)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _prompt(value: object) -> object:
    whole = isinstance(value, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in value)
    if not (isinstance(value, str) or whole):
        raise ValueError("a prompt is a text or a list of tokens")
    return tuple(value) if isinstance(value, list) else value


def _neutral(*neutral: object) -> AfterValidator:
    """A field that is only there to be left alone."""

    def check(value: Any) -> Any:
        if value is not None and value not in neutral:
            raise ValueError("this is not supported here: leave it out")
        return value

    return AfterValidator(check)


Stop = Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]
Stops = Annotated[tuple[Stop, ...], Field(max_length=MOST_STOPS), BeforeValidator(_one_or_many)]
Prompt = Annotated[str | tuple[int, ...], BeforeValidator(_prompt)]
Prompts = Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=MOST_PROMPTS), BeforeValidator(_prompts)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Token = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[Number, Field(ge=-100, le=100)]


class _Asked(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class StreamOptions(_Asked):
    """How a stream is told."""

    include_usage: bool | None = None
    """Whether its last event has the usage."""


class NamedSchema(_Asked):
    """Of a `response_format`."""

    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")


class ResponseFormat(_Asked):
    """Which form an answer has. `schema` beside `json_object` is llama.cpp's way to say it."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: NamedSchema | None = None
    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")


class _Common(_Asked):
    model: Annotated[str, Field(max_length=1000)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    stop: Stops | None = None
    response_format: ResponseFormat | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[Number, Field(gt=0, le=10)] | None = None
    repeat_penalty: Annotated[Number, Field(gt=0, le=10)] | None = None
    """llama.cpp's name of it."""
    logit_bias: Annotated[dict[Token, Bias], Field(max_length=MOST_BIASES)] | None = None


class CompletionBody(_Common):
    """`POST /v1/completions`."""

    prompt: Prompts
    logprobs: Annotated[int, Field(ge=0, le=MOST_TOPS)] | None = None
    """How many alternatives to each token; null: no log-probabilities at all."""
    echo: Annotated[bool | None, _neutral(False)] = None
    suffix: Annotated[str | None, _neutral("")] = None
    best_of: Annotated[int | None, _neutral(1)] = None


class Part(_Asked):
    """Of a message."""

    type: str
    text: str = ""


Content = Annotated[tuple[Part, ...], BeforeValidator(_parts)]


class CalledFunction(_Asked):
    """What a model has called, in an earlier turn."""

    name: str
    arguments: str = "{}"
    """JSON."""


class Call(_Asked):
    """A tool call of an earlier turn."""

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class MessageBody(_Asked):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[Call, ...] | None = None
    tool_call_id: str | None = None


class Function(_Asked):
    """What may be called."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None


class Tool(_Asked):
    """One tool."""

    type: Literal["function"]
    function: Function


class NamedFunction(_Asked):
    """In a `tool_choice`."""

    name: str


class Choose(_Asked):
    """A `tool_choice` that names one."""

    type: Literal["function"]
    function: NamedFunction


def _choice(value: object) -> object:
    if isinstance(value, str) and value not in ("none", "auto", "required"):
        raise ValueError('"none", "auto", "required", or an object that names a function')
    return value


class TemplateSwitches(_Asked):
    """What a chat template is told beside messages, as other servers take it."""

    thinking: bool | None = None
    enable_thinking: bool | None = None


class ChatBody(_Common):
    """`POST /v1/chat/completions`."""

    messages: Annotated[tuple[MessageBody, ...], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOPS)] | None = None
    tools: Annotated[tuple[Tool, ...], Field(max_length=MOST_ANSWERS)] | None = None
    tool_choice: Annotated[str | Choose | None, BeforeValidator(_choice)] = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: TemplateSwitches | None = None
    reasoning_effort: str | None = None


Body = CompletionBody | ChatBody


def parsed(kind: type[T], data: bytes) -> T:
    """Raises `Refused` with the first field that is wrong."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise _refused(error) from None


def _refused(error: ValidationError) -> Refused:
    """Without what stood there: a message never repeats what a client sent."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(step) for step in found["loc"])
    what = found["msg"].removeprefix("Value error, ")
    return wrong(place, f"{place}: {what}" if place else f"the body: {what}")
