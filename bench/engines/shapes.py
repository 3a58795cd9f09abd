"""The work that every engine is given, as token ids: who asks when, with which prompt, and what tools answer.

Pure, and the same for every engine in a run. A conversation is one agent's: its prompt, then turn by turn what a tool
answers. What the model says in between stays in the conversation, as it does for a real agent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of some work, in tokens and seconds."""

    agents: int
    shared: int
    """Tokens that all prompts begin with."""
    own: int
    """Tokens of each prompt that are its own."""
    generated: int
    """Tokens of every answer: no more, no less."""
    turns: int = 1
    told: tuple[int, int] = (0, 0)
    """Fewest and most tokens of a tool's answer, between two turns."""
    stagger: float = 0.0
    """Seconds between the starts of two agents."""
    pause: float = 0.0
    """Longest time that a tool takes; half of it is the mean."""
    temperature: float = 0.0
    edits: int = 0
    """Where it is not 0, answers are foreseen: the model repeats the end of the shared part, with so many tokens
    changed, others for each agent."""

    @property
    def context(self) -> int:
        """Tokens of the longest conversation that can come of it."""
        return self.shared + self.own + self.turns * self.generated + (self.turns - 1) * self.told[1]

    @property
    def text(self) -> int:
        """Tokens of text that it is cut from, at most."""
        return self.shared + self.agents * (self.own + (self.turns - 1) * self.told[1])

    @property
    def answers(self) -> int:
        """Tokens that are generated, over all agents and turns."""
        return self.agents * self.turns * self.generated


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What one agent says, and when."""

    prompt: tuple[int, ...]
    results: tuple[tuple[int, ...], ...] = ()
    """What the tools answer: one between two turns."""
    start: float = 0.0
    """Seconds after the first agent's start."""
    pauses: tuple[float, ...] = ()
    """How long each tool takes."""
    answer: tuple[int, ...] = ()
    """What the model is made to say; empty: whatever it likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A shape with its conversations."""

    shape: Shape
    conversations: tuple[Conversation, ...] = field(repr=False)


def work(shape: Shape, text: Sequence[int], seed: int = 0) -> Work:
    """Cuts conversations out of a text. Raises `ValueError` where the text is too short."""
    if len(text) < shape.text:
        raise ValueError(f"a text of {len(text)} tokens is too short for work of {shape.text}")
    random = Random(seed)
    taken = shape.shared

    def cut(count: int) -> tuple[int, ...]:
        nonlocal taken
        taken += count
        return tuple(text[taken - count : taken])

    head = tuple(text[: shape.shared])

    def conversation(number: int) -> Conversation:
        return Conversation(
            prompt=head + cut(shape.own),
            results=tuple(cut(random.randint(*shape.told)) for _ in range(shape.turns - 1)),
            start=shape.stagger * number,
            pauses=tuple(round(random.uniform(0, shape.pause), 3) for _ in range(shape.turns - 1)),
            answer=_edited(head[-shape.generated :], shape.edits, random) if shape.edits else (),
        )

    return Work(shape=shape, conversations=tuple(map(conversation, range(shape.agents))))


def _edited(code: tuple[int, ...], count: int, random: Random) -> tuple[int, ...]:
    """`code` with some of its tokens replaced by others of its own."""
    tokens = list(code)
    for place in random.sample(range(len(tokens)), count):
        tokens[place] = random.choice(code)
    return tuple(tokens)


def least(work: Work) -> int:
    """Prompt tokens that must be computed even if nothing is ever computed twice, answers taken as unforeseen."""
    nodes: dict[int, dict[int, object]] = {}
    count = 0
    for conversation in work.conversations:
        level = nodes
        for token in conversation.prompt:
            if token not in level:
                level[token] = {}
                count += 1
            level = level[token]  # type: ignore[assignment]
        count += sum(map(len, conversation.results))
    return count
