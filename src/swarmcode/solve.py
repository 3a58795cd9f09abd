"""The story: an issue becomes a baseline, suspects, a plan, attempts, verdicts, and a proven combination.

Only this file knows the order of the stages. A round works on the tree as it stands; what it proves is stacked, and
while failing tests remain and the last round brought something, another plan is made on the new ground. The end of the
time is kept for proving what has passed by then.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from swarmcode.agent.explorer import ExplorerAgent
from swarmcode.agent.planner import Planner, propose
from swarmcode.agent.protocol import Agent
from swarmcode.agent.span import SpanAgent
from swarmcode.agent.writer import Briefing, WriterAgent
from swarmcode.diff import is_test_file, to_candidate
from swarmcode.docket import Docket
from swarmcode.engine.protocol import Engine
from swarmcode.errors import DiffError, EngineLost, ModelError, UsageError, plainest
from swarmcode.events import (
    BaselineMeasured,
    CandidateDropped,
    Emit,
    Localised,
    Merged,
    Phase,
    PhaseEnded,
    PhaseStarted,
    Planned,
    Reproduced,
    Warned,
)
from swarmcode.flow import (
    Attempt,
    Baseline,
    Candidate,
    Changes,
    Plan,
    Report,
    SuiteRun,
    Verdict,
)
from swarmcode.judge import Bench, judge, look, prove, watch
from swarmcode.ledger import Ledger, joined
from swarmcode.localise.suspects import out_of_reach, suspected, together
from swarmcode.merge import merge
from swarmcode.plan import Evidence, check_proposal, make_plan, plan_schema, route
from swarmcode.repo import diff_of
from swarmcode.reproduce import Means, blind, insist, reproduce
from swarmcode.roles import is_vendored
from swarmcode.route import choose_mode, settling_width
from swarmcode.sandbox.stacked import Boxes, StackedBoxes
from swarmcode.suite.baseline import measure
from swarmcode.suite.detect import files_named
from swarmcode.suite.run import Traced
from swarmcode.swarm import Hearing, swarm
from swarmcode.task import Task
from swarmcode.tree import Tree

_PROOFS, _SPARE = 3.0, 1.0
"""Runs of the suite, and seconds, that a run keeps for its end."""
_REPRODUCING = 1 / 3
"""Share of the time after which no more tests are written."""


async def solve(task: Task, engine: Engine, boxes: Boxes, emit: Emit, planner: Planner | None = None) -> Report:
    """Carries a task through to its report; `planner` is asked for plans in the engine's place.

    Raises `SuiteError` where the tests show nothing to fix and no test can be written, `UsageError` where the model
    cannot work in the mode that was asked for, and what the engine and the sandbox raise.
    """
    started = time.monotonic()
    # What the model cannot do is refused before its tests have run for minutes.
    choose_mode(task.effort.mode, protocols=engine.profile.protocols, subtasks=1, sharp=True)
    ledger = Ledger(emit)
    try:
        async with asyncio.timeout(task.seconds):
            why = await Story(task, engine, boxes, ledger, planner).tell()
    except TimeoutError:
        why = _late(task)
    except BaseExceptionGroup as group:
        raise plainest(group) from group
    seconds = time.monotonic() - started
    name = engine.profile.name
    report = ledger.report(run=task.run, issue=task.issue, model=name, sandbox=task.sandbox, why=why, seconds=seconds)
    tested = report.baseline is not None and not report.baseline.failing
    return replace(report, green=tested and task.if_green == "done")


class Story:
    """One run's stages, in order."""

    def __init__(self, task: Task, engine: Engine, boxes: Boxes, ledger: Ledger, planner: Planner | None) -> None:
        self.task = task
        self.engine = engine
        self.planner = planner
        self.boxes = boxes
        self.ledger = ledger
        self.late = False
        """Whether a search was ended by the time that is left."""

    async def tell(self) -> str:
        """Rounds, while they bring something and there is time; why it ended."""
        ends = asyncio.get_running_loop().time() + self.task.seconds
        while True:
            tree = self.task.snapshot.reader.stacked(self.ledger.changes)
            baseline = await self.baseline(tree)
            if why := await self.over(tree, baseline):
                return why
            if not baseline.failing:
                continue  # a test was written that does
            before = len(self.ledger.accepted)
            bench = Bench.of(self.boxes, self.task.issue.test, baseline, self.task.limits)
            evidence = await self.localise(tree, baseline)
            plan = await self.plan(tree, baseline, evidence)
            if not any(subtask.writes for subtask in plan.subtasks):
                return out_of_reach(baseline, tree)
            until = ends - self.closing(baseline)
            docket = await self.search(tree, bench, plan, until)
            if deeper := self.deeper(plan, docket, evidence):
                docket = await self.search(tree, bench, deeper, until)
            await self.merge(bench, docket)
            if set(baseline.failing) <= self.ledger.turned:
                return "every failing test passes"
            if self.late:
                return _late(self.task)
            if len(self.ledger.accepted) == before:
                return "nothing that was tried is accepted by the tests"

    async def baseline(self, tree: Tree) -> Baseline:
        """How the suite stands on the tree as it is now: with each merge lines move and passing tests become more."""
        again = bool(tree.changes)
        boxes = StackedBoxes(self.boxes, tree.changes) if again else self.boxes
        with self.phase("baseline", "on the tree as it is now" if again else ""):
            known = None if again else self.task.known_baseline
            baseline = known or await measure(boxes, self.task.issue.test, self.task.limits)
        self.ledger(BaselineMeasured(baseline=baseline))
        return baseline

    async def over(self, tree: Tree, baseline: Baseline) -> str:
        """Why there is nothing to do; empty where there is. Where no test shows the fault, one is written first."""
        written = self.ledger.reproduction
        if written and not self.ledger.merge:
            if others := set(baseline.failing) - set(written.tests):
                return f"with {written.path}, which was written in this run, {len(others)} other tests fail"
            if not baseline.failing:
                return f"{written.path}, which was written in this run, passes where the whole suite runs"
        if baseline.failing:
            return ""
        if self.ledger.merge:
            return "every failing test passes"
        return "all tests pass" if self.task.if_green == "done" else await self.reproduce(tree, baseline)

    async def reproduce(self, tree: Tree, baseline: Baseline) -> str:
        """Has a test written that shows the fault; why none was found, or empty. Raises `SuiteError` where the model,
        the settings or the test command do not allow it."""
        issue = self.task.issue
        if self.task.if_green == "refuse":
            raise blind(baseline)
        insist(self.engine.profile, issue.test, baseline, tree)
        bench = Bench.of(self.boxes, issue.test, baseline, self.task.limits)

        async def run_test(changes: Changes) -> Traced:
            traced = await watch(bench, changes)
            self.ledger.other_seconds += traced.run.seconds
            return traced

        means = Means(
            engine=self.engine,
            run=run_test,
            agents=self.task.effort.agents,
            seconds=self.task.seconds * _REPRODUCING,
            seed=self.task.seed,
            emit=self.ledger,
        )
        with self.phase("reproduce"):
            found = self.task.known_reproduction or await reproduce(issue, tree, baseline, means)
        if found is None:
            return "no test could be written that shows the fault"
        self.ledger(Reproduced(reproduction=found))
        return ""

    async def localise(self, tree: Tree, baseline: Baseline) -> Evidence:
        """Where the fault behind each failing test may be."""
        checks = files_named(self.task.issue.test, tree.files)
        with self.phase("localise"):
            suspects = await asyncio.to_thread(suspected, self.task.issue.text, baseline, tree, checks)
        self.ledger(Localised(suspects=together(suspects.values())))
        files = frozenset(path for path in tree.files - checks if not is_test_file(path) and not is_vendored(path))
        return Evidence(suspects=suspects, files=files)

    async def plan(self, tree: Tree, baseline: Baseline, evidence: Evidence) -> Plan:
        """The work, split: by the model where it can, else by the evidence."""
        first = 1 + sum(len(plan.subtasks) for plan in self.ledger.plans)
        with self.phase("plan"):
            plan = make_plan(evidence, self.task.effort, first=first)
            if (self.planner or self.engine.profile.plans) and plan.mode not in ("instant", "agent"):
                plan = await self.proposed(tree, baseline, evidence, first) or plan
        self.ledger(Planned(plan=plan))
        return plan

    async def proposed(self, tree: Tree, baseline: Baseline, evidence: Evidence, first: int) -> Plan | None:
        """The model's own plan, or None where there is none or it does not hold."""
        try:
            proposal = await propose(
                await self.planner() if self.planner else self.engine,
                issue=self.task.issue,
                failures=[baseline.run.tests[test] for test in baseline.failing],
                suspects=together(evidence.suspects.values()),
                files=sorted(tree.files),
                schema=plan_schema(),
                seed=self.task.seed,
            )
        except UsageError as error:  # about this request alone, such as one that is too long
            self.ledger(Warned(message=f"the model was not asked for a plan: {error.message}"))
            return None
        except (ModelError, EngineLost) as error:
            if self.planner is None:
                raise
            self.ledger(Warned(message=f"no plan from the planner, planning by the evidence alone: {error.message}"))
            return None
        self.ledger.planning += proposal.usage
        self.ledger.planner_steps += 1
        forbidden = frozenset(path for path in tree.files if is_test_file(path))
        forbidden |= files_named(self.task.issue.test, tree.files)
        try:
            subtasks = check_proposal(proposal.answer, evidence, tree.files, forbidden, first=first)
            return route(subtasks, self.task.effort, evidence.files)
        except ValueError as error:
            self.ledger(Warned(message=f"the model's plan does not hold ({error}): planning by the evidence alone"))
            return None

    def deeper(self, plan: Plan, docket: Docket, evidence: Evidence) -> Plan | None:
        """Where thinking brought nothing, an agent that looks around, if the model can; None where there is none."""
        effort = self.task.effort
        tired = plan.mode == "thinking" and effort.mode == "auto" and "tools" in effort.protocols
        if not tired or any(docket.passed.values()):
            return None
        first = 1 + sum(len(plan.subtasks) for plan in self.ledger.plans)
        deeper = make_plan(evidence, replace(effort, mode="agent"), first=first)
        deeper = replace(deeper, why=f"thinking brought nothing: {deeper.why}")
        self.ledger(Planned(plan=deeper))
        return deeper

    def closing(self, baseline: Baseline) -> float:
        """Seconds at the end of the run that are for proving together what has passed."""
        return min(_PROOFS * baseline.run.seconds + _SPARE, self.task.seconds / 4)

    async def search(self, tree: Tree, bench: Bench, plan: Plan, until: float) -> Docket:
        """Attempts and their verdicts, until every subtask is closed or exhausted; or, if anything has passed, `until`
        this time of the event loop's."""

        async def trial(candidate: Candidate, wanted: Iterable[str]) -> Verdict:
            return await judge(bench, candidate, wanted)

        docket = Docket(plan.subtasks, trial, self.ledger, known={**self.task.known, **self.ledger.verdicts})
        subtasks = {subtask.id: subtask for subtask in plan.subtasks}

        async def propose_candidate(attempt: Attempt) -> bool:
            if attempt.ending != "submitted":
                return False
            try:
                candidate = await asyncio.to_thread(to_candidate, attempt, subtasks[attempt.subtask], tree)
            except DiffError as error:
                self.ledger(CandidateDropped(attempt=attempt.id, reason=error.message))
                return False
            return await docket.submit(candidate)

        least = settling_width(self.engine.profile.protocols, self.task.effort.agents)

        def enough(subtask: str, width: int) -> bool:
            return bool(docket.passed[subtask]) and width >= least

        hearing = Hearing(propose=propose_candidate, settled=docket.settled, closed=docket.closed, enough=enough)
        agent = self.agent(tree, bench, plan)
        with self.phase("swarm"):
            async with asyncio.TaskGroup() as group:
                judging = group.create_task(docket.run(self.task.workers))
                last_call = group.create_task(_last_call(docket, until))
                agents = self.task.effort.agents
                working = group.create_task(swarm(plan, agent, hearing, agents=agents, emit=self.ledger))
                await asyncio.wait({working, last_call}, return_when=asyncio.FIRST_COMPLETED)
                self.late = not working.done()
                for task in (working, last_call, judging):
                    task.cancel()
        return docket

    def agent(self, tree: Tree, bench: Bench, plan: Plan) -> Agent:
        """The agent for the plan's mode and the best protocol that the model speaks in it."""
        if self.engine.profile.protocols[0] == "span":
            return SpanAgent(self.engine, tree, agents=self.task.effort.agents, seed=self.task.seed)
        failures = tuple(bench.baseline.run.tests[test] for test in bench.baseline.failing)
        briefing = Briefing(issue=self.task.issue, failures=failures)
        attempts = self.task.effort.attempts
        if plan.mode == "agent":

            async def run_tests(changes: Changes, tests: Sequence[str]) -> SuiteRun:
                return await look(bench, changes, tests)

            return ExplorerAgent(self.engine, tree, briefing, run_tests, attempts=attempts, seed=self.task.seed)
        thinking = plan.mode == "thinking"
        return WriterAgent(self.engine, tree, briefing, thinking=thinking, attempts=attempts, seed=self.task.seed)

    async def merge(self, bench: Bench, docket: Docket) -> None:
        """What passed alone, proven together, on top of what was proven before."""

        async def proof(key: str, changes: Changes, expected: frozenset[str]) -> Verdict:
            verdict = await prove(bench, key, changes, expected)
            self.ledger.other_seconds += verdict.seconds
            return verdict

        with self.phase("merge"):
            ground = self.ledger.changes
            merged = await merge(
                docket.passed, proof, lambda changes: diff_of(self.task.snapshot, changes), ground=ground
            )
        self.ledger(Merged(merge=joined(self.ledger.merge, merged)))

    @contextmanager
    def phase(self, phase: Phase, detail: str = "") -> Iterator[None]:
        """Says when a phase begins and how long it took."""
        started = time.monotonic()
        self.ledger(PhaseStarted(phase=phase, detail=detail))
        yield
        self.ledger(PhaseEnded(phase=phase, seconds=time.monotonic() - started))


async def _last_call(docket: Docket, until: float) -> None:
    """Returns when a candidate has passed, at the time `until` or later."""
    await asyncio.sleep(until - asyncio.get_running_loop().time())
    await docket.any_passed()


def _late(task: Task) -> str:
    return f"the time limit of {task.seconds:g} s was reached"
