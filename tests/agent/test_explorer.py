"""The agent with tools: its conversation in a model's own form, its ends, and what each costs."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from swarmcode.agent.explorer import IDLE, REPEATS, STEPS, ExplorerAgent
from swarmcode.agent.writer import Briefing
from swarmcode.engine.protocol import Profile, Request, Sampling
from swarmcode.engine.scripted import CHAT, ScriptedEngine
from swarmcode.errors import EngineLost, SandboxLost, UsageError
from swarmcode.flow import Attempt, Changes, Issue, Subtask, SuiteRun, TestResult
from swarmcode.tree import Tree

KIMI = """\
{%- if tools -%}<|im_system|>tool_declare<|im_middle|>{{ tools | tojson }}<|im_end|>{%- endif -%}
{%- for message in messages -%}
  {%- set kind = 'system' if message.role in ('system', 'tool') else message.role -%}
  <|im_{{ kind }}|>{{ message.name or message.role }}<|im_middle|>
  {%- if message.role == 'tool' -%}## Return of {{ message.tool_call_id }}
{% endif -%}
  {{ message.content }}
  {%- if message.tool_calls -%}<|tool_calls_section_begin|>
    {%- for call in message.tool_calls -%}
      <|tool_call_begin|>{{ call.id }}<|tool_call_argument_begin|>
      {{- call.function.arguments | tojson }}<|tool_call_end|>
    {%- endfor -%}<|tool_calls_section_end|>
  {%- endif -%}<|im_end|>
{%- endfor -%}
<|im_assistant|>assistant<|im_middle|>{{ '<think>' if thinking else '<think></think>' }}"""
NATIVE = replace(CHAT, protocols=("tools", "blocks"), context=200_000, chat_template=KIMI, dialect="kimi")
WORDS = replace(CHAT, protocols=("tools", "blocks"), context=200_000)
TEST = "test_shop.py::test_total"
SHOP = "def total(prices):\n    return sum(prices) - 1\n"
SUBTASK = Subtask(id="1", goal="it passes", tests=(TEST,), suspects=(), writes=frozenset({"shop.py"}))
FIX = ("strreplace", {"path": "shop.py", "old": " - 1", "new": ""})
Step = str | tuple[str, dict[str, Any]] | Exception


def native(name: str, arguments: dict[str, Any], number: int) -> str:
    begin, end = "<|tool_calls_section_begin|><|tool_call_begin|>", "<|tool_call_end|><|tool_calls_section_end|>"
    return f"{begin}functions.{name}:{number}<|tool_call_argument_begin|>{json.dumps(arguments)}{end}"


def words(name: str, arguments: dict[str, Any], number: int) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


class Scene:
    """One attempt of a scripted model on a small tree."""

    def __init__(self, root: Path) -> None:
        (root / "shop.py").write_text(SHOP)
        (root / "test_shop.py").write_text("from shop import total\n")
        self.tree = Tree(root=root, files=frozenset({"shop.py", "test_shop.py"}))
        self.runs = 0
        self.engine = ScriptedEngine([])

    def play(self, *steps: Step, profile: Profile = NATIVE, spell: Callable[..., str] | None = None) -> Attempt:
        spell = spell or (native if profile.dialect else words)
        script = [spell(*step, number) if isinstance(step, tuple) else step for number, step in enumerate(steps)]
        self.engine = ScriptedEngine(script, profile)
        issue = Issue(title="Wrong", text="Totals are wrong", repo=Path("/work/shop"), base="", test=("pytest",))
        failure = TestResult(id=TEST, outcome="failed", message="assert 2 == 3")
        briefing = Briefing(issue=issue, failures=(failure,))
        agent = ExplorerAgent(self.engine, self.tree, briefing, self.run_tests, attempts=2, seed=5)
        return asyncio.run(agent.attempt(next(agent.assignments(SUBTASK))))

    async def run_tests(self, changes: Changes, tests: Sequence[str]) -> SuiteRun:
        self.runs += 1
        right = b"- 1" not in (changes.get("shop.py") or b"- 1")
        test = TestResult(id=TEST, outcome="passed" if right else "failed", message="" if right else "assert 2 == 3")
        return SuiteRun(outcome="finished", exit_code=0, tests={TEST: test}, output="", seconds=0.1)

    def prompt(self, step: int) -> str:
        """What the model was given at a step, tokens spelt out."""
        parts = self.engine.requests[step].prompt
        return "".join(part.text or self.engine.detokenize(part.tokens).decode() for part in parts)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.parametrize("profile", [NATIVE, WORDS], ids=["native", "words"])
def test_the_way_to_a_fix(scene: Scene, profile: Profile) -> None:
    """Search, look, a wrong edit, tests that fail, a right one, tests that pass, and the end."""
    attempt = scene.play(
        ("search", {"text": "def total"}),
        ("view", {"path": "shop.py"}),
        ("strreplace", {"path": "shop.py", "old": " - 1", "new": " + 1 - 1"}),
        ("run_tests", {}),
        ("strreplace", {"path": "shop.py", "old": " + 1 - 1", "new": ""}),
        ("run_tests", {}),
        ("submit", {}),
        profile=profile,
    )
    assert (attempt.ending, attempt.steps, attempt.note) == ("submitted", 7, "")
    assert "-    return sum(prices) - 1\n+    return sum(prices)\n" in attempt.diff
    assert attempt.score == pytest.approx(-0.1)
    assert scene.runs == 2
    assert attempt.usage.decoded > 0
    assert "shop.py:1: def total(prices):" in scene.prompt(1)
    assert "0 passed, 1 failed." in scene.prompt(4)
    assert {request.seeds for request in scene.engine.requests} == {(seed,) for seed in range(5, 12)}


def test_a_turn_only_adds_to_the_prompt(scene: Scene) -> None:
    """The next prompt begins with the last one and with the very tokens of the answer: no token is computed twice."""
    scene.play(("view", {"path": "shop.py"}), ("list", {}), FIX, ("submit", {}))
    requests = scene.engine.requests
    for number, (last, following) in enumerate(pairwise(requests)):
        count = len(last.prompt)
        assert following.prompt[:count] == last.prompt
        name = ("view", "list", "strreplace")[number]
        assert f"functions.{name}:{number}" in scene.engine.detokenize(following.prompt[count].tokens).decode()
    assert "<|im_end|><|im_system|>view<|im_middle|>## Return of functions.view:0\n     1\tdef total" in scene.prompt(1)


def test_two_attempts_share_their_head(scene: Scene) -> None:
    """Equal segments for all agents of a subtask, with seeds that never meet."""
    first = scene.play(("submit", {}), *[("list", {})] * 9)
    assert first.ending == "gave_up"
    agent = ExplorerAgent(scene.engine, scene.tree, Briefing(issue=None, failures=()), scene.run_tests, attempts=3)  # type: ignore[arg-type]
    seeds = [assignment.seed for assignment in agent.assignments(SUBTASK)]
    assert [later - earlier for earlier, later in pairwise(seeds)] == [STEPS, STEPS]


def test_a_malformed_call_is_answered_with_what_was_wrong(scene: Scene) -> None:
    """In a sentence; the call that follows it is taken."""
    broken = native("view", {"path": "shop.py"}, 0).replace('"}', "")
    attempt = scene.play(broken, FIX, ("submit", {}))
    assert attempt.ending == "submitted"
    assert "The arguments of view cannot be read: a string is not closed" in scene.prompt(1)


def test_a_model_that_calls_nothing_is_asked_to(scene: Scene) -> None:
    """And given up where it never does."""
    assert scene.play("I see.", FIX, ("submit", {})).ending == "submitted"
    assert "You called no tool." in scene.prompt(1)
    attempt = scene.play(*["I see."] * IDLE)
    assert (attempt.ending, attempt.diff, attempt.note) == ("gave_up", "", "it calls no tool")
    assert len(scene.engine.requests) == IDLE


def test_what_passes_is_submitted_though_the_model_never_says_so(scene: Scene) -> None:
    """A fix that the tests have seen is not lost to a model that cannot end."""
    attempt = scene.play(FIX, ("run_tests", {}), *["Done."] * IDLE)
    assert (attempt.ending, attempt.note) == ("submitted", "it calls no tool")
    assert attempt.diff
    attempt = scene.play(FIX, *["Done."] * IDLE)
    assert (attempt.ending, attempt.diff) == ("gave_up", "")


def test_a_loop_is_ended(scene: Scene) -> None:
    """Calls that were made before, whatever their order, are counted until it is enough."""
    loop: list[Step] = [("view", {"path": "shop.py"}), ("list", {})] * STEPS
    attempt = scene.play(*loop)
    assert (attempt.ending, attempt.steps) == ("gave_up", 2 + REPEATS)
    assert "again and again" in attempt.note


def test_steps_are_bounded(scene: Scene) -> None:
    """However busy it is."""
    attempt = scene.play(*[("view", {"path": "shop.py", "start": number}) for number in range(1, STEPS + 5)])
    assert (attempt.ending, attempt.steps) == ("limit", STEPS)


def test_a_full_context_is_the_end(scene: Scene) -> None:
    """Before the engine has to refuse."""
    profile = replace(NATIVE, context=9_000)
    views: list[Step] = [("view", {"path": "shop.py", "start": number}) for number in range(1, 40)]
    attempt = scene.play(*views, profile=profile)
    assert attempt.ending == "limit"
    assert 1 < attempt.steps < 39


def test_answers_that_are_cut(scene: Scene) -> None:
    """Said once, twice, and then it is over: a limit, not a fault of the model's words."""
    long = "thinking " * 3000
    attempt = scene.play(long, FIX, ("submit", {}))
    assert attempt.ending == "submitted"
    assert "cut because it was too long" in scene.prompt(1)
    assert scene.play(*[long] * IDLE).ending == "limit"


