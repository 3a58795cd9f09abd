"""What the owner of a backend does, step by step: plan, compute, draw, tell. One thread, no event loop, no locks.

Whatever goes wrong ends exactly the requests that it concerns: a step that fails, those in the step; a constraint that
raises, or logits that are no numbers, the request that asked.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import accumulate, islice, pairwise, starmap
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.answer import Answer
from swarmcode.engine.backend import Backend, Grammar, StepFailed, StepInterrupted
from swarmcode.engine.guesses import Guesses
from swarmcode.engine.protocol import Completion, Load, Request
from swarmcode.engine.sampling import Drawn, Floats, Pick, forced
from swarmcode.engine.scheduler import Scheduler
from swarmcode.engine.step import Step
from swarmcode.errors import EngineLost, ModelError, StepLost, SwarmcodeError
from swarmcode.flow import Usage

Outcome = tuple[Completion, ...] | SwarmcodeError


@dataclass(eq=False, slots=True)
class Job:
    """A request, and who waits for its outcome."""

    request: Request
    prompt: tuple[int, ...]
    answers: tuple[Answer, ...]
    grammars: tuple[Grammar, ...]
    deliver: Callable[[Outcome], None]
    """Called once, in the owner's thread."""
    tell: Callable[[], None] | None = None
    """Called there after each step that an answer has gained something from, and before `deliver`."""
    began: float = field(default_factory=time.monotonic)
    sequences: tuple[int, ...] = ()
    """The scheduler's, one an answer."""
    completions: dict[int, Completion] = field(default_factory=dict)
    """By index of the answer."""
    fault: SwarmcodeError | None = None

    def free(self) -> None:
        """Gives back what its grammars hold. Idempotent."""
        for grammar in self.grammars:
            grammar.close()


