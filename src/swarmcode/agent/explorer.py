"""An agent with tools: it looks around, edits its own copy of the tree, runs the failing tests, and submits.

Everything that an attempt may use is bounded: steps, context, answers that are cut, calls that repeat themselves. Where
the bound comes when the failing tests pass already, what was made is submitted all the same: the judge decides.
"""

from collections.abc import Iterator
from dataclasses import replace

from swarmcode.agent.conversation import ContextFull, Conversation, Reply
from swarmcode.agent.overlay import Overlay
from swarmcode.agent.protocol import Assignment
from swarmcode.agent.toolbox import RunTests, Toolbox
from swarmcode.agent.tools import TOOLS
from swarmcode.agent.writer import Briefing
from swarmcode.dialect.messages import Message
from swarmcode.engine.protocol import Engine
from swarmcode.errors import UsageError
from swarmcode.flow import Attempt, Ending, Subtask
from swarmcode.prompts import render
from swarmcode.tree import Tree

STEPS = 50
"""Answers of the model in one attempt."""
IDLE = 3
"""Answers in a row that call nothing that can be read, or are cut: then it is over."""
REPEATS = 4
"""Calls in a row that were made before on the same tree: then it is over."""
PLACES = 12
"""Suspects that are named."""
SCOPE = 30
"""Files that may be changed and are named one by one; more are told as a number."""


class ExplorerAgent:
    """Works with tools on a copy of the tree."""

    dear = True

    def __init__(
        self, engine: Engine, tree: Tree, briefing: Briefing, run_tests: RunTests, *, attempts: int, seed: int = 0
    ) -> None:
        self._engine = engine
        self._tree = tree
        self._briefing = briefing
        self._run_tests = run_tests
        self._attempts = attempts
        self._seed = seed

    def assignments(self, subtask: Subtask) -> Iterator[Assignment]:
        """The same task each time, with another seed: what to look at is the agent's to find."""
        for number in range(self._attempts):
            # Each step of an attempt takes a seed of its own.
            seed = self._seed + number * STEPS
            yield Assignment(id=f"{subtask.id}.{number}", subtask=subtask, suspect=None, sample=number, seed=seed)

    async def attempt(self, assignment: Assignment) -> Attempt:
        """One conversation to its end. Raises `EngineLost`, `SandboxLost`, `ModelError`."""
        subtask = assignment.subtask
        overlay = Overlay(self._tree, subtask.writes, self._briefing.issue.repo)
        work = _Work(
            Toolbox(overlay, self._run_tests, subtask.tests),
            Conversation(self._engine, self._opening(subtask), TOOLS, seed=assignment.seed),
        )
        ending, note = await work.done()
        if work.box.proven and overlay.diff:
            ending = "submitted"
        steps = max(1, work.talk.steps)
        attempt = Attempt(
            id=assignment.id,
            subtask=subtask.id,
            seed=assignment.seed,
            ending=ending,
            steps=steps,
            usage=work.talk.usage,
            note=note,
        )
        return replace(attempt, diff=overlay.diff, score=work.score / steps) if ending == "submitted" else attempt

    def _opening(self, subtask: Subtask) -> list[Message]:
        failures = [failure for failure in self._briefing.failures if failure.id in subtask.tests]
        task = render(
            "tools-task",
            issue=self._briefing.issue.text,
            goal=subtask.goal,
            failures=failures,
            suspects=subtask.suspects[:PLACES],
            writes=sorted(subtask.writes) if len(subtask.writes) <= SCOPE else (),
            count=len(subtask.writes),
        )
        return [Message(role="system", content=render("tools-system")), Message(role="user", content=task)]


class _Work:
    """One attempt while it goes on."""

    def __init__(self, box: Toolbox, talk: Conversation) -> None:
        self.box = box
        self.talk = talk
        self.score = 0.0
        """Sum of the answers' mean log-probabilities."""
        self._idle = 0

    async def done(self) -> tuple[Ending, str]:
        """How it ended, and why."""
        for _ in range(STEPS):
            try:
                reply = await self.talk.ask()
            except ContextFull:
                return "limit", "the context is full"
            except UsageError as error:  # of this one request, such as one that is too long after all
                return "limit", error.message
            self.score += reply.score
            answers = await self._answers(reply)
            if self.box.submitted:
                return "submitted", ""
            if self.box.repeats >= REPEATS:
                return "gave_up", "it makes the same calls again and again"
            if self._idle >= IDLE:
                return ("limit", "its answers are cut") if reply.cut else ("gave_up", _why_idle(reply))
            self.talk.go_on(answers)
        return "limit", f"no end after {STEPS} steps"

    async def _answers(self, reply: Reply) -> list[Message]:
        """What a turn is answered with: the result of each call, and what was wrong with the rest."""
        turn = reply.turn
        results = []
        for call in turn.calls:
            content = await self.box.use(call)
            results.append(Message(role="tool", content=content, answers=call.id, name=call.name))
            if self.box.submitted:
                return results
        self._idle = 0 if turn.calls and not reply.cut else self._idle + 1
        if turn.faults:
            complaint = render("tools-malformed", complaint=" ".join(turn.faults))
            if results:  # not every template lets a person speak behind a result
                results[-1] = replace(results[-1], content=f"{results[-1].content}\n\n{complaint}")
            else:
                results.append(Message(role="user", content=complaint))
        elif reply.cut and not turn.calls:
            results.append(Message(role="user", content=render("tools-cut")))
        elif not turn.calls:
            results.append(Message(role="user", content=render("tools-idle")))
        return results


def _why_idle(reply: Reply) -> str:
    faults = reply.turn.faults
    return f"its calls cannot be read: {faults[0]}" if faults else "it calls no tool"
