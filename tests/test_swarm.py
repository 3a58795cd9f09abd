"""Agents work in waves, within their seats, in the order of dependencies, and stop when their subtask is closed."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from swarmcode.agent.protocol import Assignment
from swarmcode.errors import EngineLost, StepLost, UsageError
from swarmcode.events import Event, WaveStarted
from swarmcode.flow import Attempt, Plan, Subtask
from swarmcode.swarm import Hearing, swarm


def subtask(name: str, *depends_on: str) -> Subtask:
    return Subtask(id=name, goal="", tests=(), suspects=(), writes=frozenset(), depends_on=depends_on)


@dataclass
class ScriptedAgent:
    """Has `supply` assignments a subtask; `act` makes each attempt."""

    act: Callable[[Assignment], Attempt | None] = lambda assignment: None
    supply: int = 1000
    dear: bool = False
    hold: bool = False
    full: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    most: int = 0
    order: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def assignments(self, subtask: Subtask) -> Iterator[Assignment]:
        for number in range(self.supply):
            yield Assignment(id=f"{subtask.id}.{number}", subtask=subtask, suspect=None, sample=number, seed=number)

    async def attempt(self, assignment: Assignment) -> Attempt:
        self.order.append(assignment.id)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if self.hold:
                if self.running == 5:
                    self.full.set()
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(assignment.id)
            raise
        finally:
            self.running -= 1
        made = self.act(assignment)
        return made or Attempt(id=assignment.id, subtask=assignment.subtask.id, seed=0, ending="gave_up")


@dataclass
class Court:
    """Closes a subtask when the named attempt is proposed."""

    closing: str = ""
    enough_at: int = 10**9
    attempts: list[Attempt] = field(default_factory=list)
    events: dict[str, asyncio.Event] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    new: frozenset[str] = frozenset()

    def hearing(self) -> Hearing:
        return Hearing(
            propose=self.propose,
            settled=self.settled,
            closed=self.closed,
            enough=lambda _, width: width >= self.enough_at,
        )

    async def propose(self, attempt: Attempt) -> bool:
        self.attempts.append(attempt)
        if attempt.id == self.closing:
            self.closed(attempt.subtask).set()
        return attempt.id in self.new

    async def settled(self, subtask: str, left: int) -> None:
        self.left.append(left)
        await asyncio.sleep(0)

    def closed(self, subtask: str) -> asyncio.Event:
        return self.events.setdefault(subtask, asyncio.Event())


def work(
    agent: ScriptedAgent, court: Court, *subtasks: Subtask, widths: tuple[int, ...] = (3, 30), agents: int = 100
) -> list[Event]:
    events: list[Event] = []
    plan = Plan(subtasks=subtasks, mode="swarm", widths=widths, why="")
    asyncio.run(asyncio.wait_for(swarm(plan, agent, court.hearing(), agents=agents, emit=events.append), 10))
    return events


def test_waves_widen_until_the_plan_is_spent() -> None:
    """3, then 30 attempts, each made once."""
    agent, court = ScriptedAgent(), Court()
    events = work(agent, court, subtask("1"))
    assert [event.width for event in events if isinstance(event, WaveStarted)] == [3, 30]
    assert len(court.attempts) == len({attempt.id for attempt in court.attempts}) == 33


def test_all_agents_of_a_wave_run_at_once() -> None:
    """A hundred agents are a hundred tasks in flight, not a queue."""
    agent = ScriptedAgent()
    work(agent, Court(), subtask("1"), widths=(100,))
    assert agent.most == 100


def test_seats_bound_all_subtasks_together() -> None:
    """More subtasks do not make more agents at once than were allowed."""
    agent = ScriptedAgent()
    work(agent, Court(), subtask("1"), subtask("2"), subtask("3"), widths=(30,), agents=10)
    assert agent.most == 10


def test_a_closed_subtask_starts_no_further_wave() -> None:
    """What is solved in the first wave costs no second."""
    agent = ScriptedAgent()
    work(agent, Court(closing="1.1"), subtask("1"), subtask("2"))
    assert len([name for name in agent.order if name.startswith("1.")]) == 3
    assert len([name for name in agent.order if name.startswith("2.")]) == 33


def test_closing_calls_off_agents_that_are_running() -> None:
    """The rest of the wave stops the moment its subtask is closed."""
    agent, court = ScriptedAgent(hold=True), Court()

    async def main() -> None:
        plan = Plan(subtasks=(subtask("1"),), mode="swarm", widths=(5,), why="")
        working = asyncio.create_task(swarm(plan, agent, court.hearing(), agents=100, emit=lambda event: None))
        await agent.full.wait()
        court.closed("1").set()
        await working

    asyncio.run(asyncio.wait_for(main(), 10))
    assert len(agent.cancelled) == 5
    assert court.attempts == []


def test_a_subtask_waits_for_those_it_depends_on() -> None:
    """Order follows the DAG, not the list."""
    agent = ScriptedAgent(supply=2)
    work(agent, Court(), subtask("2", "1"), subtask("1"))
    assert agent.order == ["1.0", "1.1", "2.0", "2.1"]


def test_running_out_of_assignments_ends_the_subtask() -> None:
    """A model with nothing left to try does not hang the run."""
    agent = ScriptedAgent(supply=4)
    work(agent, Court(), subtask("1"), widths=(3, 30, 100))
    assert len(agent.order) == 4


def test_a_candidate_that_never_ends_holds_no_wave_up() -> None:
    """The next one begins while a few of several are still judged; the last wave, and one agent alone, are awaited."""
    court = Court()
    work(ScriptedAgent(), court, subtask("1"), widths=(3, 30, 100, 100))
    assert court.left == [1, 3, 10, 0]
    alone = Court()
    work(ScriptedAgent(), alone, subtask("1"), widths=(1, 1))
    assert alone.left == [0, 0]


def test_dear_attempts_wait_for_every_verdict() -> None:
    """Where an answer costs more than a test run, none is asked for that a verdict might spare."""
    court = Court()
    work(ScriptedAgent(dear=True), court, subtask("1"), widths=(3, 30))
    assert court.left == [0, 0]


def test_a_model_that_has_nothing_new_to_say_is_not_asked_on_and_on() -> None:
    """Dear attempts end after some in a row that bring nothing new; cheap ones go through all that there is to try."""
    widths = (3, *(30,) * 6)
    assert len(made(ScriptedAgent(dear=True), Court(), widths)) == 3 + 30 + 30
    assert len(made(ScriptedAgent(dear=True), Court(new=frozenset({"1.40"})), widths)) == 3 + 30 + 30 + 60
    assert len(made(ScriptedAgent(), Court(), widths)) == 3 + 6 * 30


def made(agent: ScriptedAgent, court: Court, widths: tuple[int, ...]) -> list[str]:
    work(agent, court, subtask("1"), widths=widths)
    return agent.order


def test_enough_stops_before_the_next_wave() -> None:
    """A partial fix after a wide wave ends the search for now."""
    agent = ScriptedAgent()
    work(agent, Court(enough_at=30), subtask("1"), widths=(3, 30, 100))
    assert len(agent.order) == 33


def test_a_crash_ends_one_attempt_and_no_other() -> None:
    """The traceback is recorded, and a crash can never look like an empty patch."""

    def act(assignment: Assignment) -> Attempt | None:
        if assignment.sample == 1:
            raise ZeroDivisionError("oh")
        return None

    court = Court()
    work(ScriptedAgent(act=act), court, subtask("1"), widths=(3,))
    endings = {attempt.id: attempt.ending for attempt in court.attempts}
    assert endings == {"1.0": "gave_up", "1.1": "crashed", "1.2": "gave_up"}
    (crash,) = [attempt for attempt in court.attempts if attempt.ending == "crashed"]
    assert "ZeroDivisionError: oh" in crash.note
    assert crash.diff == ""


def test_a_prompt_that_does_not_fit_is_a_limit_of_its_attempt() -> None:
    """Too long for the context is an expected ending."""

    def act(assignment: Assignment) -> Attempt | None:
        raise UsageError("the prompt has 5000 tokens")

    court = Court()
    work(ScriptedAgent(act=act), court, subtask("1"), widths=(1,))
    assert [(attempt.ending, attempt.note) for attempt in court.attempts] == [("limit", "the prompt has 5000 tokens")]


def test_a_dead_engine_ends_the_run() -> None:
    """What concerns all agents is not hidden as a hundred crashes."""

    def act(assignment: Assignment) -> Attempt | None:
        raise EngineLost("gone")

    with pytest.raises(ExceptionGroup) as caught:
        work(ScriptedAgent(act=act), Court(), subtask("1"))
    assert caught.group_contains(EngineLost)


def test_a_step_that_fails_costs_its_attempts_one_more_try() -> None:
    """Attempts that shared the step are made again, the others go on, and no attempt is told twice."""
    agent, court = ScriptedAgent(supply=6), Court()

    def stumble(assignment: Assignment) -> None:
        if assignment.sample in (1, 3) and agent.order.count(assignment.id) == 1:
            raise StepLost("the model did not compute a step")

    agent.act = stumble
    work(agent, court, subtask("1"), widths=(6,))
    assert sorted(agent.order) == sorted([f"1.{n}" for n in range(6)] + ["1.1", "1.3"])
    assert sorted(attempt.id for attempt in court.attempts) == [f"1.{n}" for n in range(6)]


def test_an_engine_that_fails_at_every_step_ends_the_run() -> None:
    """After two tries of an attempt, so that a run never goes round in circles."""

    def fail(assignment: Assignment) -> None:
        raise StepLost("the model did not compute a step")

    agent = ScriptedAgent(act=fail, supply=1)
    with pytest.raises(ExceptionGroup) as error:
        work(agent, Court(), subtask("1"))
    assert error.group_contains(EngineLost)
    assert agent.order == ["1.0", "1.0"]