class Worker:
    """Runs jobs on a backend."""

    def __init__(self, backend: Backend, *, drafting: bool = True) -> None:
        self._backend = backend
        self._scheduler = Scheduler(backend.capacity)
        self._guesses = Guesses() if drafting and self._scheduler.drafting else None
        self._drafted = self._accepted = 0
        self._owners: dict[int, tuple[Job, Answer]] = {}
        """Sequence -> its job, and its answer."""
        self._prefilled = self._reused = self._decoded = 0
        self._seconds = 0.0
        self.steps = 0
        """Calls of the model so far."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self._scheduler.idle

    @property
    def load(self) -> Load:
        return Load(
            running=self._scheduler.running,
            waiting=self._scheduler.waiting,
            drafted=self._drafted,
            accepted=self._accepted,
            usage=Usage(prefilled=self._prefilled, reused=self._reused, decoded=self._decoded, seconds=self._seconds),
        )

    def accept(self, job: Job) -> None:
        """Takes a job that fits the backend's context."""
        wanted, priority = job.request.sampling.max_tokens, job.request.priority
        job.sequences = tuple(
            self._scheduler.add(job.prompt, max_tokens=wanted, priority=priority) for _ in job.answers
        )
        self._owners.update({each: (job, answer) for each, answer in zip(job.sequences, job.answers, strict=True)})

    def drop(self, job: Job) -> None:
        """Forgets a job, and frees what it holds. One that has ended is ignored."""
        self._scheduler.cancel(job.sequences)
        for sequence in job.sequences:
            self._owners.pop(sequence, None)
            if self._guesses:
                self._guesses.drop(sequence)
        job.free()

    def give_up(self, error: Callable[[], SwarmcodeError]) -> None:
        """Ends all jobs, each with an error of its own. Nothing can be done afterwards."""
        for job in {id(job): job for job, _ in self._owners.values()}.values():
            job.free()
            job.deliver(error())
        self._owners.clear()

    def step(self) -> None:
        """Computes one step, and delivers what it ends."""
        began = time.monotonic()
        step = self._scheduler.plan(self._guess())
        try:
            rows = self._backend.run(step)
        except StepFailed as failure:
            self._abandon(failure)
            return
        if step.tokens:
            drawn = self._finish(step, rows)
            seconds = time.monotonic() - began
            self.steps += 1
            self._prefilled += step.prefilled
            self._reused += step.reused
            self._decoded += drawn
            self._seconds += seconds
            if self._guesses:
                self._guesses.learn(step, seconds)

    def _guess(self) -> dict[int, list[int]]:
        if not self._guesses:
            return {}
        answers = ((sequence, job.prompt, answer) for sequence, (job, answer) in self._owners.items())
        return self._guesses.make(self._scheduler.running, answers)

    def _abandon(self, failure: StepFailed) -> None:
        lost = [self._owners[sequence][0] for sequence in self._scheduler.abandon()]
        for job in {id(job): job for job in lost}.values():
            fault = EngineLost if isinstance(failure, StepInterrupted) else StepLost
            job.fault = fault(f"the model did not compute a step: {failure}", "run it again")
            job.fault.__cause__ = failure
            self._fail(job, job.fault)

    def _fail(self, job: Job, fault: SwarmcodeError) -> None:
        self.drop(job)
        job.deliver(fault)

    def _finish(self, step: Step, rows: Sequence[Floats]) -> int:
        """Draws the next tokens, and ends what they end; how many were drawn.

        Behind guessed tokens too, but only as long as they are those that are drawn: an answer is the same with
        guesses and without.
        """
        reads = step.reads[: len(step.reads) - step.drafted]
        turns = [
            (sequence, *self._owners[sequence], row) for row, read in enumerate(reads) for sequence in read.sequences
        ]
        free = [turn for turn in turns if not turn[2].constraints]
        drawn = _Drawn()
        if free:
            self._go_on(free, step, rows, drawn)
        if len(free) < len(turns):
            self._go_on_within([turn for turn in turns if turn[2].constraints], step, rows, drawn)
        self._drafted += step.drafted
        self._accepted += sum(drawn.right.values())
        self._deliver(dict.fromkeys(job for _, job, _, _ in turns), drawn)
        return drawn.count

    def _go_on(self, turns: "Sequence[_Turn]", step: Step, rows: Sequence[Floats], drawn: "_Drawn") -> None:
        """Of sequences that any token may follow: what comes behind their guesses is drawn at once."""
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

    def _go_on_within(self, turns: "Sequence[_Turn]", step: Step, rows: Sequence[Floats], drawn: "_Drawn") -> None:
        """Of sequences whose constraints want to see each token before the next."""
        ahead, behind = 0, _behind(step)
        while turns:
            picks: list[Pick] = []
            picking: list[_Turn] = []
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

    def _take(self, sequence: int, job: Job, answer: Answer, found: Drawn, drawn: "_Drawn") -> None:
        """A sequence gets its next token."""
        if not job.fault and not math.isfinite(found.logprob):
            job.fault = ModelError("the model's logits are not numbers", "its file may be damaged: get it again")
        if job.fault:
            drawn.tokens.pop(sequence, None)
            return
        answer.take(found)
        drawn.count += 1
        drawn.tokens[sequence] = None if answer.finish else found.token

    def _mask(self, job: Job, answer: Answer) -> NDArray[np.bool_] | None:
        with _Blame(job):
            mask = answer.mask()
            if mask is not None and (mask.shape != (self._backend.vocabulary,) or mask.dtype != np.bool_):
                raise ValueError(f"a mask {mask.shape} of {mask.dtype} for a vocabulary of {self._backend.vocabulary}")
            return mask
        return None

    def _deliver(self, touched: Iterable[Job], drawn: "_Drawn") -> None:
        """Tells jobs what they have gained, and ends those that have ended."""
        ended = [self._complete(sequence) for sequence, token in drawn.tokens.items() if token is None]
        self._scheduler.commit(drawn.tokens, drawn.right)
        for job in touched:
            if job.fault:
                self._fail(job, job.fault)
            elif job.tell:
                job.tell()
        for job in dict.fromkeys(ended):
            if len(job.completions) == len(job.answers) and not job.fault:
                self.drop(job)
                job.deliver(tuple(job.completions[index] for index in range(len(job.answers))))

    def _complete(self, sequence: int) -> Job:
        """An answer has ended; whose it is."""
        job, answer = self._owners[sequence]
        cost, seconds = self._scheduler.cost(sequence), time.monotonic() - job.began
        usage = Usage(prefilled=cost.prefilled, reused=cost.reused, decoded=len(answer.logprobs), seconds=seconds)
        job.completions[job.answers.index(answer)] = answer.completion(usage)
        return job


_Turn = tuple[int, Job, Answer, int]
"""A sequence, whose it is, and the row of logits that its next token is drawn from."""


def _behind(step: Step) -> dict[int, range]:
    """The rows of logits behind guessed tokens, by sequence."""
    ends = list(accumulate(map(len, step.drafts.values()), initial=len(step.reads) - step.drafted))
    return dict(zip(step.drafts, starmap(range, pairwise(ends)), strict=True))


@dataclass(slots=True)
class _Drawn:
    """What was drawn in a step."""

    tokens: dict[int, int | None] = field(default_factory=dict)
    """The last one of each sequence; None: it has ended."""
    right: dict[int, int] = field(default_factory=dict)
    """How many of a sequence's guesses came true before that, where any did."""
    count: int = 0
    """Tokens, all together."""


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
