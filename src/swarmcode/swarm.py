"""Plan -> Attempts: many agents at once, wave by wave, in the order of their dependencies.

Every agent is a task in a group; a wave ends when its attempts have ended and what they proposed is judged; the next is
wider. Nothing holds a decode seat while it waits for a verdict. The moment a subtask is closed, its agents are called
off.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from swarmcode.agent.protocol import Agent, Assignment
from swarmcode.errors import StepLost, SwarmcodeError, UsageError
from swarmcode.events import AttemptEnded, AttemptStarted, Emit, WaveStarted
from swarmcode.flow import Attempt, Ending, Plan, Subtask

LEFT = 10
"""Where attempts are cheap, the next wave begins when one in so many of the last, but at least one of several, is not
judged yet: an edit that never ends holds nobody up."""
BARREN = 60
"""Dear attempts in a row that bring nothing new, after which a model has said what it has to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """Who hears what the agents found: the swarm's side of the judge."""

    propose: Callable[[Attempt], Awaitable[bool]]
    """Takes an attempt that ended; whether it brought something new."""
    settled: Callable[[str, int], Awaitable[None]]
    """Returns when all that was proposed for a subtask is judged, but for so many."""
    closed: Callable[[str], asyncio.Event]
    """Set when nothing more is to be done for a subtask."""
    enough: Callable[[str, int], bool]
    """Whether what was found for a subtask after a wave of so many agents is worth stopping at."""


async def swarm(plan: Plan, agent: Agent, hearing: Hearing, *, agents: int, emit: Emit) -> None:
    """Works through a plan. Returns when every subtask is closed or has nothing left to try."""
    seats = asyncio.Semaphore(agents)
    done = {subtask.id: asyncio.Event() for subtask in plan.subtasks}

    async def pursue(subtask: Subtask) -> None:
        for needed in subtask.depends_on:
            await done[needed].wait()
        await _pursue(subtask, plan.widths, agent, hearing, seats, emit)
        done[subtask.id].set()

    async with asyncio.TaskGroup() as group:
        for subtask in plan.subtasks:
            group.create_task(pursue(subtask))


async def _pursue(
    subtask: Subtask, widths: Sequence[int], agent: Agent, hearing: Hearing, seats: asyncio.Semaphore, emit: Emit
) -> None:
    """Waves for one subtask until it is closed, enough is found, or nothing is left to try."""
    assignments = agent.assignments(subtask)
    barren = 0
    for number, width in enumerate(widths, start=1):
        wave = await _drawn(assignments, width)
        if hearing.closed(subtask.id).is_set():
            return
        if not wave:
            await hearing.settled(subtask.id, 0)
            return
        emit(WaveStarted(number=number, width=len(wave), subtasks=(subtask.id,)))
        # While the last few are judged, the next wave is worked out; the last wave leaves nothing untried.
        ahead = not agent.dear and number < len(widths)
        left = min(len(wave) // 2, -(-len(wave) // LEFT)) if ahead else 0
        new: list[bool] = []
        await _unless(hearing.closed(subtask.id), _wave(wave, agent, hearing, seats, emit, left, new))
        if hearing.closed(subtask.id).is_set() or hearing.enough(subtask.id, width):
            return
        barren = 0 if any(new) else barren + len(wave)
        if agent.dear and barren >= BARREN:
            return


async def _drawn(assignments: Iterator[Assignment], width: int) -> list[Assignment]:
    """Making prompts takes time with a hundred of them: not in the event loop."""
    return await asyncio.to_thread(lambda: list(islice(assignments, width)))


async def _wave(
    wave: Sequence[Assignment],
    agent: Agent,
    hearing: Hearing,
    seats: asyncio.Semaphore,
    emit: Emit,
    left: int,
    new: list[bool],
) -> None:
    """Makes the attempts of a wave, and waits until all but `left` are judged; `new` takes what came of each."""

    async def one(assignment: Assignment) -> None:
        async with seats:
            emit(AttemptStarted(attempt=assignment.id, subtask=assignment.subtask.id))
            attempt = await _attempt(agent, assignment)
        emit(AttemptEnded(attempt=attempt))
        new.append(await hearing.propose(attempt))

    async with asyncio.TaskGroup() as group:
        for assignment in wave:
            group.create_task(one(assignment))
    await hearing.settled(wave[0].subtask.id, left)


async def _unless(called_off: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Awaits the work, and cancels it when the event comes first."""
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(called_off.wait())
        task = group.create_task(work)
        await asyncio.wait({watch, task}, return_when=asyncio.FIRST_COMPLETED)
        watch.cancel()
        task.cancel()


async def _attempt(agent: Agent, assignment: Assignment) -> Attempt:
    """The boundary of one attempt: whatever goes wrong inside ends this attempt and no other.

    The only broad `except` of the product. Errors that concern the whole run (the engine died, the model cannot do
    what is asked) pass through. A step that the engine could not compute costs the attempt one more try, from its
    beginning; one that fails in the second try too ends the run, which can be resumed.
    """
    try:
        try:
            return await agent.attempt(assignment)
        except StepLost:
            return await agent.attempt(assignment)
    except UsageError as error:
        return _failed(assignment, "limit", str(error))
    except SwarmcodeError:
        raise
    except Exception:
        return _failed(assignment, "crashed", traceback.format_exc())


def _failed(assignment: Assignment, ending: Ending, note: str) -> Attempt:
    return Attempt(
        id=assignment.id,
        subtask=assignment.subtask.id,
        seed=assignment.seed,
        ending=ending,
        note=note,
    )
