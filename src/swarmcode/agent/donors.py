"""Lines of a file that may be what another one should be: much of what mends a line stands elsewhere already.

A quarter of the lines that faults were put into stand a second time in their file (the plastic surgery hypothesis:
Barr, Brun, Devanbu, Harman, Sarro, FSE 2014), and where a similar line has the same neighbours, it is mostly the right
one. By words alone, so it holds for any language. Pure.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from swarmcode.agent.edits.words import Line

Donation = Literal["twin", "neighbour", "alike", "kin", "beside"]
"""How much speaks for a line: how similar it is, and whether its neighbours are those of the line that it may stand
for. Of the twins of a faulty line 71 in 100 are what it should be, of neighbours 38, of lines alike 18, of kin 3,
of those beside the same line 2."""
DONATIONS: tuple[Donation, ...] = get_args(Donation)
LEAST, NEAR, NEAREST = 0.4, 0.75, 0.85
"""Steps of similarity, which is 1 for lines of the same words."""
MOST = 12
"""Of a kind."""
SHORTEST = 4
"""Characters of a line that is worth repeating."""


@dataclass(frozen=True, slots=True)
class Donor:
    """A line of code elsewhere."""

    text: str
    """Without indentation."""
    words: Counter[str]
    different: frozenset[str]
    """Its words, each once."""


@lru_cache(maxsize=8)
def _donors(lines: tuple[str, ...]) -> tuple[Donor, ...]:
    """Of the code lines of a file, in order."""
    return tuple(_donor(line.strip()) for line in lines)


def donations(lines: Sequence[str], place: int) -> dict[str, Donation]:
    """Lines that may stand for the one at index `place`, without indentation, the most similar of a kind first.

    `lines`: all code lines of the file, in order, without comments.
    """
    every = _donors(tuple(lines))
    own = every[place]
    found = sorted(_similar(every, place), key=lambda pair: -pair[1])
    kinds: dict[str, Donation] = {}
    for kind in DONATIONS:
        chosen = (every[at].text for at, alike in found if _kind(every, place, at, alike) == kind)
        texts = [text for text in dict.fromkeys(chosen) if text != own.text and text not in kinds]
        kinds.update(dict.fromkeys(texts[:MOST], kind))
    return kinds


def _similar(every: Sequence[Donor], place: int) -> Iterator[tuple[int, float]]:
    """Indices of lines that are similar enough for anything, with their similarity."""
    own = every[place]
    for at, other in enumerate(every):
        # Sets are compared first, which is quicker: most lines have little in common.
        shared = len(own.different & other.different)
        if 2 * shared < LEAST * len(own.different) or len(other.text) < SHORTEST or at == place:
            continue
        # Dice's coefficient of the words.
        alike = 2 * (own.words & other.words).total() / (own.words.total() + other.words.total())
        if alike >= LEAST:
            yield at, alike


def _kind(every: Sequence[Donor], place: int, at: int, alike: float) -> Donation | None:
    above = place > 0 and at > 0 and every[place - 1].text == every[at - 1].text
    below = place + 1 < len(every) and at + 1 < len(every) and every[place + 1].text == every[at + 1].text
    near = alike >= NEAR
    if above and below:
        return "twin" if near else "neighbour"
    if (above and near) or (below and alike >= NEAREST):
        return "neighbour"
    if alike >= NEAREST or (below and near):
        return "alike"
    if near:
        return "kin"
    return "beside" if above else None


@lru_cache(maxsize=20_000)
def _donor(text: str) -> Donor:
    words = Counter(word.text for word in Line.of(text).words if word.kind != "space")
    return Donor(text, words, frozenset(words))
