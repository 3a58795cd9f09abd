"""One agent's conversation with a model that calls tools: each turn adds to the prompt before it, until the context is
full.

What the model generated goes into the next prompt token by token, so that an engine with a cache computes no token of a
conversation twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from swarmcode.agent import heard
from swarmcode.dialect.messages import Message, Tool, Turn
from swarmcode.dialect.prompt import Speech
from swarmcode.dialect.reading import next_index, parse
from swarmcode.engine.protocol import Completion, Engine, Request, Segment
from swarmcode.flow import Usage

BYTES_PER_TOKEN = 3
"""Low estimate for code, so that what is asked is sure to fit."""
LEAST_ANSWER = 256
"""Tokens: an answer that has room for fewer is not asked for."""
LONGEST_ANSWER = 4096
IN_WORDS = "<tool_response>"
"""What a model that is asked in words would make up after a call, if it were not stopped."""


class ContextFull(Exception):  # an expected end
    """There is no room for another answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of one turn."""

    turn: Turn
    cut: bool
    """Whether it was ended by its limit."""
    score: float
    """Mean log-probability of its tokens."""


class Conversation:
    """Turns with one model."""

    def __init__(
        self, engine: Engine, messages: Sequence[Message], tools: Sequence[Tool], *, seed: int, thinking: bool = False
    ) -> None:
        profile = engine.profile
        self._engine = engine
        self._speech = Speech(template=profile.chat_template, tools=tuple(tools))
        self._messages = list(messages)
        self._seed = seed
        self._thinking = thinking
        self._sampling = (profile.reasoning if thinking else None) or profile.sampling
        self._prompt = self._speech.prompt(self._messages, thinking=thinking)
        self._answer: tuple[int, ...] = ()
        self._tokens = _estimated(self._prompt)
        self._calls = 0
        self.usage = Usage()
        self.steps = 0

    async def ask(self) -> Reply:
        """The model's next turn. Raises `ContextFull`, `UsageError` and what the engine raises."""
        context = self._engine.profile.context
        room = min(self._longest, context // 4, context - self._tokens)
        if room < LEAST_ANSWER:
            raise ContextFull
        request = Request(
            prompt=self._prompt,
            sampling=replace(self._sampling, max_tokens=room),
            seeds=(self._seed + self.steps,),
            stop=() if self._engine.profile.dialect else (IN_WORDS,),
            circling=False,
        )
        (completion,) = await self._engine.complete(request)
        self.steps += 1
        self.usage += completion.usage
        used = completion.usage
        # Some endpoints count nothing: then the estimate holds.
        self._tokens = (used.prefilled + used.reused or self._tokens) + max(used.decoded, len(completion.tokens))
        self._answer = completion.tokens
        turn = self._parsed(completion)
        self._calls = next_index(turn, self._calls)
        self._messages.append(turn.message())
        score = sum(completion.logprobs) / max(1, len(completion.logprobs))
        return Reply(turn=turn, cut=completion.finish != "stop", score=score)

    def go_on(self, messages: Sequence[Message]) -> None:
        """Results of the turn's calls, or what a person says to it. Raises `ModelError`."""
        self._messages += messages
        self._prompt = self._speech.continued(self._prompt, self._answer, self._messages, thinking=self._thinking)
        self._tokens += sum(len(message.content.encode()) for message in messages) // BYTES_PER_TOKEN + 64

    def _parsed(self, completion: Completion) -> Turn:
        return parse(
            self._speech.dialect,
            heard.text(self._engine, self._speech, completion),
            tools=self._speech.tools,
            first=self._calls,
            thinking=heard.open_thought(self._prompt),
        )

    @property
    def _longest(self) -> int:
        """Tokens of an answer. Some models think whether they are asked to or not."""
        profile = self._engine.profile
        thoughtful = self._thinking or heard.open_thought(self._prompt) or profile.dialect == "harmony"
        return profile.reasoning.max_tokens if thoughtful and profile.reasoning else LONGEST_ANSWER


def _estimated(prompt: Sequence[Segment]) -> int:
    return sum(len(segment.tokens) or len(segment.text.encode()) // BYTES_PER_TOKEN + 1 for segment in prompt)
