"""How the work is attempted: which mode, and how wide.

Pure. The widths follow the bet of the design: start narrow, and widen only while nothing is proven.
"""

from typing import Literal

from swarmcode.errors import UsageError
from swarmcode.flow import Mode

ModeChoice = Literal["auto", "instant", "thinking", "agent", "swarm"]

NARROW = (3, 30)
"""First waves; what follows is as wide as the run allows."""


EXPLORERS = (1, 3)
"""Agents with tools: one, and where it brought nothing a few more with other seeds."""


def explorers(agents: int) -> tuple[int, ...]:
    """Agents with tools at once, wave by wave."""
    return EXPLORERS[:1] if agents == 1 else (EXPLORERS[0], min(EXPLORERS[1], agents))


def widths(agents: int, attempts: int) -> tuple[int, ...]:
    """Agents at once, wave by wave: 3, 30, then `agents` again and again until `attempts` are made in all."""
    waves: list[int] = []
    while sum(waves) < attempts:
        wish = NARROW[len(waves)] if len(waves) < len(NARROW) else agents
        waves.append(min(wish, agents, attempts - sum(waves)))
    return tuple(waves)


def settling_width(protocols: tuple[str, ...], agents: int) -> int:
    """Width of the first wave after which one settles for what turns only a part of the tests.

    It is built upon, so it had better be right. Where an attempt is a guess that costs a few tokens, a wave as wide as
    can be comes first; where it is an answer of some length, the last narrow one is enough.
    """
    return agents if protocols[0] == "span" else min(NARROW[-1], agents)


def choose_mode(
    choice: ModeChoice, *, protocols: tuple[str, ...], subtasks: int, sharp: bool, weak: bool = False
) -> Mode:
    """The mode for a plan.

    `sharp`: whether the evidence points at few lines; `weak`: whether it points at nothing in particular, so that one
    has to look around first. Raises `UsageError` where the model cannot do what was asked.
    """
    able = _able(protocols)
    if choice != "auto":
        if choice not in able:
            raise UsageError(f"--mode {choice}: this model cannot do that", f"choose one of: {', '.join(able)}")
        return choice
    if subtasks > 1:
        return "swarm"
    if sharp or "thinking" not in able:
        return "instant"
    return "agent" if weak and "agent" in able else "thinking"


def _able(protocols: tuple[str, ...]) -> tuple[ModeChoice, ...]:
    """What can be asked of a model with these protocols."""
    modes: dict[ModeChoice, bool] = {
        "auto": True,
        "instant": True,
        "thinking": "blocks" in protocols,
        "agent": "tools" in protocols,
        "swarm": True,
    }
    return tuple(mode for mode, here in modes.items() if here)
