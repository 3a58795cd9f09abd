"""Well-formed small edits of one line: the space in which a small model is asked for its choice.

People make the same few mistakes over and over: a comparison that is off by its boundary, a wrong operator, a plus one
too few, two arguments in the wrong order, the wrong one of two names. The list follows the fix patterns that recur in
the literature on template and mutation repair (TBar, Liu et al. 2019; PraPR, Ghanbari et al. 2019; ManySStuBs4J,
Karampatsis and Sutton 2020). Which of the edits is likely is the model's to say: this says what is possible.

Works on the words of the line, not on a grammar, so it fits most languages of the C and Python families; what comes out
malformed is dropped before it costs a test run.
"""

from collections.abc import Callable, Iterator
from typing import Literal

from swarmcode.agent.edits import calls, names, signs, values
from swarmcode.agent.edits.words import Line, Sight, sight

__all__ = ["KINDS", "MOST_OF_A_KIND", "Kind", "Sight", "edits", "sight"]

Kind = Literal[
    "swap",
    "one off",
    "negation",
    "order",
    "name",
    "owner",
    "constant",
    "condition",
    "slice",
    "result",
    "argument",
    "call",
]
MOST_OF_A_KIND = 60

KINDS: dict[Kind, Callable[[Line, Sight], Iterator[str]]] = {
    "swap": lambda line, _: signs.swaps(line),
    "one off": lambda line, _: signs.one_off(line),
    "negation": lambda line, _: signs.negations(line),
    "order": lambda line, _: signs.orders(line),
    "name": names.renames,
    "owner": names.owners,
    "constant": values.constants,
    "condition": values.conditions,
    "slice": lambda line, _: values.slices(line),
    "result": values.results,
    "argument": calls.arguments,
    "call": calls.calls,
}
"""An edit that several kinds make belongs to the first."""


def edits(text: str, sight: Sight | None = None) -> dict[Kind, tuple[str, ...]]:
    """New lines by kind of edit, each once, none equal to the line `text`, none blank; at most `MOST_OF_A_KIND` of
    each, no kind empty. `sight`: what the line could mean instead of its own words."""
    line = Line.of(text)
    seen = {text}
    found: dict[Kind, tuple[str, ...]] = {}
    for kind, make in KINDS.items():
        fresh = [new for new in dict.fromkeys(make(line, sight or Sight())) if new not in seen and new.strip()]
        seen.update(fresh[:MOST_OF_A_KIND])
        if fresh:
            found[kind] = tuple(fresh[:MOST_OF_A_KIND])
    return found
