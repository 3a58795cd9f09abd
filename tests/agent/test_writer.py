"""The agent of search/replace blocks: what it makes of an answer, thoughts and all."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from swarmcode.agent.writer import Briefing, WriterAgent
from swarmcode.engine.protocol import Profile, Sampling
from swarmcode.engine.scripted import CHAT, ScriptedEngine
from swarmcode.flow import Attempt, Issue, Subtask
from swarmcode.tree import Tree

KIMI = (
    "{% for m in messages %}<|im_{{ m.role }}|>{{ m.role }}<|im_middle|>{{ m.content }}<|im_end|>{% endfor %}"
    "<|im_assistant|>assistant<|im_middle|>{{ '<think>' if thinking else '<think></think>' }}"
)
HARMONY = (
    "{% for m in messages %}<|start|>{{ m.role }}<|channel|>final<|message|>{{ m.content }}<|end|>{% endfor %}"
    "<|start|>assistant"
)
END_OF_THOUGHT = 300
SUBTASK = Subtask(id="1", goal="it passes", tests=(), suspects=(), writes=frozenset({"shop.py"}))


def block(new: str) -> str:
    return f"shop.py\n<<<<<<< SEARCH\n    return a - b\n=======\n    return {new}\n>>>>>>> REPLACE\n"


class ThinkingEngine(ScriptedEngine):
    """Knows the end of a thought as a control token, which its texts leave out."""

    def tokenize(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        return (END_OF_THOUGHT,) if special and text == "</think>" else super().tokenize(text, special=special)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "shop.py").write_text("def total(a, b):\n    return a - b\n")
    return Tree(root=tmp_path, files=frozenset({"shop.py"}))


def attempt(engine: ScriptedEngine, tree: Tree, *, thinking: bool = True) -> Attempt:
    issue = Issue(title="Wrong", text="Wrong", repo=tree.root, base="", test=("pytest",))
    agent = WriterAgent(engine, tree, Briefing(issue=issue, failures=()), thinking=thinking, attempts=1)
    return asyncio.run(agent.attempt(next(agent.assignments(SUBTASK))))


def profile(template: str) -> Profile:
    return replace(CHAT, chat_template=template, reasoning=Sampling(temperature=0.9, max_tokens=4000))


def spelt(*parts: str | int) -> tuple[int, ...]:
    """Tokens of an answer: bytes, and control tokens between them."""
    tokens: list[int] = []
    for part in parts:
        tokens += part.encode() if isinstance(part, str) else (part,)
    return tuple(tokens)


@pytest.mark.parametrize(
    ("template", "answer"),
    [
        (KIMI, spelt("Perhaps " + block("0"), END_OF_THOUGHT, block("a + b"))),
        (
            HARMONY,
            spelt(
                f"<|channel|>analysis<|message|>Perhaps {block('0')}<|end|><|start|>assistant"
                f"<|channel|>final<|message|>{block('a + b')}"
            ),
        ),
    ],
)
def test_what_was_only_thought_of_is_no_answer(tree: Tree, template: str, answer: tuple[int, ...]) -> None:
    """Though the engine's text does not show where the thought ends."""
    engine = ThinkingEngine([answer], profile(template))
    made = attempt(engine, tree)
    assert made.ending == "submitted"
    assert "+    return a + b\n" in made.diff
    assert "return 0" not in made.diff
    assert engine.requests[0].sampling.temperature == 0.9, "as its publisher recommends for thoughts"


def test_a_thought_that_never_ends_is_no_answer(tree: Tree) -> None:
    """What it would have said is not guessed."""
    lines: Iterable[tuple[int, ...]] = [spelt("Perhaps " + block("0"))] * 2
    assert attempt(ThinkingEngine(lines, profile(KIMI)), tree).ending == "gave_up"


def test_a_malformed_answer_is_answered(tree: Tree) -> None:
    """The second prompt begins with the first one and the very tokens of the answer."""
    first, second = spelt("I see.", END_OF_THOUGHT, "It is wrong."), spelt("So:", END_OF_THOUGHT, block("a + b"))
    engine = ThinkingEngine([first, second], profile(KIMI))
    assert attempt(engine, tree).ending == "submitted"
    one, other = (request.prompt for request in engine.requests)
    assert other[: len(one)] == one
    assert other[len(one)].tokens == first
    behind = "".join(part.text for part in other[len(one) + 1 :])
    assert behind.startswith("<|im_end|><|im_user|>user<|im_middle|>")
    assert "there is no SEARCH/REPLACE block" in behind
