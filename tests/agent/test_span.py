"""Span edits: a pointer-marked line in, a diff out, and nothing that a model says leaves its line."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest

from swarmcode.agent.pointers import ChoiceConstraint, Marks, SpanConstraint, Trie
from swarmcode.agent.protocol import Assignment
from swarmcode.agent.span import OWN_WORDS, SpanAgent, strange_words
from swarmcode.engine.llama import open_engine
from swarmcode.engine.models import resolve
from swarmcode.engine.protocol import Profile, Request, SpanFormat
from swarmcode.engine.scripted import CHAT, SPAN, ScriptedEngine
from swarmcode.errors import ModelError
from swarmcode.flow import Attempt, Subtask, Suspect
from swarmcode.tree import Tree

SOURCE = "def add(a, b):\n    # sums\n    return a - b  # here\n"
MARKS = Marks.of(ScriptedEngine([], SPAN))


def pointer(place: int) -> int:
    return MARKS.pointers + place


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "m.py").write_text(SOURCE)
    return Tree(root=tmp_path, files=frozenset({"m.py"}))


def suspect(line: int, score: float = 0.5) -> Suspect:
    return Suspect(path="m.py", symbol="add", start=line, end=line, score=score, evidence=())


def subtask(*suspects: Suspect) -> Subtask:
    return Subtask(id="1", goal="", tests=(), suspects=suspects, writes=frozenset({"m.py"}))


def attempt(tree: Tree, answer: tuple[int, ...], line: int = 3, sample: int = 0) -> Attempt:
    agent = SpanAgent(ScriptedEngine([answer], SPAN), tree)
    task = subtask(suspect(line))
    assignment = Assignment(id="1.0", subtask=task, suspect=task.suspects[0], sample=sample, seed=7)
    return asyncio.run(agent.attempt(assignment))


def test_an_answer_replaces_the_tokens_between_its_pointers(tree: Tree) -> None:
    """Tokens a to b-1 give way; comment and indentation stay. (Scripted tokens are bytes.)"""
    at = "    return a - b".index("-")
    made = attempt(tree, (pointer(at), pointer(at + 1), ord("+"), MARKS.end))
    assert made.ending == "submitted"
    assert "-    return a - b  # here\n+    return a + b  # here\n" in made.diff
    assert made.score == pytest.approx(4 * -0.1 + math.log(0.5) + OWN_WORDS)


def test_equal_pointers_insert_and_an_empty_answer_deletes(tree: Tree) -> None:
    """Insertions and deletions need no words of their own."""
    inserted = attempt(tree, (pointer(16), pointer(16), *b" + 1", MARKS.end))
    assert "+    return a - b + 1  # here\n" in inserted.diff
    deleted = attempt(tree, (pointer(0), pointer(16), MARKS.end))
    assert "-    return a - b  # here\n" in deleted.diff
    assert "\n+ " not in deleted.diff


def test_an_answer_that_changes_nothing_gives_up(tree: Tree) -> None:
    """It never becomes an empty diff."""
    made = attempt(tree, (pointer(4), pointer(5), ord("r"), MARKS.end))
    assert (made.ending, made.diff, made.note) == ("gave_up", "", "the answer changes nothing")


def test_an_answer_that_is_no_text_gives_up(tree: Tree) -> None:
    """Bytes that are no UTF-8 are not written into a file."""
    made = attempt(tree, (pointer(4), pointer(5), 0xFF, MARKS.end))
    assert (made.ending, made.note) == ("gave_up", "the answer is no UTF-8")


def test_an_answer_without_end_is_a_limit(tree: Tree) -> None:
    """What was cut is not guessed at."""
    made = attempt(tree, (pointer(4), pointer(5), *b"x" * 100))
    assert made.ending == "limit"


def test_the_constraint_lets_nothing_but_the_protocol_pass() -> None:
    """First a pointer of the line, then one not before it, then text or the end; never another control token."""
    constraint = SpanConstraint(3, MARKS)
    first = constraint.allowed([])
    assert [place for place in range(64) if first[pointer(place)]] == [0, 1, 2, 3]
    assert first.sum() == 4
    second = constraint.allowed([pointer(2)])
    assert [place for place in range(64) if second[pointer(place)]] == [2, 3]
    assert not constraint.allowed([pointer(2), pointer(2)])[MARKS.end]  # nothing for nothing
    rest = constraint.allowed([pointer(2), pointer(3)])
    assert rest[MARKS.end]
    assert not rest[[MARKS.bug, MARKS.fix, MARKS.begin, MARKS.rest]].any()
    assert not rest[MARKS.pointers :].any()


def test_a_choice_lets_nothing_but_its_answers_pass() -> None:
    """Token by token, only what some answer goes on with; after the end, nothing."""
    trie = Trie.of((pointer(1), pointer(2), ord(sign), MARKS.end) for sign in "<=")
    constraint = ChoiceConstraint(trie, MARKS)
    assert constraint.allowed([]).nonzero()[0].tolist() == [pointer(1)]
    assert constraint.allowed([pointer(1), pointer(2)]).nonzero()[0].tolist() == [ord("<"), ord("=")]
    assert constraint.allowed([pointer(1), pointer(2), ord("<")]).nonzero()[0].tolist() == [MARKS.end]
    assert not constraint.allowed([pointer(3)]).any()


def test_every_small_edit_of_a_line_is_tried_in_the_end(tree: Tree) -> None:
    """Most answers are choices: from all, from groups, and at last of one edit alone, so nothing is left out."""

    def first_allowed(request: Request, seed: int) -> tuple[int, ...]:
        assert request.constraint is not None
        tokens: list[int] = []
        while MARKS.end not in tokens:
            allowed = request.constraint.allowed(tokens)
            assert allowed is not None
            tokens.append(MARKS.end if allowed[MARKS.end] else int(allowed.nonzero()[0][0]))
        return tuple(tokens)

    agent = SpanAgent(ScriptedEngine(first_allowed, SPAN), tree)
    assigned = [each for each in agent.assignments(subtask(suspect(3))) if each.sample % 4]
    made = [asyncio.run(agent.attempt(each)) for each in assigned]
    lines = {line for each in made for line in each.diff.splitlines() if line.startswith("+ ")}
    for wanted in ("a + b", "a * b", "b - a", "a - a", "a - b + 1", "not a - b"):
        assert f"+    return {wanted}  # here" in lines


def test_unreadable_and_long_lines_are_not_assigned(tree: Tree, tmp_path: Path) -> None:
    """A comment holds no fault, and the model never saw lines of more than sixty tokens."""
    (tmp_path / "m.py").write_text(SOURCE + "x = '" + "y" * 100 + "'\n")
    agent = SpanAgent(ScriptedEngine([], SPAN), tree)
    places = {
        each.suspect.start for each in agent.assignments(subtask(*map(suspect, (1, 2, 3, 4, 99)))) if each.suspect
    }
    assert places == {1, 3}


def test_made_up_names_are_told_from_those_of_the_file() -> None:
    """Names of the file and of Python are none; other languages are not judged."""
    assert strange_words("m.py", SOURCE, "    return sum(a, bb) if not b else None") == {"bb"}
    assert strange_words("m.go", SOURCE, "return bb") == frozenset()


def test_a_model_without_the_protocols_tokens_is_refused(tree: Tree) -> None:
    """One clear line, before anything is asked of it."""

    class Plain(ScriptedEngine):
        def tokenize(self, text: str, *, special: bool = False) -> tuple[int, ...]:
            return tuple(text.encode())

    plain: Profile = CHAT
    with pytest.raises(ModelError, match="no tokens for span edits"):
        SpanAgent(Plain([], plain), tree)


def test_the_line_is_asked_about_last(tree: Tree) -> None:
    """`begin BEFORE rest AFTER bug P0 t0 ... Pn fix`: what is asked about one place begins alike."""
    engine = ScriptedEngine([(pointer(4), pointer(5), ord("R"), MARKS.end)], SPAN)
    agent = SpanAgent(engine, tree)
    task = subtask(suspect(3))
    marked = [pointer(0)]
    for place, byte in enumerate(b"    return a - b", 1):
        marked += [byte, pointer(place)]
    asyncio.run(agent.attempt(Assignment(id="1.0", subtask=task, suspect=task.suspects[0], sample=0, seed=7)))
    (segment,) = engine.requests[0].prompt
    rest = engine.tokenize("<|rest|>", special=True)[0]
    assert segment.tokens == (MARKS.begin, *b"def add(a, b):\n", rest, MARKS.bug, *marked, MARKS.fix)


def test_the_furthest_lines_go_first(tmp_path: Path) -> None:
    """The function's first line and what is near stay; a line that does not fit at all is not asked about."""
    lines = ["def f(a):", *(f"    x{number} = a" for number in range(30)), "    return x1"]
    (tmp_path / "m.py").write_text("\n".join(lines) + "\n")
    here = Tree(root=tmp_path, files=frozenset({"m.py"}))
    tight = SpanFormat(before_tokens=40, after_tokens=24)
    engine = ScriptedEngine([(pointer(4), pointer(5), ord("R"), MARKS.end)], replace(SPAN, span=tight))
    agent = SpanAgent(engine, here)
    task = subtask(suspect(21))
    asyncio.run(agent.attempt(Assignment(id="1.0", subtask=task, suspect=task.suspects[0], sample=0, seed=7)))
    shown = engine.detokenize(engine.requests[0].prompt[0].tokens[: 40 + 1 + 24 + 1]).decode()
    assert shown.startswith("def f(a):\n    x17 = a\n    x18 = a\n    x20 = a\n    x21 = a\n")
    short = SpanAgent(ScriptedEngine([], replace(SPAN, span=tight, context=60)), here)
    assert list(short.assignments(task)) == []


@pytest.mark.model
def test_the_embedded_model_mends_a_plain_fault(tmp_path: Path) -> None:
    """A real answer of the shipped model, through llama.cpp, for a fault of the commonest kind."""
    head = "def clamp(value, low, high):\n    if value > low:\n        return low\n"
    (tmp_path / "m.py").write_text(head + "    if value > high:\n        return high\n    return value\n")
    here = Tree(root=tmp_path, files=frozenset({"m.py"}))

    async def main() -> list[Attempt]:
        engine = await open_engine(resolve("repair"), agents=30)
        try:
            agent = SpanAgent(engine, here)
            assigned = list(agent.assignments(subtask(suspect(2))))[:60]
            return list(await asyncio.gather(*(agent.attempt(each) for each in assigned)))
        finally:
            await engine.close()

    attempts = asyncio.run(main())
    assert any("+    if value < low:\n" in made.diff for made in attempts)
    # The prompt is computed once; to go on from it, its last tokens are looked at again.
    prompt = min(made.usage.prefilled + made.usage.reused for made in attempts)
    assert sum(made.usage.prefilled for made in attempts) <= prompt + 2 * len(attempts)
