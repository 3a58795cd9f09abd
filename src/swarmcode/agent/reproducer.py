"""An agent that writes a reproduction test: a new pytest file that fails because of what the issue describes.

It is told what a run of its file says, and may try again. What it answers is text until a sandbox runs it; where the
file goes is not its choice.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from swarmcode.agent import heard
from swarmcode.agent.protocol import Assignment
from swarmcode.agent.witness import Unfit, Witness
from swarmcode.dialect.messages import Message
from swarmcode.dialect.prompt import Speech
from swarmcode.diff import diff_text
from swarmcode.engine.protocol import Completion, Engine, Request, Segment
from swarmcode.flow import Attempt, Changes, Subtask
from swarmcode.prompts import render
from swarmcode.syntax import first_error

TURNS = 3
"""Answers that an attempt may give."""
LARGEST = 20_000
"""Characters of a test file."""

_FENCED = re.compile(r"^(?P<fence>`{3,})[^\n`]*\n(?P<body>.*?)(?:^(?P=fence)`*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_A_TEST = re.compile(r"^\s*(async )?def test", re.MULTILINE)

TryTest = Callable[[Changes], Awaitable[Witness]]
"""Runs a new test file on the tree as it is. Raises `Unfit` where it shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is known before a test is written."""

    issue: str
    path: str
    """Of the new file."""
    example: tuple[str, str] | None
    """Path and text of a test file of the repository."""
    files: tuple[tuple[str, str], ...]
    """Path and text of code that the issue may be about."""


class ReproducerAgent:
    """Writes one test file an attempt."""

    dear = True

    def __init__(self, engine: Engine, scene: Scene, try_test: TryTest, *, attempts: int, seed: int = 0) -> None:
        self._engine = engine
        self._scene = scene
        self._try = try_test
        self._attempts = attempts
        self._seed = seed

    def assignments(self, subtask: Subtask) -> Iterator[Assignment]:
        """The same task each time, with another seed."""
        for number in range(self._attempts):
            seed = self._seed + number
            yield Assignment(id=f"{subtask.id}.{number}", subtask=subtask, suspect=None, sample=number, seed=seed)

    async def attempt(self, assignment: Assignment) -> Attempt:
        """One conversation, until a test shows the fault. Raises `EngineLost`, `SandboxLost`."""
        messages = [
            Message(role="system", content=render("reproduce-system")),
            Message(role="user", content=self._task()),
        ]
        speech = Speech(template=self._engine.profile.chat_template)
        prompt = speech.prompt(messages, thinking=False)
        done = Attempt(id=assignment.id, subtask=assignment.subtask.id, seed=assignment.seed, ending="gave_up")
        for turn in range(1, TURNS + 1):
            completion = await self._answer(prompt, assignment)
            done = replace(done, steps=turn, usage=done.usage + completion.usage)
            if completion.finish != "stop":
                return replace(done, ending="limit", note=heard.CUT[completion.finish])
            answer = heard.answer(self._engine, speech, completion, prompt)
            try:
                text = written(answer, self._scene.path)
                await self._try({self._scene.path: text.encode()})
            except Unfit as error:
                done = replace(done, note=str(error))
                messages += [
                    Message(role="assistant", content=answer),
                    Message(role="user", content=render("reproduce-again", complaint=str(error))),
                ]
                prompt = speech.continued(prompt, completion.tokens, messages, thinking=False)
                continue
            score = sum(completion.logprobs) / max(len(completion.logprobs), 1)
            diff = diff_text(self._scene.path, None, text)
            return replace(done, ending="submitted", diff=diff, score=score, note="")
        return done

    async def _answer(self, prompt: tuple[Segment, ...], assignment: Assignment) -> Completion:
        sampling = self._engine.profile.sampling
        request = Request(
            prompt=prompt,
            sampling=sampling if assignment.sample else replace(sampling, temperature=0.0),
            seeds=(assignment.seed,),
            circling=False,
        )
        (completion,) = await self._engine.complete(request)
        return completion

    def _task(self) -> str:
        scene = self._scene
        return render(
            "reproduce-task", issue=scene.issue, path=scene.path, example=scene.example, files=list(scene.files)
        )


def written(answer: str, path: str) -> str:
    """The test file in an answer: its last fenced block that holds a test, or all of it where there are no fences.
    Raises `Unfit`."""
    answer = answer.replace("\r\n", "\n")
    blocks = [match["body"] for match in _FENCED.finditer(answer)]
    text = next((body for body in reversed(blocks) if _A_TEST.search(body)), "")
    if not text and "```" not in answer and _A_TEST.search(answer):
        text = answer
    if not text:
        raise Unfit("there is no ```python block with a test in the answer.")
    if len(text) > LARGEST:
        raise Unfit(f"it has {len(text):,} characters; one short test is enough.")
    if line := first_error(path, text.encode()):
        raise Unfit(f"its line {line} is no Python.")
    return text.strip("\n") + "\n"
