"""What the owner of a backend does, step by step: plan, compute, draw, tell. One thread, no event loop, no locks.

Where nothing has to be decided between a step and the next ones, these are computed in one stride. Whatever goes wrong
ends exactly the requests that it concerns: a step that fails, those in the step; a constraint that raises, or logits
that are no numbers, the request that asked.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from swarmcode.engine.answer import Answer
from swarmcode.engine.backend import Backend, Bounds, StepFailed, StepInterrupted
from swarmcode.engine.decode import Decoder, Round, Turn
from swarmcode.engine.guesses import Guesses
from swarmcode.engine.job import Job
from swarmcode.engine.protocol import Load
from swarmcode.engine.scheduler import Scheduler
from swarmcode.engine.step import Step
from swarmcode.errors import EngineLost, StepLost, SwarmcodeError
from swarmcode.flow import Usage

STRIDE = 0.06
"""Seconds for which nobody is told anything where nothing has to be decided."""


class Worker:
    """Runs jobs on a backend."""

    def __init__(self, backend: Backend, *, drafting: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, by which it is decided how far to guess."""
        self._clock = clock
        self._backend = backend
        self._scheduler = Scheduler(backend.capacity)
        self._decoder = Decoder(backend)
        self._guesses = Guesses(backend.drafter) if drafting and self._scheduler.drafting else None
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

    def give_up(self, error: Callable[[], SwarmcodeError]) -> None:
        """Ends all jobs, each with an error of its own. Nothing can be done afterwards."""
        for job in {id(job): job for job, _ in self._owners.values()}.values():
            job.deliver(error())
        self._owners.clear()

    def step(self) -> None:
        """Computes one step, and delivers what it ends."""
        began = self._clock()
        step = self._scheduler.plan()
        turns = [
            (sequence, *self._owners[sequence], row)
            for row, read in enumerate(step.reads)
            for sequence in read.sequences
        ]
        try:
            drawn = self._stride(step, turns) if self._strides(turns) else self._single(step, turns)
        except StepFailed as failure:
            self._abandon(failure)
            return
        if step.tokens:
            self._deliver(dict.fromkeys(job for _, job, _, _ in turns), drawn)
            self._count(step, drawn, self._clock() - began)

    def _strides(self, turns: Sequence[Turn]) -> bool:
        """Whether nothing has to be decided between the planned step and the next ones."""
        return (
            self._backend.strides
            and 0 < len(turns) <= self._scheduler.spare()
            and all(answer.plain for _, _, answer, _ in turns)
        )

    def _stride(self, step: Step, turns: Sequence[Turn]) -> Round:
        """Raises `StepFailed`."""
        guesses, costs, seconds = self._guesses, None, STRIDE
        if guesses:
            costs = guesses.costs(self._scheduler.running, self._scheduler.crowd)
            seconds = STRIDE if guesses.known else 0.0
        drafters = [
            guesses.drafter(sequence, job.prompt, answer) if guesses and costs else None
            for sequence, job, answer, _ in turns
        ]
        ends: frozenset[int] = frozenset().union(*(answer.ends for _, _, answer, _ in turns))
        bounds = Bounds(seconds=seconds, cells=self._scheduler.spare(), ends=ends, costs=costs)
        return self._decoder.stride(step, turns, drafters, bounds)

    def _single(self, step: Step, turns: Sequence[Turn]) -> Round:
        """Raises `StepFailed`."""
        self._guess()
        return self._decoder.step(step, self._backend.run(step), turns)

    def _guess(self) -> None:
        """Has guessed tokens put into the planned step."""
        if not self._guesses:
            return
        costs = self._guesses.costs(self._scheduler.running, self._scheduler.crowd)
        if costs:
            answers = ((sequence, job.prompt, answer) for sequence, (job, answer) in self._owners.items())
            self._scheduler.draft(self._guesses.make(costs, answers))

    def _count(self, step: Step, drawn: Round, seconds: float) -> None:
        self.steps += len(drawn.steps) or 1
        self._prefilled += step.prefilled
        self._reused += step.reused
        self._decoded += drawn.count
        self._seconds += seconds
        self._drafted += drawn.drafted
        self._accepted += drawn.accepted
        if self._guesses and not step.prefilled:
            self._guesses.learn(drawn.steps or [(len(step.tokens), seconds)])

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

    def _deliver(self, touched: Iterable[Job], drawn: Round) -> None:
        """Tells jobs what they have gained, and ends those that have ended."""
        ended = [self._complete(sequence) for sequence, token in drawn.tokens.items() if token is None]
        if drawn.strode:
            self._scheduler.went_on(drawn.strode)
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
