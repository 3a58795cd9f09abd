"""How the work is attempted: which mode, and how wide.

Pure. The widths follow the bet of the design: start narrow, and widen only while nothing is proven.
"""

from typing import Literal

from swarmcode.errors import UsageError
from swarmcode.flow import Mode

ModeChoice = Literal["auto", "instant", "thinking", "agent", "swarm"]

NARROW = (3, 30)
"""First waves; what follows is as wide as the run allows."""


def widths(agents: int, attempts: int) -> tuple[int, ...]:
    """Agents at once, wave by wave: 3, 30, then `agents` again and again until `attempts` are made in all."""
    waves: list[int] = []
    while sum(waves) < attempts:
        wish = NARROW[len(waves)] if len(waves) < len(NARROW) else agents
        waves.append(min(wish, agents, attempts - sum(waves)))
    return tuple(waves)


def choose_mode(choice: ModeChoice, *, protocols: tuple[str, ...], subtasks: int, sharp: bool) -> Mode:
    """The mode for a plan.

    `sharp`: whether the evidence points at few lines. Raises `UsageError` where the model cannot do what was asked.
    """
    speaks_text = "blocks" in protocols
    if choice == "agent" or (choice == "thinking" and not speaks_text):
        able = "auto, instant, thinking, swarm" if speaks_text else "auto, instant, swarm"
        raise UsageError(f"--mode {choice}: this model cannot do that", f"choose one of: {able}")
    if choice != "auto":
        return choice
    if subtasks > 1:
        return "swarm"
    if sharp or not speaks_text:
        return "instant"
    return "thinking"
