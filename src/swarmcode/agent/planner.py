"""The planner agent: asks the model itself to split the work, by JSON schema. What it says is checked by `plan`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from swarmcode.agent import heard
from swarmcode.dialect.messages import Message
from swarmcode.dialect.prompt import Speech
from swarmcode.engine.protocol import Engine, Request
from swarmcode.flow import Issue, Suspect, TestResult, Usage
from swarmcode.prompts import render

SUSPECTS_SHOWN = 30
FILES_SHOWN = 400


Planner = Callable[[], Awaitable[Engine]]
"""Another model for plans, which is opened when it is first asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the model said, and what it cost."""

    answer: str
    """JSON, if it did as it was told; untrusted."""
    usage: Usage


async def propose(
    engine: Engine,
    *,
    issue: Issue,
    failures: Sequence[TestResult],
    suspects: Sequence[Suspect],
    files: Sequence[str],
    schema: str,
    seed: int,
) -> Proposal:
    """One completion at temperature 0. Raises `ModelError` where the model cannot follow a schema, `EngineLost`."""
    messages = [
        Message(role="system", content=render("plan-system")),
        Message(
            role="user",
            content=render(
                "plan-task",
                issue=issue.text,
                failures=failures,
                suspects=suspects[:SUSPECTS_SHOWN],
                files=files[:FILES_SHOWN],
            ),
        ),
    ]
    profile = engine.profile
    speech = Speech(template=profile.chat_template)
    prompt = speech.prompt(messages, thinking=False)
    request = Request(
        prompt=prompt,
        sampling=replace(profile.sampling, temperature=0.0, max_tokens=2048),
        seeds=(seed,),
        schema=schema,
        circling=False,
    )
    (completion,) = await engine.complete(request)
    return Proposal(answer=heard.answer(engine, speech, completion, prompt).strip(), usage=completion.usage)
