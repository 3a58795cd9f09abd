"""How `/v1/chat/completions` is answered: conversations through the model's own template, with tools and thoughts."""

from collections.abc import Sequence
from typing import Any

from swarmcode.dialect.prompt import Speech
from swarmcode.engine.protocol import Completion, Likeliest, News, StreamingEngine
from swarmcode.errors import ModelError
from swarmcode.serve import talk
from swarmcode.serve.asked import ChatBody
from swarmcode.serve.faults import wrong
from swarmcode.serve.order import Order, order
from swarmcode.serve.reading import Listening, Reader, Spoken, call_schema
from swarmcode.serve.reply import Envelope, Spell

WHOLE, CHUNK = "chat.completion", "chat.completion.chunk"


def of_chat(body: ChatBody, engine: StreamingEngine) -> tuple[Order, Reader]:
    """What a chat asks of the engine, and how its answers are read. Raises `Refused`."""
    profile = engine.profile
    if not profile.chat_template:
        raise wrong("model", f"{profile.name} cannot chat: it has no chat template; use /v1/completions")
    offered = talk.tools(body)
    must = talk.must_call(body, offered)
    conversation = talk.messages(body)
    if body.response_format and body.response_format.type != "text" and offered:
        raise wrong("response_format", "response_format: an answer follows a schema or calls tools, not both")
    form = call_schema(must) if must else None
    thinking = talk.thinks(body) and not form and not body.response_format
    speech = Speech(template=profile.chat_template, tools=offered)
    try:
        segments = speech.prompt(conversation, thinking=thinking)
    except ModelError as error:
        raise wrong("messages", f"messages: {error.message}") from error
    made = order(
        body,
        profile,
        [engine.prompt(segments)],
        field="messages",
        wanted=body.max_completion_tokens or body.max_tokens or 0,
        top=(body.top_logprobs or 0) if body.logprobs else None,
        form=form,
        thinking=thinking,
        names=_names(speech, engine),
    )
    reader = Reader(
        dialect=speech.dialect,
        tools=offered,
        first=sum(len(message.calls) for message in conversation),
        opened=segments[-1].text.rstrip().endswith("<think>"),
        form=bool(made.requests[0].schema) and not must,
        must_call=tuple(tool.name for tool in must),
        single=body.parallel_tool_calls is False,
    )
    return made, reader


def _names(speech: Speech, engine: StreamingEngine) -> dict[int, str]:
    """The control tokens that answers are made of, and how they are spelt."""
    found = {marker: engine.tokenize(marker, special=True) for marker in speech.dialect.markers}
    return {tokens[0]: marker for marker, tokens in found.items() if len(tokens) == 1}


class ChatVoice:
    """Implements `reply.Voice`."""

    def __init__(self, envelope: Envelope, spell: Spell, reader: Reader, *, answers: int, logprobs: bool) -> None:
        self._envelope = envelope
        self._spell = spell
        self._reader = reader
        self._logprobs = logprobs
        self._listening = [Listening(reader) for _ in range(answers)]

    def whole(self, completions: Sequence[Completion]) -> bytes:
        choices = []
        for index, each in enumerate(completions):
            spoken = self._reader.whole(each.text)
            message = {"role": "assistant", "content": None if spoken.calls else spoken.content} | _said(spoken)
            choices.append(
                {
                    "index": index,
                    "message": message,
                    "logprobs": self._told(each.tokens, each.logprobs, each.tops),
                    "finish_reason": _finish(spoken, each),
                }
            )
        return self._envelope.wrap(WHOLE, choices, completions)

    def opening(self) -> list[bytes]:
        return [
            self._chunk(index, {"role": "assistant", "content": ""}, None, None)
            for index in range(len(self._listening))
        ]

    def pieces(self, news: News) -> list[bytes]:
        listening = self._listening[news.index]
        logprobs = self._told(news.tokens, news.logprobs, news.tops)
        spoken = listening.take(news.text)
        chunks = []
        if spoken.content or spoken.thinking or logprobs:
            chunks.append(self._chunk(news.index, _said(spoken), logprobs, None))
        if news.completion:
            rest = listening.end()
            said = _said(rest)
            for place, call in enumerate(said.get("tool_calls", ())):
                call["index"] = place
            if said:
                chunks.append(self._chunk(news.index, said, None, None))
            chunks.append(self._chunk(news.index, {}, None, _finish(rest, news.completion)))
        return chunks

    def closing(self, completions: Sequence[Completion]) -> list[bytes]:
        return self._envelope.closing(CHUNK, completions)

    def _chunk(self, index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None, finish: str | None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._envelope.wrap(CHUNK, [choice])

    def _told(
        self, tokens: Sequence[int], logprobs: Sequence[float], tops: Sequence[Likeliest]
    ) -> dict[str, Any] | None:
        if not self._logprobs or not tokens:
            return None
        content = [self._token(token, logprob) for token, logprob in zip(tokens, logprobs, strict=False)]
        for place, told in enumerate(content):
            told["top_logprobs"] = [self._token(*pair) for pair in tops[place]] if place < len(tops) else []
        return {"content": content}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        data = self._spell((token,))
        return {"token": data.decode("utf-8", errors="replace"), "logprob": logprob, "bytes": list(data)}


def _said(spoken: Spoken) -> dict[str, Any]:
    """The parts of a message that there are."""
    said: dict[str, Any] = {}
    if spoken.content:
        said["content"] = spoken.content
    if spoken.thinking:
        said["reasoning_content"] = spoken.thinking
    if spoken.calls:
        said["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in spoken.calls
        ]
    return said


def _finish(spoken: Spoken, completion: Completion) -> str:
    return "tool_calls" if spoken.calls and completion.finish == "stop" else completion.finish
