"""What a search proposes: a new text for one line, or for two of one file."""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from swarmcode.agent.place import Place
from swarmcode.flow import Usage

SECOND_PLACE = -4.0
"""Log of how likely a fault has two places, against one."""
PARTNERS = 40
"""Edits that later ones are paired with: the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A new text for a line."""

    place: Place
    line: str
    """Empty where the line goes; with newlines where lines are added."""
    logprob: float
    """Of the answer, as the model has it."""
    score: float
    """Log of its worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Edits of different lines of one file."""

    edits: tuple[Edit, ...]
    score: float
    """Log of their worth together."""
    usage: Usage = field(default_factory=Usage)
    """What was computed since the proposal before it."""
    steps: int = 0
    """Batches that were computed since then."""

    @property
    def path(self) -> str:
        return self.edits[0].place.suspect.path

    @property
    def old(self) -> str:
        """The file as it is."""
        return self.edits[0].place.text

    @property
    def new(self) -> str:
        """The file as it is to be: from the last line on, so that the numbers of the others stay true."""
        text = self.old
        for edit in sorted(self.edits, key=lambda edit: -edit.place.suspect.start):
            text = edit.place.prompt.window.replaced(text, edit.line)
        return text


class Proposals:
    """Edits as they are found, and pairs of them, the best first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Proposal]] = []
        self._numbers = itertools.count()
        self._partners: list[Edit] = []

    def __bool__(self) -> bool:
        return bool(self._heap)

    def add(self, edit: Edit) -> None:
        """One that is worth no more than those before it."""
        self._push(Proposal(edits=(edit,), score=edit.score))
        for pair in self._pairs(edit):
            self._push(pair)
        if len(self._partners) < PARTNERS:
            self._partners.append(edit)

    def pop(self, least: float, usage: Usage, steps: int) -> Proposal | None:
        """The best, if it is worth at least so much, with what it cost."""
        if not self._heap or -self._heap[0][0] < least:
            return None
        return replace(heapq.heappop(self._heap)[2], usage=usage, steps=steps)

    def _pairs(self, edit: Edit) -> Iterator[Proposal]:
        one = edit.place.suspect
        for partner in self._partners:
            other = partner.place.suspect
            if other.path == one.path and other.start != one.start:
                yield Proposal(edits=(partner, edit), score=partner.score + edit.score + SECOND_PLACE)

    def _push(self, proposal: Proposal) -> None:
        heapq.heappush(self._heap, (-proposal.score, next(self._numbers), proposal))
