"""The step that is being planned: which tokens of which sequences are in it, and what that makes of the cache once they
are computed. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from swarmcode.engine.cache import Cache
from swarmcode.engine.sequences import Member, Twins
from swarmcode.engine.step import Read, Step


class Planned:
    """A step, from the first token that is put into it until it was computed or has failed."""

    def __init__(self, cache: Cache) -> None:
        self.step = Step()
        self._cache = cache
        self._parts: list[tuple[Member, int]] = []
        """Sequences, and how many of their next promised tokens are in the step."""
        self._sources: list[Twins] = []
        """Those whose prompt is completed in it."""
        self._forks: list[Member] = []
        self._guessed: list[tuple[Member, list[int]]] = []

    def decode(self, members: Sequence[Member]) -> None:
        """Puts in the tokens that running sequences got last."""
        step, row = self.step, len(self.step.tokens)
        tokens, seats = [each.tokens[-1] for each in members], [each.seat for each in members]
        self._cache.extend(seats, tokens)
        step.tokens += tokens
        step.seats += seats
        step.positions += [len(each.tokens) - 1 for each in members]
        step.reads += [Read(row, [each.id]) for row, each in enumerate(members, row)]
        self._parts += [(each, 1) for each in members]

    def compute(self, member: Member, count: int) -> int:
        """Puts in the next `count` tokens of a running sequence, all of which are promised; how many these are."""
        if not count:
            return 0
        step, start = self.step, self._cache.ready(member.seat)
        end = start + count
        if end == len(member.tokens):
            if not member.answered:
                member.twins.source, member.twins.read = member, len(step.reads)
                self._sources.append(member.twins)
            step.reads.append(Read(len(step.tokens) + count - 1, [member.id]))
        step.prefilled += 0 if count == 1 and member.answered else count
        self._put(member, member.tokens[start:end], start)
        return count

    def fork(self, member: Member) -> None:
        """A twin, which has an empty seat, gets the cells and the logits of the one that is being computed."""
        self.step.reads[member.twins.read].sequences.append(member.id)
        self._forks.append(member)

    def guess(self, member: Member, tokens: list[int]) -> None:
        """Puts in tokens that a sequence may go on with, behind its last one."""
        step, row = self.step, len(self.step.tokens)
        step.drafts[member.id] = tokens
        step.drafted += len(tokens)
        step.reads += [Read(row + place, [member.id]) for place in range(len(tokens))]
        self._cache.promise(member.seat, tokens)
        self._put(member, tokens, len(member.tokens))
        self._guessed.append((member, tokens))

    def decoding(self) -> Iterator[Member]:
        """The sequences whose last token is in it, and that have got their first."""
        for member, count in self._parts[:]:
            if member.answered and self._cache.ready(member.seat) + count == len(member.tokens):
                yield member

    def done(self) -> Step:
        """The step, with all that has to be changed before."""
        self.step.changes = self._cache.changes()
        self.step.cells = partial(self._cache.held, {member.seat for member, _ in self._parts})
        return self.step

    def spare(self) -> int:
        """Cells that are free beside those for it; 0 where it does more than decode."""
        return 0 if self.step.prefilled or self.step.drafts else self._cache.free

    def went_on(self, further: Mapping[int, list[int]]) -> None:
        """These tokens of its sequences were computed behind it, one after another: as if all had been guessed."""
        for member, _ in self._parts[:]:
            tokens = further[member.id]
            self._cache.promise(member.seat, tokens)
            self._parts.append((member, len(tokens)))
            self._guessed.append((member, tokens))

    def computed(self, right: Mapping[int, int]) -> None:
        """Of the guesses of a sequence the first `right` have come true."""
        self._cache.computed([(member.seat, count) for member, count in self._parts])
        for twin in self._forks:
            assert twin.twins.source
            self._cache.fork(twin.twins.source.seat, twin.seat, twin.prompt)
        for member, tokens in self._guessed:
            member.tokens += tokens[: right.get(member.id, 0)]
            self._cache.forget(member.seat, len(member.tokens))
        self._forget_sources()

    def failed(self) -> list[Member]:
        """The sequences in it."""
        self._forget_sources()
        return list(dict.fromkeys([*(member for member, _ in self._parts), *self._forks]))

    def _put(self, member: Member, tokens: Sequence[int], start: int) -> None:
        self.step.tokens += tokens
        self.step.positions += range(start, start + len(tokens))
        self.step.seats += [member.seat] * len(tokens)
        self._parts.append((member, len(tokens)))

    def _forget_sources(self) -> None:
        for twins in self._sources:
            twins.source = None
