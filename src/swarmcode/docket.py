"""Candidates that wait for their verdict, best first.

One docket serves one plan. Equal candidates are tried once; the moment a subtask is solved, whatever else waits or runs
for it is dropped, and so is every subtask whose tests were turned along the way.
"""

import asyncio
import heapq
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Literal

from swarmcode.events import CandidateDropped, CandidateFound, CandidateJudged, Emit, SubtaskSolved
from swarmcode.flow import Candidate, Subtask, Verdict

Trial = Callable[[Candidate, Iterable[str]], Awaitable[Verdict]]
"""Tries a candidate against the tests that it is to turn."""


class Docket:
    """Give it candidates; `run` judges them, a few at a time, until cancelled."""

    def __init__(self, subtasks: Iterable[Subtask], trial: Trial, emit: Emit, *, known: Mapping[str, Verdict]) -> None:
        self._subtasks = {subtask.id: subtask for subtask in subtasks}
        self._trial = trial
        self._emit = emit
        self._known = known
        self._seen: set[str] = set()
        self._waiting: list[tuple[float, int, Candidate]] = []
        self._order = itertools.count()
        self._open: defaultdict[str, int] = defaultdict(int)
        self._running: dict[asyncio.Task[Verdict], Candidate] = {}
        self._changed = asyncio.Condition()
        self._closed: dict[str, asyncio.Event] = {name: asyncio.Event() for name in self._subtasks}
        self.passed: defaultdict[str, list[tuple[Candidate, Verdict]]] = defaultdict(list)
        """Subtask -> candidates that turned tests and broke none, best first."""

    async def submit(self, candidate: Candidate) -> bool:
        """Queues a candidate, unless its subtask is closed or an equal one was seen; whether it was queued."""
        if self.closed(candidate.subtask).is_set():
            return self._drop(candidate, "its subtask is solved")
        if candidate.key in self._seen:
            return self._drop(candidate, "duplicate")
        self._seen.add(candidate.key)
        self._emit(CandidateFound(candidate=candidate))
        async with self._changed:
            self._open[candidate.subtask] += 1
            heapq.heappush(self._waiting, (-candidate.score, next(self._order), candidate))
            self._changed.notify_all()
        return True

    def closed(self, subtask: str) -> asyncio.Event:
        """Set once nothing more is to be done for a subtask."""
        return self._closed[subtask]

    async def settled(self, subtask: str, left: int = 0) -> None:
        """Returns when all candidates of the subtask but `left` have their verdicts or were dropped."""

        def few_left() -> bool:
            return self._open[subtask] <= left or self.closed(subtask).is_set()

        async with self._changed:
            await self._changed.wait_for(few_left)

    async def any_passed(self) -> None:
        """Returns when some candidate has passed."""
        async with self._changed:
            await self._changed.wait_for(lambda: any(self.passed.values()))

    async def run(self, workers: int) -> None:
        """Judges, `workers` candidates at a time, until cancelled. Raises what a trial raises."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(group))

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting))
                candidate = heapq.heappop(self._waiting)[2]
            if self.closed(candidate.subtask).is_set():
                self._drop(candidate, "its subtask is solved")
            else:
                await self._decide(group, candidate)
            async with self._changed:
                self._open[candidate.subtask] -= 1
                self._changed.notify_all()

    async def _decide(self, group: asyncio.TaskGroup, candidate: Candidate) -> None:
        verdict = self._known.get(candidate.key)
        if verdict is None:
            trial = group.create_task(self._try(candidate))
            self._running[trial] = candidate
            try:
                # `wait` and not `await`: a trial that is called off must not end its worker.
                await asyncio.wait({trial})
            finally:
                del self._running[trial]
            if trial.cancelled():
                self._drop(candidate, "its subtask is solved")
                return
            verdict = trial.result()
        self._emit(CandidateJudged(candidate=candidate, verdict=verdict))
        if verdict.outcome == "passed":
            self._take(candidate, verdict)

    async def _try(self, candidate: Candidate) -> Verdict:
        return await self._trial(candidate, self._subtasks[candidate.subtask].tests)

    def _take(self, candidate: Candidate, verdict: Verdict) -> None:
        found = self.passed[candidate.subtask]
        found.append((candidate, verdict))
        found.sort(key=lambda pair: (len(pair[1].still_failing), -pair[0].score))
        if verdict.still_failing:
            return
        for name, subtask in self._subtasks.items():
            if name == candidate.subtask or verdict.turned.issuperset(subtask.tests):
                self._close(name, candidate)

    def _close(self, subtask: str, candidate: Candidate) -> None:
        if self._closed[subtask].is_set():
            return
        self._closed[subtask].set()
        self._emit(SubtaskSolved(subtask=subtask, candidate=candidate))
        for trial, running in self._running.items():
            if running.subtask == subtask and running.key != candidate.key:
                trial.cancel()

    def _drop(self, candidate: Candidate, reason: str) -> Literal[False]:
        self._emit(CandidateDropped(attempt=candidate.attempt, reason=reason))
        return False
