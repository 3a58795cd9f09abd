"""Decides what every step of the model computes: continuous batching over a KV cache whose prefixes are shared.

A sequence waits for a seat (a sequence id of the context), has its prompt computed in chunks, and then decodes one
token a step; new ones join at any step, and any can be cancelled between two steps. What is computed for one prompt is
not computed again for another that begins alike: it is copied when it is there, waited for when it is on its way, and
kept after the sequence has ended, until its cells or its seat are needed. Equal prompts even share the row of logits
that their first tokens are drawn from.

Pressure never fails a request. Where cells run short, cold prefixes go first; then the last sequence in order is
parked: it gives up its seat, keeps its tokens, and goes on later where it stopped. The first in order always fits
alone, so everything ends. Order is priority, then arrival; whoever lacks a seat, cells or budget is not passed by
anybody later in order, except by the equal of one that is being computed, which costs next to nothing.

Tokens that somebody guesses a decoding sequence will go on with are computed behind its last one, where a step has room
left. What comes of it is told like everything else, and cells of guesses that were wrong are free at once.

Pure: no model, no clock, no randomness. `plan` says what to do, `commit` is told what came of it. Chunked prefill and
preemption by recomputation follow vLLM (https://arxiv.org/abs/2309.06180) and Sarathi-Serve
(https://arxiv.org/abs/2403.02310).
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from swarmcode.engine.cache import Cache
from swarmcode.engine.planned import Planned
from swarmcode.engine.prefix import Match
from swarmcode.engine.sequences import GROWTH, Member, Sequences
from swarmcode.engine.step import Capacity, Cost, Step

WORTH_WAITING = 16
"""Tokens: a shorter beginning that somebody else is about to compute is computed twice instead of waited for."""
SHORT_SHARE = 4
"""The part of a step, one in so many, that a long prompt leaves to short ones."""


class Scheduler:
    """Plans steps for the sequences that were added and have not ended."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._least = 2 if capacity.exact else 1
        """Fewest tokens of a prompt that are computed at once, if it has as many."""
        self._cache = Cache(seats=capacity.seats, cells=capacity.cells, sharing=capacity.sharing)
        self._sequences = Sequences()
        self._growth = 0
        """Of all that run."""
        self._planned = Planned(self._cache)

    @property
    def drafting(self) -> bool:
        """Whether guesses are of use: computing several tokens must not change any, and has to be undone."""
        return self.capacity.sharing and not self.capacity.exact

    @property
    def waiting(self) -> int:
        """Sequences without a seat."""
        return len(self._sequences.waiting)

    @property
    def running(self) -> int:
        """Sequences with a seat."""
        return len(self._sequences.running)

    @property
    def crowd(self) -> int:
        """Sequences that run, or will as soon as their prompts are computed."""
        return min(self.running + self.waiting, self.capacity.running)

    @property
    def cells(self) -> int:
        """Cells that are taken, by running sequences and by prefixes that are kept."""
        return self._cache.taken

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute and nothing to change in the cache."""
        return not (self._sequences or self._cache.changed)

    def add(self, prompt: Sequence[int], *, max_tokens: int, priority: float = 0.0) -> int:
        """A new sequence; its id. The prompt has at least one token, and fits into the context with `max_tokens`."""
        assert 0 < len(prompt) <= self.capacity.context - max_tokens
        return self._sequences.add(prompt, max_tokens=max_tokens, priority=priority).id

    def cost(self, sequence: int) -> Cost:
        """What the prompt of a sequence that has not ended has cost so far."""
        found = self._sequences[sequence]
        return Cost(prefilled=found.prefilled, reused=found.reused)

    def cancel(self, sequences: Iterable[int]) -> None:
        """Ends sequences, between two steps: what they generated is freed at once, what they computed of their
        prompts may be kept like any prefix. Those that have ended are ignored."""
        for found in self._sequences.those(sequences):
            self._end(found, keep=found.prompt)

    def plan(self) -> Step:
        """The next step. One with tokens must be followed by `commit` or `abandon`."""
        plan = self._planned = Planned(self._cache)
        running = self._sequences.running
        standing = self._standing()
        while not self._cache.room(sum(len(each.tokens) for each in running) - sum(held for _, held in standing)):
            self._park(running[-1])
            standing = self._standing()
        decoding: list[Member] = []
        pending: list[tuple[int, Member]] = []
        for each, (ready, held) in zip(running, standing, strict=True):
            if held < len(each.tokens):
                decoding.append(each)
            else:
                pending.append((len(each.tokens) - ready, each))
        if not pending and self.drafting:
            self._make_room(decoding)
        plan.decode(decoding)
        for count, each in pending:
            if count == 1:
                plan.compute(each, 1)
        self._prefill(plan, [one for one in pending if one[0] > 1])
        assert plan.step.tokens or not self._sequences
        return plan.done()

    def draft(self, guesses: Mapping[int, Sequence[int]]) -> None:
        """Has tokens that sequences may go on with computed in the planned step, as many as fit, behind the last ones;
        none where computing them would change what is computed for the others."""
        if guesses and self.drafting:
            self._draft(self._planned, guesses)

    def spare(self) -> int:
        """How many cells the sequences of the planned step may take, beside those for it, before anything has to be
        decided; 0 where it does more than decode, or where cells run short."""
        return self._planned.spare() if self.drafting else 0

    def went_on(self, further: Mapping[int, list[int]]) -> None:
        """The planned step was computed, and behind it, one after another, these tokens of its sequences."""
        self._planned.went_on(further)

    def commit(self, sampled: Mapping[int, int | None], right: Mapping[int, int] | None = None) -> None:
        """The planned step was computed. `sampled` has the next token of each sequence in the step's reads, or None
        where the sequence has ended: what it computed stays as a prefix. `right` says of sequences with guessed tokens
        how many of these came true before that token, none where it says nothing."""
        self._planned.computed(right or {})
        for sequence, token in zip(self._sequences.those(sampled), sampled.values(), strict=True):
            if token is not None:
                if not sequence.answered:
                    self._sequences.part(sequence)
                sequence.tokens.append(token)
            if token is None or len(sequence.tokens) >= sequence.limit:
                self._end(sequence, keep=sequence.prompt if self.capacity.exact else len(sequence.tokens))

    def abandon(self) -> tuple[int, ...]:
        """The planned step failed: the sequences in it end, and their seats are emptied. Their ids."""
        lost = self._planned.failed()
        for sequence in lost:
            self._end(sequence, keep=0)
        return tuple(sequence.id for sequence in lost)

    def _prefill(self, plan: Planned, pending: list[tuple[int, Member]]) -> None:
        """Has prompts computed, in order, as far as the step's budget reaches. Where the first of them takes more than
        that, a part is for those that it is enough for, the shortest first: they do not wait for long ones."""
        budget = self.capacity.chunk - len(plan.step.tokens)
        if self._sequences.waiting:
            self._growth = sum(each.growth for each in self._sequences.running)
        long = pending[0] if pending and pending[0][0] > budget else None
        if long:
            budget //= SHORT_SHARE
            pending = sorted(pending[1:], key=itemgetter(0))
        for count, sequence in pending:
            if not long or count <= budget:
                budget -= plan.compute(sequence, self._piece(count, budget))
        self._admit(plan, budget, whole=bool(long))
        if long:
            count, sequence = long
            plan.compute(sequence, self._piece(count, self.capacity.chunk - len(plan.step.tokens)))

    def _piece(self, pending: int, budget: int) -> int:
        """How many of the pending tokens of a sequence are computed in a step: neither too few, nor all but too few."""
        piece = min(pending, budget)
        if piece < pending:
            piece = min(piece, pending - self._least)
        return piece if piece >= min(self._least, pending) else 0

    def _make_room(self, decoding: Sequence[Member]) -> None:
        """Has some cells free for tokens to come, if cold prefixes hold them: nobody has to decide about each token."""
        if self._cache.free < len(decoding) * (1 + GROWTH):
            self._cache.room(sum(1 + each.growth for each in decoding))

    def _standing(self) -> list[tuple[int, int]]:
        return self._cache.standing([each.seat for each in self._sequences.running])

    def _draft(self, plan: Planned, guesses: Mapping[int, Sequence[int]]) -> None:
        """Has guessed tokens computed, as many as fit, behind the last ones of sequences that decode in this step."""
        for sequence in plan.decoding():
            room = min(
                self.capacity.chunk - len(plan.step.tokens),
                self.capacity.reads - len(plan.step.reads),
                self._cache.free,
                sequence.limit - len(sequence.tokens) - 1,
            )
            if taken := list(guesses.get(sequence.id, ())[: max(0, room)]):
                plan.guess(sequence, taken)

    def _admit(self, plan: Planned, budget: int, *, whole: bool) -> None:
        """Lets waiting sequences in, in order, as far as seats, cells and the step's budget reach; where `whole`, those
        alone whose prompts it is enough for."""
        matches: dict[int, Match] = {}
        waiting, running = self._sequences.waiting, self._sequences.running
        index = 0
        while index < len(waiting) and len(running) < self.capacity.running:
            sequence = waiting[index]
            if self._is_twin(sequence):
                admitted = self._fork(plan, sequence)
                if not admitted:
                    return
            elif budget < 2 * self._least - 1:  # too little for a piece, whatever it leaves
                admitted = False
            else:
                match = self._match(sequence, matches)
                admitted = match.coming - match.length < WORTH_WAITING
                if whole and len(sequence.tokens) - match.length > budget:
                    admitted = False
                if admitted and not self._start(sequence, match):
                    return
                if admitted:
                    plan.step.reused += match.length
                    piece = self._piece(len(sequence.tokens) - match.length, budget)
                    budget -= plan.compute(sequence, piece)
            index += not admitted

    def _is_twin(self, sequence: Member) -> bool:
        """Whether the step that is being planned yields the logits that the sequence begins with."""
        return self.capacity.sharing and sequence.twins.source is not None and not sequence.answered

    def _match(self, sequence: Member, known: dict[int, Match]) -> Match:
        """What of the sequence is in the cache. Its end is computed anew in any case, for the logits."""
        limit = max(0, len(sequence.tokens) - self._least)
        if sequence.answered:
            return self._shareable(self._cache.match(sequence.tokens, limit))
        key = id(sequence.twins)
        found = known.get(key)
        if found is None or found.coming - found.length < WORTH_WAITING:
            found = known[key] = self._shareable(self._cache.match(sequence.twins.packed, limit))
        return found

    def _shareable(self, match: Match) -> Match:
        """Where answers must be exact, what a running sequence has decoded serves no other: it was computed token by
        token, and prompts are not."""
        if not self.capacity.exact or not match.seats:
            return match
        length = 0
        for seat in match.seats:
            holder = self._sequences.holder(seat)
            length = max(length, min(match.length, holder.prompt) if holder else match.length)
            if length == match.length:
                return match
        coming = match.coming if match.coming > match.length else length
        return Match(seats=match.seats, length=length, coming=coming)

    def _start(self, sequence: Member, match: Match) -> bool:
        """Gives a waiting sequence a seat with what `match` found; False where cells are short."""
        missing = len(sequence.tokens) - match.length
        if not self._cache.room(missing + self._headroom(sequence), match):
            return False
        self._seat(sequence, self._cache.open(match))
        sequence.prefilled += missing
        sequence.reused += match.length
        self._cache.promise(sequence.seat, sequence.tokens[match.length :])
        return True

    def _fork(self, plan: Planned, sequence: Member) -> bool:
        """Gives a twin an empty seat, and the logits of the one that is being computed; False where cells are short."""
        source = sequence.twins.source
        assert source
        if not self._cache.room(self._headroom(sequence)):
            return False
        self._seat(sequence, self._cache.reserve(source.seat))
        sequence.reused += sequence.prompt
        plan.step.reused += sequence.prompt
        plan.fork(sequence)
        return True

    def _headroom(self, sequence: Member) -> int:
        """Cells that should be free beside those that the sequence needs now, so that nobody is parked at once."""
        return self._growth + sequence.growth if self._sequences.running else 0

    def _seat(self, sequence: Member, seat: int) -> None:
        self._sequences.seat(sequence, seat)
        self._growth += sequence.growth

    def _park(self, sequence: Member) -> None:
        self._cache.retire(sequence.seat, len(sequence.tokens))
        self._sequences.park(sequence)

    def _end(self, sequence: Member, keep: int) -> None:
        self._sequences.end(sequence)
        if sequence.seat >= 0:
            self._cache.retire(sequence.seat, keep)
