"""Tests that were written -> the one that shows the fault: of agents that disagree, most are believed.

One sample of a model is a guess. Tests that fail in the same manner (the error, and where in the project it is raised)
agree; of the largest group the one that its author was surest of is taken. Voting among sampled reproduction tests is
Agentless' (Xia et al., "Agentless", 2024). A test must fail in the same manner twice, so that a flaky one is not taken;
equal tests are run once, whoever writes them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from swarmcode.agent.reproducer import ReproducerAgent, Scene
from swarmcode.agent.shown import room_of, shown
from swarmcode.agent.witness import Unfit, Witness, witness
from swarmcode.diff import apply, key, parse
from swarmcode.engine.protocol import Engine, Profile
from swarmcode.errors import SuiteError
from swarmcode.events import Emit
from swarmcode.flow import Attempt, Baseline, Changes, Issue, Plan, Reproduction, Subtask
from swarmcode.localise.rank import rank
from swarmcode.roles import is_test
from swarmcode.suite.detect import files_named
from swarmcode.suite.newtest import LONGEST_EXAMPLE, example, new_test
from swarmcode.suite.run import Traced
from swarmcode.swarm import Hearing, swarm
from swarmcode.tree import Tree

SUBTASK = "test"
"""Id of the subtask under which tests are written."""
WIDTHS = (3, 10)
"""Agents at once, wave by wave, while no two agree."""
AGREEING = 2
"""So many make another wave needless."""

FILES = 4
"""Files that the issue may be about and that are shown, at most."""

RunTest = Callable[[Changes], Awaitable[Traced]]
"""Runs a new test file, traced, on the tree as it is."""


def insist(profile: Profile, command: tuple[str, ...], baseline: Baseline, tree: Tree) -> None:
    """Raises `SuiteError` where all tests pass and none can be written."""
    named = sorted(path for path in files_named(command, tree.files) if is_test(path))
    if "blocks" not in profile.protocols:
        raise blind(baseline, "a model that follows instructions (--model PATH) can write one")
    if not any("::" in test for test in baseline.passing):
        raise blind(baseline, "none can be written, because these tests are not pytest's")
    if named:
        raise blind(baseline, f"none can be written, because the test command runs {named[0]} alone")


def blind(baseline: Baseline, why: str = "") -> SuiteError:
    """Says that all tests pass, what to do, and why it is not done here."""
    hint = "add a test that fails because of it, or name one: --test 'pytest tests/test_x.py'"
    return SuiteError(
        f"all {len(baseline.passing)} tests pass: none of them shows the fault", f"{hint}; {why}" if why else hint
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What writing a test may use."""

    engine: Engine
    run: RunTest
    agents: int
    """At once, at most."""
    seconds: float
    """After them, what has been found by then is all."""
    seed: int
    emit: Emit


async def reproduce(issue: Issue, tree: Tree, baseline: Baseline, means: Means) -> Reproduction | None:
    """A test that shows what the issue describes, on a tree where all tests of the `baseline` pass; None where none was
    found. Raises `EngineLost`, `SandboxLost`."""
    suspects = await asyncio.to_thread(rank, issue.text, baseline, tree, ())
    paths = tuple(islice(dict.fromkeys(suspect.path for suspect in suspects), FILES))
    beside = example(baseline.passing, paths, tree)
    path = new_test(issue.title, beside, tree.files)
    places = [(suspect.path, suspect.start) for suspect in suspects]
    room = room_of(means.engine.profile.context)
    pattern = (tree.text(beside) or "")[: min(LONGEST_EXAMPLE, room // 4)]
    scene = Scene(
        issue=issue.text,
        path=path,
        example=(beside, pattern) if pattern else None,
        files=tuple(shown(tree, paths, places, room - len(pattern))),
    )
    rehearsal = Rehearsal(path, tree, means.run)
    panel = Panel(path, tree, rehearsal)
    agent = ReproducerAgent(means.engine, scene, rehearsal, attempts=sum(WIDTHS), seed=means.seed)
    hearing = Hearing(propose=panel.hear, settled=panel.settled, closed=panel.closed, enough=panel.enough)
    with suppress(TimeoutError):
        async with asyncio.timeout(means.seconds):
            await swarm(_writing(path, means.agents), agent, hearing, agents=means.agents, emit=means.emit)
    return panel.chosen()


def _writing(path: str, agents: int) -> Plan:
    """The plan of writing a test."""
    goal = f"{path} fails because of the issue"
    subtask = Subtask(id=SUBTASK, goal=goal, tests=(), suspects=(), writes=frozenset({path}))
    widths = tuple(min(width, agents) for width in WIDTHS)
    return Plan(subtasks=(subtask,), mode="swarm", widths=widths, why="no test shows the fault")


class Rehearsal:
    """What runs of a new test file say. Call it with the file; it runs each content once, and twice where it fails."""

    def __init__(self, path: str, tree: Tree, run: RunTest) -> None:
        self._path = path
        self._tree = tree
        self._run = run
        self._known: dict[str, Witness | str] = {}
        self._running: dict[str, asyncio.Lock] = {}

    async def __call__(self, changes: Changes) -> Witness:
        """The file as a witness. Raises `Unfit`, `SandboxLost`."""
        identity = key(changes, self._tree.read)
        async with self._running.setdefault(identity, asyncio.Lock()):
            if identity not in self._known:
                self._known[identity] = await self._heard(changes)
        found = self._known[identity]
        if isinstance(found, str):
            raise Unfit(found)
        return found

    async def _heard(self, changes: Changes) -> Witness | str:
        """The witness, or why it is none."""
        try:
            first, second = [witness(await self._run(changes), self._path, self._tree) for _ in range(2)]
        except Unfit as error:
            return str(error)
        return first if first == second else "it fails now in one manner, now in another."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Voice:
    attempt: Attempt
    changes: Changes
    witness: Witness


class Panel:
    """Hears the tests that were written, and chooses."""

    def __init__(self, path: str, tree: Tree, rehearsal: Rehearsal) -> None:
        self._path = path
        self._tree = tree
        self._rehearsal = rehearsal
        self._voices: list[_Voice] = []
        self._never = asyncio.Event()

    async def hear(self, attempt: Attempt) -> bool:
        """Takes an attempt that ended; whether it has a voice."""
        if attempt.ending != "submitted":
            return False
        changes = apply(parse(attempt.diff), self._tree.read)
        found = await self._rehearsal(changes)
        self._voices.append(_Voice(attempt=attempt, changes=changes, witness=found))
        return True

    async def settled(self, subtask: str, left: int) -> None:
        """Returns at once: what was heard is judged already."""

    def closed(self, subtask: str) -> asyncio.Event:
        """Never set: a wave is heard out, because the fastest need not be right."""
        return self._never

    def enough(self, subtask: str, width: int) -> bool:
        """Whether another wave is needless."""
        return len(self._largest()) >= AGREEING

    def chosen(self) -> Reproduction | None:
        """The test that is believed; None where none shows anything."""
        group = self._largest()
        if not group:
            return None
        best = max(group, key=lambda voice: voice.attempt.score)
        return Reproduction(
            path=self._path,
            changes=best.changes,
            diff=best.attempt.diff,
            tests=best.witness.tests,
            manner=best.witness.manner,
            written=len(self._voices),
            agreeing=len(group),
        )

    def _largest(self) -> list[_Voice]:
        groups: dict[str, list[_Voice]] = {}
        for voice in self._voices:
            groups.setdefault(voice.witness.manner, []).append(voice)
        return max(groups.values(), key=len, default=[])