def test_several_calls_in_one_answer(scene: Scene) -> None:
    """Each has its result, in order, under its own id; what follows a submit is not done."""
    both = native("view", {"path": "shop.py"}, 0) + native(*FIX, 1)
    end = native("submit", {}, 2) + native("createfile", {"path": "shop.py", "text": ""}, 3)
    attempt = scene.play(both, end)
    assert attempt.ending == "submitted"
    prompt = scene.prompt(1)
    assert prompt.index("## Return of functions.view:0") < prompt.index("## Return of functions.strreplace:1")


def test_a_thinking_model_leaves_its_thoughts_in_the_conversation(scene: Scene) -> None:
    """What it thought between calls stays before its eyes, token by token."""
    attempt = scene.play("It is off by one." + native(*FIX, 0), ("submit", {}))
    assert attempt.ending == "submitted"
    assert "It is off by one." in scene.prompt(1)


def test_sampling_is_the_profiles(scene: Scene) -> None:
    """The publisher's defaults for answers without thoughts; an answer in words is stopped before made-up results."""
    profile = replace(WORDS, sampling=Sampling(temperature=0.6, top_p=0.95, min_p=0.01))
    scene.play(FIX, ("submit", {}), profile=profile)
    request: Request = scene.engine.requests[0]
    assert (request.sampling.temperature, request.sampling.min_p) == (0.6, 0.01)
    assert request.stop == ("<tool_response>",)


def test_a_request_that_is_refused_ends_the_attempt_and_a_lost_engine_the_run(scene: Scene) -> None:
    """One attempt's trouble stays its own."""
    attempt = scene.play(FIX, UsageError("the prompt is too long"))
    assert (attempt.ending, attempt.note) == ("limit", "the prompt is too long")
    with pytest.raises(EngineLost):
        scene.play(EngineLost("gone"))


def test_a_lost_sandbox_is_the_runs(scene: Scene) -> None:
    """As for the judge: an agent cannot go on without one."""

    async def lost(changes: Changes, tests: Sequence[str]) -> SuiteRun:
        raise SandboxLost("gone")

    scene.run_tests = lost  # type: ignore[method-assign]
    with pytest.raises(SandboxLost):
        scene.play(("run_tests", {}))
