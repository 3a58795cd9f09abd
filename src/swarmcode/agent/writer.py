"""An agent for instruction-tuned models: reads the subtask and its files, answers with search/replace blocks.

Every attempt of a subtask begins with the same segments (rules, issue, failures, files), so the engine computes them
once for all; only the last lines, which point an attempt at a place, differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from swarmcode.agent import blocks, heard
from swarmcode.agent.protocol import Assignment
from swarmcode.agent.shown import excerpt, room_of, shown
from swarmcode.dialect.messages import Message
from swarmcode.dialect.prompt import Speech
from swarmcode.engine.protocol import Completion, Engine, Request, Segment
from swarmcode.flow import Attempt, Ending, Issue, Subtask, TestResult, Usage
from swarmcode.prompts import render
from swarmcode.tree import Tree

TURNS = 2
"""Answers an attempt may give: a malformed one is answered with what was wrong."""
PLACES = 5
"""Different places that attempts are pointed at, in turn."""
OF_TESTS = 12_000
"""Characters of failing tests that are shown, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Briefing:
    """What every attempt is told."""

    issue: Issue
    failures: tuple[TestResult, ...]
    """The failing tests, with their messages."""


class WriterAgent:
    """Asks for a whole change an attempt."""

    dear = True

    def __init__(
        self, engine: Engine, tree: Tree, briefing: Briefing, *, thinking: bool, attempts: int, seed: int = 0
    ) -> None:
        self._engine = engine
        self._tree = tree
        self._briefing = briefing
        self._thinking = thinking
        self._attempts = attempts
        self._seed = seed

    def assignments(self, subtask: Subtask) -> Iterator[Assignment]:
        """Samples over the subtask's foremost places, in turn."""
        places = subtask.suspects[:PLACES]
        for number in range(self._attempts):
            suspect = places[number % len(places)] if places else None
            yield Assignment(
                id=f"{subtask.id}.{number}",
                subtask=subtask,
                suspect=suspect,
                sample=number,
                seed=self._seed + number,
            )

    async def attempt(self, assignment: Assignment) -> Attempt:
        """One conversation: an answer, and where it is malformed one more."""
        messages = [
            Message(role="system", content=render("edit-system")),
            Message(role="user", content=self._task(assignment.subtask) + _pointer(assignment)),
        ]
        speech = Speech(template=self._engine.profile.chat_template)
        prompt = speech.prompt(messages, thinking=self._thinking)
        usage, note = Usage(), ""
        for turn in range(1, TURNS + 1):
            completion = await self._answer(prompt, assignment)
            usage += completion.usage
            if completion.finish != "stop":
                return _ended(assignment, "limit", turn, usage, note=heard.CUT[completion.finish])
            answer = heard.answer(self._engine, speech, completion, prompt)
            try:
                new = blocks.changes(blocks.parse(answer), self._tree, assignment.subtask.writes)
            except blocks.MalformedAnswer as error:
                note = str(error)
                messages += [
                    Message(role="assistant", content=answer),
                    Message(role="user", content=render("edit-malformed", complaint=note)),
                ]
                prompt = speech.continued(prompt, completion.tokens, messages, thinking=self._thinking)
                continue
            diff = blocks.diff_of(new, self._tree)
            if not diff:
                return _ended(assignment, "gave_up", turn, usage, note="the answer changes nothing")
            ended = _ended(assignment, "submitted", turn, usage)
            return replace(ended, diff=diff, score=sum(completion.logprobs) / max(len(completion.logprobs), 1))
        return _ended(assignment, "gave_up", TURNS, usage, note=note)

    async def _answer(self, prompt: tuple[Segment, ...], assignment: Assignment) -> Completion:
        profile = self._engine.profile
        sampling = (profile.reasoning if self._thinking else None) or profile.sampling
        request = Request(
            prompt=prompt,
            # The most probable thoughts go in circles: publishers warn against them.
            sampling=sampling if assignment.sample or self._thinking else replace(sampling, temperature=0.0),
            seeds=(assignment.seed,),
            circling=False,
        )
        (completion,) = await self._engine.complete(request)
        return completion

    def _task(self, subtask: Subtask) -> str:
        failures = [failure for failure in self._briefing.failures if failure.id in subtask.tests]
        return render(
            "edit-task",
            issue=self._briefing.issue.text,
            goal=subtask.goal,
            failures=failures,
            files=self._shown(subtask, failures),
            writes=sorted(subtask.writes),
        )

    def _shown(self, subtask: Subtask, failures: Sequence[TestResult]) -> list[tuple[str, str]]:
        """The files in scope, those to be read, and where the failing tests stand."""
        room = room_of(self._engine.profile.context)
        places = [(suspect.path, suspect.start) for suspect in subtask.suspects]
        files = shown(self._tree, (*sorted(subtask.writes), *subtask.reads), places, room)
        room = min(room - sum(len(text) for _, text in files), OF_TESTS)
        for path in sorted({failure.id.split("::", 1)[0] for failure in failures} - {path for path, _ in files}):
            lines = [frame.line for failure in failures for frame in failure.frames if frame.path == path]
            if text := excerpt(self._tree.text(path) or "", lines, room):
                files.append((path, text))
                room -= len(text)
        return files


def _pointer(assignment: Assignment) -> str:
    suspect = assignment.suspect
    if suspect is None:
        return ""
    return "\n" + render("edit-pointer", path=suspect.path, line=suspect.start, symbol=suspect.symbol)


def _ended(assignment: Assignment, ending: Ending, steps: int, usage: Usage, note: str = "") -> Attempt:
    return Attempt(
        id=assignment.id,
        subtask=assignment.subtask.id,
        seed=assignment.seed,
        ending=ending,
        steps=steps,
        usage=usage,
        note=note,
    )
