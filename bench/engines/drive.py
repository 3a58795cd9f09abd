"""Plays conversations against an engine, whichever it is, and says when what came."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from engines.shapes import Conversation, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer."""

    tokens: tuple[int, ...]
    """Empty where the engine does not tell."""
    count: int
    """How many there were."""
    first: float | None = None
    """`time.perf_counter()` when the first came; None: not known."""


Ask = Callable[[int, Sequence[int]], Awaitable[Said]]
"""Agent and prompt -> answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of the conversations."""

    seconds: float
    generated: int
    waits: tuple[float, ...]
    """Seconds from each question to the first token of its answer, as far as known."""
    together: float | None
    """Tokens a second from the moment at which every agent had its first token; None: not known, or several turns."""


async def play(work: Work, ask: Ask) -> Played:
    """All conversations at once. What `ask` raises first ends them all, and is raised."""
    answers: list[tuple[float, Said]] = []
    began = time.perf_counter()

    async def agent(number: int, conversation: Conversation) -> None:
        await asyncio.sleep(conversation.start)
        tokens = list(conversation.prompt)
        for turn in range(len(conversation.results) + 1):
            asked = time.perf_counter()
            said = await ask(number, tokens)
            answers.append((asked, said))
            if turn < len(conversation.results):
                await asyncio.sleep(conversation.pauses[turn])
                tokens += (*said.tokens, *conversation.results[turn])

    try:
        async with asyncio.TaskGroup() as group:
            for number, conversation in enumerate(work.conversations):
                group.create_task(agent(number, conversation))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    ended = time.perf_counter()
    firsts = [said.first for _, said in answers if said.first is not None]
    generated = sum(said.count for _, said in answers)
    together = None
    if len(firsts) == len(answers) and work.shape.turns == 1:
        together = (generated - len(answers)) / (ended - max(firsts))
    return Played(
        seconds=ended - began,
        generated=generated,
        waits=tuple(said.first - asked for asked, said in answers if said.first is not None),
        together=together,
    )
