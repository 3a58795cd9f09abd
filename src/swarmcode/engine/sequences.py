"""The sequences of a scheduler that have not ended: what is known of each, who waits for a seat, and who has one. Pure.

Order is priority, then arrival, in both queues.
"""

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from swarmcode.engine.prefix import Tokens, packed

GROWTH = 16
"""Tokens that every running sequence should be able to grow by before another is let in."""

_ORDER = attrgetter("order")


@dataclass(eq=False, slots=True)
class Twins:
    """Sequences with the same prompt that have not got their first token."""

    prompt: tuple[int, ...]
    packed: Tokens
    """The same."""
    members: int = 0
    source: "Member | None" = None
    """The one that completes the prompt in the step that is being planned."""
    read: int = -1
    """Index of its read in that step."""


@dataclass(eq=False, slots=True, kw_only=True)
class Member:
    """One sequence."""

    id: int
    order: tuple[float, int]
    tokens: list[int]
    """Prompt and answer so far."""
    limit: int
    """Length at which it ends at the latest."""
    twins: Twins
    prompt: int
    """Its length."""
    seat: int = -1
    """-1: it waits."""
    prefilled: int = 0
    reused: int = 0

    @property
    def answered(self) -> bool:
        """Whether it has got its first token."""
        return len(self.tokens) > self.prompt

    @property
    def growth(self) -> int:
        return min(GROWTH, self.limit - len(self.tokens))


class Sequences:
    """All of them, by id, and in two queues."""

    def __init__(self) -> None:
        self.waiting: list[Member] = []
        self.running: list[Member] = []
        self._next = 0
        self._members: dict[int, Member] = {}
        self._seated: dict[int, Member] = {}
        self._twins: dict[tuple[int, ...], Twins] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, id_: int) -> Member:
        return self._members[id_]

    def those(self, ids: Iterable[int]) -> list[Member]:
        """Of these ids, those that have not ended."""
        return [self._members[id_] for id_ in ids if id_ in self._members]

    def holder(self, seat: int) -> Member | None:
        """Who runs there."""
        return self._seated.get(seat)

    def add(self, prompt: Sequence[int], *, max_tokens: int, priority: float) -> Member:
        """A new one, which waits. As `Scheduler.add`."""
        key = tuple(prompt)
        twins = self._twins.get(key)
        if twins is None:
            twins = self._twins[key] = Twins(key, packed(key))
        twins.members += 1
        member = Member(
            id=self._next,
            order=(-priority, self._next),
            tokens=list(key),
            limit=len(key) + max_tokens,
            twins=twins,
            prompt=len(key),
        )
        self._next += 1
        self._members[member.id] = member
        bisect.insort(self.waiting, member, key=_ORDER)
        return member

    def seat(self, member: Member, seat: int) -> None:
        """One that waited runs."""
        member.seat = seat
        self._seated[seat] = member
        self.waiting.remove(member)
        bisect.insort(self.running, member, key=_ORDER)

    def park(self, member: Member) -> None:
        """One that ran waits."""
        self._rise(member)
        member.seat = -1
        bisect.insort(self.waiting, member, key=_ORDER)

    def part(self, member: Member) -> None:
        """It gets its next token, or ends: from the first one on, nobody is its twin."""
        if member.answered:
            return
        member.twins.members -= 1
        if not member.twins.members:
            del self._twins[member.twins.prompt]

    def end(self, member: Member) -> None:
        """It is none of these any more."""
        self.part(member)
        del self._members[member.id]
        if member.seat < 0:
            self.waiting.remove(member)
        else:
            self._rise(member)

    def _rise(self, member: Member) -> None:
        self.running.remove(member)
        del self._seated[member.seat]
