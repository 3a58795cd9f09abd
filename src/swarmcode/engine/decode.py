"""Draws the next tokens of the sequences of a step, and makes their answers go on.

What goes wrong with one of them, a constraint that raises or logits that are no numbers, becomes the fault of the job
that it belongs to, and of no other.
"""

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import accumulate, islice, pairwise, starmap
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.answer import Answer
from swarmcode.engine.backend import Backend, Bounds, Going
from swarmcode.engine.draft import Drafting
from swarmcode.engine.job import Job
from swarmcode.engine.sampling import Drawn, Floats, Pick, forced
from swarmcode.engine.step import Step
from swarmcode.errors import EngineLost, ModelError

Turn = tuple[int, Job, Answer, int]
"""A sequence, whose it is, and the row of logits that its next token is drawn from."""


@dataclass(slots=True)
class Round:
    """What was drawn in a step, or in a stride."""

    tokens: dict[int, int | None] = field(default_factory=dict)
    """The last one of each sequence; None: it has ended."""
    right: dict[int, int] = field(default_factory=dict)
    """How many tokens came before that, where any did: guesses that came true, or those of a stride."""
    strode: dict[int, list[int]] = field(default_factory=dict)
    """Tokens that were computed in a stride, behind those of the step."""
    count: int = 0
    """Tokens drawn, all together."""
    drafted: int = 0
    accepted: int = 0
    """Tokens that were guessed, and those that came true."""
    steps: list[tuple[int, float]] = field(default_factory=list)
    """As `Strode.steps`, of a stride."""


class Decoder:
    """Draws on a backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def step(self, step: Step, rows: Sequence[Floats], turns: Sequence[Turn]) -> Round:
        """One token for each turn, and one behind each of its guesses as long as these are what is drawn: an answer is
        the same with guesses and without."""
        drawn = Round(drafted=step.drafted)
        free = [turn for turn in turns if turn[2].free]
        if free:
            self._go_on(free, step, rows, drawn)
        if len(free) < len(turns):
            self._go_on_within([turn for turn in turns if not turn[2].free], step, rows, drawn)
        drawn.accepted = sum(drawn.right.values())
        return drawn

    def stride(self, step: Step, turns: Sequence[Turn], drafters: Iterable[Drafting | None], bounds: Bounds) -> Round:
        """Tokens for each turn of a step that does nothing but decode, as far as nothing has to be decided. All answers
        are plain."""
        going = [
            Going(answer.pick(row), answer.left, drafter)
            for (_, _, answer, row), drafter in zip(turns, drafters, strict=True)
        ]
        found = self._backend.stride(step, going, bounds)
        drawn = Round(drafted=found.drafted, accepted=found.accepted, steps=found.steps)
        for (sequence, job, answer, _), tokens, logprobs in zip(turns, found.tokens, found.logprobs, strict=True):
            drawn.strode[sequence] = tokens[:-1]
            if self._sound(job, logprobs[-1]):
                taken = answer.take_all(tokens, logprobs)
                drawn.count += taken
                drawn.right[sequence] = taken - 1
                drawn.tokens[sequence] = None if answer.finish else tokens[-1]
        return drawn

    def _go_on(self, turns: Sequence[Turn], step: Step, rows: Sequence[Floats], drawn: Round) -> None:
        """Of sequences whose tokens are drawn alike, whatever was drawn before: what comes behind their guesses is
        drawn at once."""
        picks = [answer.pick(row) for _, _, answer, row in turns]
        guessed = [turn for turn in turns if turn[0] in step.drafts] if step.drafts else []
        behind = _behind(step) if guessed else {}
        for sequence, _, answer, _ in guessed:
            picks += [answer.pick(row, ahead) for ahead, row in enumerate(behind[sequence], 1)]
        found = iter(self._backend.draw(rows, picks))
        for (sequence, job, answer, _), each in zip(turns, found, strict=False):
            self._take(sequence, job, answer, each, drawn)
        for sequence, job, answer, _ in guessed:
            draft = step.drafts[sequence]
            for ahead, each in enumerate(islice(found, len(draft))):
                if drawn.tokens.get(sequence) == draft[ahead] and drawn.right.get(sequence, 0) == ahead:
                    drawn.right[sequence] = ahead + 1
                    self._take(sequence, job, answer, each, drawn)

    def _go_on_within(self, turns: Sequence[Turn], step: Step, rows: Sequence[Floats], drawn: Round) -> None:
        """Of sequences whose constraints or penalties want to see each token before the next."""
        ahead, behind = 0, _behind(step)
        while turns:
            picks: list[Pick] = []
            picking: list[Turn] = []
            for turn in turns:
                sequence, job, answer, row = turn
                mask = self._mask(job, answer)
                allowed = self._backend.vocabulary if mask is None else np.count_nonzero(mask)
                if job.fault:
                    drawn.tokens.pop(sequence, None)
                elif not allowed:
                    answer.complete()
                    drawn.tokens[sequence] = None
                elif mask is not None and allowed == 1:
                    self._take(sequence, job, answer, forced(rows[row], mask, job.request.top), drawn)
                else:
                    picks.append(answer.pick(row, mask=mask))
                    picking.append(turn)
            if picks:
                for (sequence, job, answer, _), each in zip(picking, self._backend.draw(rows, picks), strict=True):
                    self._take(sequence, job, answer, each, drawn)
            turns = [
                (sequence, job, answer, behind[sequence][ahead])
                for sequence, job, answer, _ in turns
                if step.drafts.get(sequence, ())[ahead : ahead + 1] == [drawn.tokens.get(sequence)]
            ]
            ahead += 1
            drawn.right |= dict.fromkeys((sequence for sequence, *_ in turns), ahead)

    def _take(self, sequence: int, job: Job, answer: Answer, found: Drawn, drawn: Round) -> None:
        """A sequence gets its next token."""
        if self._sound(job, found.logprob):
            answer.take(found.token, found.logprob, found.top)
            drawn.count += 1
            drawn.tokens[sequence] = None if answer.finish else found.token
        else:
            drawn.tokens.pop(sequence, None)

    def _sound(self, job: Job, logprob: float) -> bool:
        """Whether a job goes on, by what was drawn for it last."""
        if not job.fault and not math.isfinite(logprob):
            job.fault = ModelError("the model's logits are not numbers", "its file may be damaged: get it again")
        return not job.fault

    def _mask(self, job: Job, answer: Answer) -> NDArray[np.bool_] | None:
        with _Blame(job):
            mask = answer.mask()
            if mask is not None and (mask.shape != (self._backend.vocabulary,) or mask.dtype != np.bool_):
                raise ValueError(f"a mask {mask.shape} of {mask.dtype} for a vocabulary of {self._backend.vocabulary}")
            return mask
        return None


def _behind(step: Step) -> dict[int, range]:
    """The rows of logits behind guessed tokens, by sequence."""
    ends = list(accumulate(map(len, step.drafts.values()), initial=len(step.reads) - step.drafted))
    return dict(zip(step.drafts, starmap(range, pairwise(ends)), strict=True))


class _Blame(AbstractContextManager[None]):
    """What a caller's constraint raises is the fault of the caller's job, and of no other."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._job.fault = EngineLost(f"the request's constraint failed: {error!r}", "this is a fault in swarmcode")
        self._job.fault.__cause__ = error
        return True
