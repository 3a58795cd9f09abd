"""What the owner of a backend does, step by step: plan, compute, draw, tell. One thread, no event loop, no locks.

Whatever goes wrong ends exactly the requests that it concerns: a step that fails, those in the step; a constraint that
raises, or logits that are no numbers, the request that asked.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.answer import Answer
from swarmcode.engine.guesses import Guesses
from swarmcode.engine.protocol import Completion, Constraint, Load, Request
from swarmcode.engine.sampling import Drawn, Floats, Pick
from swarmcode.engine.scheduler import Scheduler
from swarmcode.engine.step import Capacity, Step
from swarmcode.errors import EngineLost, ModelError, StepLost, SwarmcodeError
from swarmcode.flow import Usage


class StepFailed(Exception):
    """The backend could not compute a step, and can go on with others."""


class StepInterrupted(StepFailed):
    """The step was interrupted, because the engine is being closed."""


class Grammar(Constraint, Protocol):
    """A constraint that holds memory of the backend's."""

    def close(self) -> None:
        """Frees it. Idempotent."""
        ...


class Backend(Protocol):
    """A model with its KV cache. `tokenize`, `piece` and `grammar` may be called from any thread."""

    @property
    def capacity(self) -> Capacity: ...

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        ...

    @property
    def ends(self) -> frozenset[int]:
        """The model's own end-of-generation tokens."""
        ...

    @property
    def begin(self) -> tuple[int, ...]:
        """What the model wants before any text: its begin token, or nothing."""
        ...

    def tokenize(self, text: str, special: bool) -> tuple[int, ...]: ...

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; nothing for control tokens and for what is no token."""
        ...

    def grammar(self, schema: str) -> Grammar:
        """A constraint to texts that follow the JSON schema. Raises `ModelError`."""
        ...

    def run(self, step: Step) -> Sequence[Floats]:
        """Makes the step's changes, computes its tokens, and gives a row of logits, shape (vocabulary,), for each of
        its reads; valid until the next call. Raises `StepFailed`, `StepInterrupted` after `interrupt`."""
        ...

    def draw(self, rows: Sequence[Floats], picks: Sequence[Pick]) -> list[Drawn]:
        """One token for each pick, as `sampling.draw`."""
        ...

    def interrupt(self) -> None:
        """Makes a `run` in progress, and any later one, fail soon. From any thread."""
        ...

    def close(self) -> None:
        """Frees the model. Idempotent."""
        ...


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
        self._owners: dict[int, tuple[Job, int]] = {}
        """Sequence -> its job, and which of its answers."""
        self._usage = Usage()
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
            usage=self._usage,
        )

    def accept(self, job: Job) -> None:
        """Takes a job that fits the backend's context."""
        wanted, priority = job.request.sampling.max_tokens, job.request.priority
        job.sequences = tuple(
            self._scheduler.add(job.prompt, max_tokens=wanted, priority=priority) for _ in job.answers
        )
        self._owners.update({sequence: (job, index) for index, sequence in enumerate(job.sequences)})

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
            self._usage += Usage(prefilled=step.prefilled, reused=step.reused, decoded=drawn, seconds=seconds)
            if self._guesses:
                self._guesses.learn(step, seconds)

    def _guess(self) -> dict[int, list[int]]:
        if not self._guesses:
            return {}
        answers = ((sequence, job.prompt, job.answers[index]) for sequence, (job, index) in self._owners.items())
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
        reads: dict[int, list[int]] = {}
        for row, read in enumerate(step.reads):
            for sequence in read.sequences:
                reads.setdefault(sequence, []).append(row)
        sampled: dict[int, int | None] = {}
        right: dict[int, int] = {}
        drawn, turn, going = 0, 0, list(reads)
        while going:
            drawn += self._draw({sequence: reads[sequence][turn] for sequence in going}, rows, sampled)
            guessed = [sequence for sequence in going if turn < len(step.drafts.get(sequence, ()))]
            going = [sequence for sequence in guessed if sampled.get(sequence) == step.drafts[sequence][turn]]
            turn += 1
            right |= dict.fromkeys(going, turn)
        self._drafted += sum(map(len, step.drafts.values()))
        self._accepted += sum(right.values())
        self._deliver(step, sampled, right)
        return drawn

    def _draw(self, due: dict[int, int], rows: Sequence[Floats], sampled: dict[int, int | None]) -> int:
        """Draws one token for each of the sequences, from its row, into `sampled`; how many were drawn."""
        picks: list[Pick] = []
        picking: list[tuple[int, Job, Answer]] = []
        for sequence, row in due.items():
            job, index = self._owners[sequence]
            answer = job.answers[index]
            mask = self._mask(job, answer) if answer.constraints else None
            sampling = job.request.sampling
            if mask is not None and not mask.any():
                answer.finish = "stop"  # nothing may follow: it is complete
                sampled[sequence] = None
            elif job.fault:
                sampled.pop(sequence, None)
            else:
                picks.append(Pick(row, sampling, answer.key if sampling.temperature else 0, mask, job.request.top))
                picking.append((sequence, job, answer))
        for (sequence, job, answer), drawn in zip(picking, self._backend.draw(rows, picks), strict=True):
            if math.isfinite(drawn.logprob):
                answer.take(drawn, self._backend.piece)
                sampled[sequence] = None if answer.finish else drawn.token
            else:
                job.fault = ModelError("the model's logits are not numbers", "its file may be damaged: get it again")
                sampled.pop(sequence, None)
        return len(picks)

    def _mask(self, job: Job, answer: Answer) -> NDArray[np.bool_] | None:
        with _Blame(job):
            mask = answer.mask()
            if mask is not None and (mask.shape != (self._backend.vocabulary,) or mask.dtype != np.bool_):
                raise ValueError(f"a mask {mask.shape} of {mask.dtype} for a vocabulary of {self._backend.vocabulary}")
            return mask
        return None

    def _deliver(self, step: Step, sampled: dict[int, int | None], right: dict[int, int]) -> None:
        now = time.monotonic()
        ended: dict[int, Job] = {}
        for sequence, token in sampled.items():
            job, index = self._owners[sequence]
            if token is None:
                cost = self._scheduler.cost(sequence)
                answer = job.answers[index]
                job.completions[index] = answer.completion(
                    Usage(
                        prefilled=cost.prefilled,
                        reused=cost.reused,
                        decoded=len(answer.logprobs),
                        seconds=now - job.began,
                    )
                )
                ended[id(job)] = job
        touched = {id(job): job for read in step.reads for job, _ in map(self._owners.__getitem__, read.sequences)}
        self._scheduler.commit(sampled, right)
        for job in touched.values():
            if job.fault:
                self._fail(job, job.fault)
            elif job.tell:
                job.tell()
        for job in ended.values():
            if len(job.completions) == len(job.answers) and not job.fault:
                self.drop(job)
                job.deliver(tuple(job.completions[index] for index in range(len(job.answers))))


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
