"""Span edits: a pointer-marked line in, a diff out, the likeliest first; nothing that a model says leaves its line."""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from swarmcode.agent.edits import KINDS
from swarmcode.agent.place import COMMON_WORD, FAVOUR, STRANGE_WORD, strangeness
from swarmcode.agent.pointers import AnswerConstraint, Favour, Marks, Trie
from swarmcode.agent.span import SpanAgent
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import resolve
from swarmcode.engine.protocol import Completion, Profile, Request, SpanFormat
from swarmcode.engine.scripted import CHAT, SPAN, ScriptedEngine
from swarmcode.errors import EngineLost, ModelError
from swarmcode.flow import Attempt, Subtask, Suspect, Usage
from swarmcode.tree import Tree

SOURCE = "def add(a, b):\n    # sums\n    return a - b  # here\n"
MARKS = Marks.of(ScriptedEngine([], SPAN))

SUSPICION = 0.5
THOUGHT_OF = max(FAVOUR[kind].floor for kind in KINDS) + math.log(SUSPICION) + 0.01
"""Small edits that the model does not think of score less."""

Answers = dict[tuple[int, ...], float]
"""Whole answers -> their probabilities."""


def pointer(place: int) -> int:
    return MARKS.pointers + place


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "m.py").write_text(SOURCE)
    return Tree(root=tmp_path, files=frozenset({"m.py"}))


def suspect(line: int, score: float = SUSPICION) -> Suspect:
    return Suspect(path="m.py", symbol="add", start=line, end=line, score=score, evidence=())


def subtask(*suspects: Suspect) -> Subtask:
    return Subtask(id="1", goal="", tests=(), suspects=suspects, writes=frozenset({"m.py"}))


def model(answers: Answers, profile: Profile = SPAN) -> ScriptedEngine:
    """An engine whose answers, about whatever line, have these probabilities."""

    def expand(request: Request, seed: int) -> Completion:
        begun = request.prompt[1].tokens
        allowed = request.constraint.allowed([]) if request.constraint else None
        chances: dict[int, float] = {}
        for answer, chance in answers.items():
            if answer[: len(begun)] == begun and len(answer) > len(begun):
                following = answer[len(begun)]
                assert allowed is not None
                assert allowed[following], "the protocol forbids what the script says"
                chances[following] = chances.get(following, 0.0) + chance
        whole = sum(chances.values())
        top = tuple((token, math.log(chance / whole)) for token, chance in sorted(chances.items()))
        return Completion(text="", tokens=(), logprobs=(), finish="length", tops=(top,), usage=Usage(decoded=1))

    return ScriptedEngine(expand, profile)


def own(tree: Tree, engine: ScriptedEngine, *suspects: Suspect) -> list[Attempt]:
    """What the agents of one subtask propose, in order, of what the model thinks of itself."""
    return [made for made in attempts(tree, engine, *suspects) if made.diff and made.score > THOUGHT_OF]


def attempts(tree: Tree, engine: ScriptedEngine, *suspects: Suspect, most: int = 20) -> list[Attempt]:
    """What they propose, in order."""

    async def main() -> list[Attempt]:
        agent = SpanAgent(engine, tree)
        made = []
        for assignment, _ in zip(agent.assignments(subtask(*suspects)), range(most), strict=False):
            made.append(await agent.attempt(assignment))
        return made

    return asyncio.run(main())


def edit(start: int, end: int, text: str = "") -> tuple[int, ...]:
    return (pointer(start), pointer(end), *text.encode(), MARKS.end)


def first_line(made: Attempt) -> str:
    return next((line for line in made.diff.splitlines() if line.startswith("+ ")), "")


def test_an_answer_replaces_the_tokens_between_its_pointers(tree: Tree) -> None:
    """Tokens a to b-1 give way; comment and indentation stay. (Scripted tokens are bytes.)"""
    at = "    return a - b".index("-")
    (made,) = own(tree, model({edit(at, at + 1, "+"): 1.0}), suspect(3))
    assert made.ending == "submitted"
    assert "-    return a - b  # here\n+    return a + b  # here\n" in made.diff


def test_equal_pointers_insert_and_an_empty_answer_deletes(tree: Tree) -> None:
    """Insertions and deletions need no words of their own."""
    (tree.root / "m.py").write_text("a = b = 1\n\nprint(a - b, 12)  # here\n")
    answers = {edit(16, 16, " + 1"): 0.6, edit(0, 16): 0.4}
    inserted, deleted = own(tree, model(answers), suspect(3))
    assert "+print(a - b, 12) + 1  # here\n" in inserted.diff
    assert "-print(a - b, 12)  # here\n" in deleted.diff
    assert "\n+p" not in deleted.diff


def test_the_likeliest_comes_first_and_each_once(tree: Tree) -> None:
    """Over all lines: by suspicion and by the model's probability together; equal texts are one proposal."""
    at = "    return a - b".index("-")
    answers = {edit(at, at + 1, "*"): 0.5, edit(at, at + 1, "%"): 0.3, edit(at - 1, at + 1, " *"): 0.2}
    made = own(tree, model(answers), suspect(3))
    assert [first_line(each) for each in made] == ["+    return a * b  # here", "+    return a % b  # here"]
    assert made[0].score > made[1].score


def test_edits_of_two_lines_follow_those_of_one(tmp_path: Path) -> None:
    """A fault may have two places: pairs of the best edits come when single ones have become unlikely, one after the
    other, never two of one line; added lines above do not move what is edited below."""
    (tmp_path / "m.py").write_text("def f(aa, bb, cc):\n    x = aa\n    y = bb\n    return x, y, aa, bb, cc\n")
    here = Tree(root=tmp_path, files=frozenset({"m.py"}))
    answers = {edit(8, 10, "cc"): 0.7, edit(0, 0, "    pass\n"): 0.3}
    made = [each for each in attempts(here, model(answers), suspect(2), suspect(3), most=400) if each.diff]
    added = [[line for line in each.diff.splitlines() if line.startswith("+  ")] for each in made]
    assert [len(lines) for lines in added[:4]] == [1, 1, 1, 1]
    assert ["+    x = cc", "+    y = cc"] in added[4:]
    assert ["+    pass", "+    y = cc"] in added[4:]
    assert ["+    pass", "+    x = cc"] not in added
    scores = [each.score for each in made]
    assert scores == sorted(scores, reverse=True)


def test_a_line_that_is_right_is_left(tree: Tree) -> None:
    """What the model gives to "nothing is wrong" is no proposal, and does not go to others."""
    right = (pointer(0), pointer(0), MARKS.end)
    at = "    return a - b".index("-")
    (sure,) = own(tree, model({edit(at, at + 1, "+"): 1.0}), suspect(3))
    (unsure,) = own(tree, model({right: 0.9, edit(at, at + 1, "+"): 0.1}), suspect(3))
    assert sure.diff == unsure.diff
    assert unsure.score < sure.score


def test_an_answer_that_changes_nothing_or_is_no_text_is_no_proposal(tree: Tree) -> None:
    """Neither becomes an attempt."""
    answers = {edit(4, 5, "r"): 0.5, (pointer(4), pointer(5), 0xFF, MARKS.end): 0.5}
    assert own(tree, model(answers), suspect(3)) == []


def test_an_agent_for_whom_nothing_is_left_is_told_so(tree: Tree) -> None:
    """Here there is a comment, and nothing else to look at."""
    (made,) = attempts(tree, model({}), suspect(2))
    assert (made.ending, made.diff, made.note) == ("gave_up", "", "nothing is left to propose")


def test_an_answer_without_end_is_not_followed_for_ever(tmp_path: Path) -> None:
    """As long as the model's answers may be, and no longer."""
    (tmp_path / "m.py").write_text(SOURCE)
    here = Tree(root=tmp_path, files=frozenset({"m.py"}))
    engine = model({(pointer(4), pointer(5), *b"x" * 100): 1.0})
    made = attempts(here, engine, suspect(3), most=1000)
    assert not any("xxx" in each.diff for each in made)
    assert max(len(request.prompt[1].tokens) for request in engine.requests) < SpanFormat().answer_tokens


def test_no_small_edit_is_left_out(tree: Tree) -> None:
    """What the model does not think of at all comes last, but it comes."""
    at = "    return a - b".index("-")
    made = attempts(tree, model({edit(at, at + 1, "+"): 1.0}), suspect(3), most=200)
    lines = [first_line(each) for each in made]
    assert lines[0] == "+    return a + b  # here"
    for wanted in ("a * b", "b - a", "a - a", "a - b + 1", "not a - b", "a"):
        assert f"+    return {wanted}  # here" in lines
    assert made[0].score > made[1].score + 3


def test_a_hundred_agents_share_one_search(tree: Tree) -> None:
    """Whoever waits gets the next proposal; no two get the same, and none is computed twice."""
    answers = {edit(11, 16, f"{'x' * one} - {'y' * two}"): 1.0 for one in range(1, 11) for two in range(1, 11)}
    engine = model(answers)

    async def main() -> list[Attempt]:
        agent = SpanAgent(engine, tree)
        assigned = [each for each, _ in zip(agent.assignments(subtask(suspect(3))), range(100), strict=False)]
        return list(await asyncio.gather(*(agent.attempt(each) for each in assigned)))

    made = asyncio.run(main())
    assert len({each.diff for each in made}) == 100
    asked = [request.prompt for request in engine.requests]
    assert len(set(asked)) == len(asked)


def test_an_agent_that_is_called_off_loses_nothing_for_the_others(tree: Tree) -> None:
    """Its expansion is cancelled; the next agent makes it again."""
    at = "    return a - b".index("-")
    inner = model({edit(at, at + 1, "+"): 1.0})

    class Slow(ScriptedEngine):
        async def complete(self, request: Request) -> tuple[Completion, ...]:
            if not held.is_set():
                held.set()
                await asyncio.Event().wait()
            return await inner.complete(request)

    async def main() -> Attempt:
        agent = SpanAgent(Slow([], SPAN), tree)
        one, two = (each for each, _ in zip(agent.assignments(subtask(suspect(3))), range(2), strict=False))
        called_off = asyncio.create_task(agent.attempt(one))
        await held.wait()
        called_off.cancel()
        await asyncio.gather(called_off, return_exceptions=True)
        return await agent.attempt(two)

    held = asyncio.Event()
    assert asyncio.run(main()).ending == "submitted"


def test_an_engine_that_is_lost_is_told(tree: Tree) -> None:
    """It is no attempt that failed, but the end of the run."""
    with pytest.raises(EngineLost):
        attempts(tree, ScriptedEngine(lambda request, seed: EngineLost("gone", ""), SPAN), suspect(3))


def test_what_breaks_the_syntax_is_no_proposal(tree: Tree) -> None:
    """It costs neither an attempt nor a test run."""
    answers = {edit(13, 14, ")"): 0.9, edit(13, 14, "+"): 0.1}
    made = own(tree, model(answers), suspect(3))
    assert [first_line(each) for each in made] == ["+    return a + b  # here"]


def test_what_mends_its_function_comes_first(tree: Tree) -> None:
    """A parameter that nothing reads speaks for an edit that reads it, a name that nothing binds against one; what
    leaves no Python behind is no proposal."""
    (tree.root / "m.py").write_text("def add(a, b):\n    # sums\n    return a - a  # here\n")
    answers = {edit(15, 16, "c"): 0.4, edit(11, 12, "1"): 0.3, edit(15, 16, "b"): 0.2, edit(0, 16): 0.1}
    made = own(tree, model(answers), suspect(3))
    assert first_line(made[0]) == "+    return a - b  # here"
    assert not any("return" not in first_line(each) for each in made)


def test_made_up_names_come_later(tree: Tree) -> None:
    """They fail at run time, and are seldom right."""
    answers = {edit(11, 12, "q"): 0.5, edit(11, 12, "b"): 0.5}
    made = attempts(tree, model(answers), suspect(3), most=200)
    known = next(each for each in made if "return b - b" in each.diff)
    strange = next(each for each in made if "return q - b" in each.diff)
    assert known.score - strange.score > STRANGE_WORD - 1e-6


def test_the_constraint_lets_nothing_but_the_protocol_pass() -> None:
    """First a pointer of the line, then one not before it, then text or the end; never another control token."""
    constraint = AnswerConstraint((), 3, MARKS)
    first = constraint.allowed([])
    assert [place for place in range(64) if first[pointer(place)]] == [0, 1, 2, 3]
    assert first.sum() == 4
    second = constraint.allowed([pointer(2)])
    assert [place for place in range(64) if second[pointer(place)]] == [2, 3]
    assert not constraint.allowed([pointer(2), pointer(2)])[MARKS.end]  # nothing for nothing
    assert constraint.allowed([pointer(0), pointer(0)])[MARKS.end]  # but the whole line may be right
    rest = AnswerConstraint((pointer(2), pointer(3)), 3, MARKS).allowed([])
    assert rest[MARKS.end]
    assert not rest[[MARKS.bug, MARKS.fix, MARKS.begin, MARKS.rest]].any()
    assert not rest[MARKS.pointers :].any()


def test_a_trie_knows_the_best_that_may_follow() -> None:
    """What speaks for a beginning is the most that speaks for any answer that begins so."""
    one, two, three = Favour(0.5, -9.0), Favour(2.0, -11.0), Favour(-1.0, -3.0)
    trie = Trie.of([((1, 2, 0), one), ((1, 3, 0), two), ((4, 0), three)])
    assert (trie.favour, trie[1].favour) == (Favour(2.0, -3.0), Favour(2.0, -9.0))
    assert (trie[1][2].favour, trie[4][0].favour) == (one, three)
    assert trie[1].keys() == {2, 3}


def test_unreadable_and_long_lines_are_not_asked_about(tree: Tree, tmp_path: Path) -> None:
    """A comment holds no fault, and the model never saw lines of more than sixty tokens."""
    (tmp_path / "m.py").write_text(SOURCE + "x = '" + "y" * 100 + "'\n")
    engine = model({edit(11, 12, "z"): 1.0})
    made = attempts(tree, engine, *map(suspect, (1, 2, 3, 4, 99)), most=1000)
    changed = {line for each in made for line in each.diff.splitlines() if line.startswith("-") and line[1:2] != "-"}
    assert changed == {"-def add(a, b):", "-    return a - b  # here"}


def test_made_up_names_are_told_from_those_of_the_file() -> None:
    """Names of the file and of Python are none, attributes of built-in types cost less; in literals capitals make no
    difference; other languages are not judged."""
    assert strangeness("m.py", SOURCE, "    return sum(a, bb) if not b else None") == STRANGE_WORD
    assert strangeness("m.py", SOURCE, "    return a.ljust(b)") == COMMON_WORD
    assert strangeness("m.py", SOURCE, "    return 'ADD'") == 0
    assert strangeness("m.py", SOURCE, "    return ADD + 'unheard'") == 2 * STRANGE_WORD
    assert strangeness("m.go", SOURCE, "return bb") == 0


def test_a_name_that_waits_to_be_bound_is_tried_first(tree: Tree) -> None:
    """What the function reads and nothing binds."""
    (tree.root / "m.py").write_text("def f(a, b):\n    whole = a * b\n    return a, b, total\n")
    made = attempts(tree, model({edit(4, 9, "x"): 1.0}), suspect(2))
    assert first_line(made[0]) == "+    total = a * b"
    assert [each.score for each in made] == sorted((each.score for each in made), reverse=True)


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
    engine = model({edit(4, 5, "R"): 1.0})
    attempts(tree, engine, suspect(3), most=1)
    marked = [pointer(0)]
    for place, byte in enumerate(b"    return a - b", 1):
        marked += [byte, pointer(place)]
    rest = engine.tokenize("<|rest|>", special=True)[0]
    wanted = (MARKS.begin, *b"def add(a, b):\n", rest, MARKS.bug, *marked, MARKS.fix)
    assert {request.prompt[0].tokens for request in engine.requests} == {wanted}


def test_the_furthest_lines_go_first(tmp_path: Path) -> None:
    """The function's first line and what is near stay; a line that does not fit at all is not asked about."""
    lines = ["def f(a):", *(f"    x{number} = a" for number in range(30)), "    return x1"]
    (tmp_path / "m.py").write_text("\n".join(lines) + "\n")
    here = Tree(root=tmp_path, files=frozenset({"m.py"}))
    tight = SpanFormat(before_tokens=40, after_tokens=24)
    engine = model({edit(4, 5, "R"): 1.0}, replace(SPAN, span=tight))
    attempts(here, engine, suspect(21), most=1)
    shown = engine.detokenize(engine.requests[0].prompt[0].tokens[: 40 + 1 + 24 + 1]).decode()
    assert shown.startswith("def f(a):\n    x17 = a\n    x18 = a\n    x20 = a\n    x21 = a\n")
    short = model({}, replace(SPAN, span=tight, context=60))
    (made,) = attempts(here, short, suspect(21))
    assert made.ending == "gave_up"


def proposed(here: Tree, agents: int, suspects: Iterable[Suspect], most: int) -> list[Attempt]:
    """Of the embedded model, through llama.cpp."""

    async def main() -> list[Attempt]:
        engine = await open_engine(resolve("repair"), agents=agents)
        try:
            agent = SpanAgent(engine, here, agents=agents)
            wanted = subtask(*suspects)
            assigned = [each for each, _ in zip(agent.assignments(wanted), range(most), strict=False)]
            return list(await asyncio.gather(*(agent.attempt(each) for each in assigned)))
        finally:
            await engine.close()

    return asyncio.run(main())


@pytest.mark.model
def test_the_embedded_model_mends_a_plain_fault(tmp_path: Path) -> None:
    """A real answer of the shipped model, through llama.cpp, for a fault of the commonest kind."""
    head = "def clamp(value, low, high):\n    if value > low:\n        return low\n"
    (tmp_path / "m.py").write_text(head + "    if value > high:\n        return high\n    return value\n")
    here = Tree(root=tmp_path, files=frozenset({"m.py"}))
    made = proposed(here, 30, [suspect(2)], 60)
    assert any("+    if value < low:\n" in each.diff for each in made[:20])
    assert len({each.diff for each in made}) == len(made)


@pytest.mark.model
def test_of_several_spellings_of_a_line_the_best_counts(tmp_path: Path) -> None:
    """That a line stands elsewhere in its file speaks for it, whichever tokens say so first."""
    head = "(seqs, f):\n    mid = len(seqs) // 2\n    if mid < 3:\n        return seqs\n"
    body = "    L1 = {}\n    if len(L1) == 1:\n        return f(L1)\n    return L1\n"
    for right, faulty in (("(seqs[:mid])", "(seqs[1:mid])"), ("seqs.x()", "seqs.x(mid)")):
        (tmp_path / "m.py").write_text(f"def one{head}{body.format(right)}\n\ndef two{head}{body.format(faulty)}")
        here = Tree(root=tmp_path, files=frozenset({"m.py"}))
        assert first_line(proposed(here, 48, [suspect(15)], 1)[0]) == f"+    L1 = {right}"


@pytest.mark.model
def test_prompts_are_computed_once(tmp_path: Path) -> None:
    """However often an answer about a line is taken up again: what is computed anew is a few tokens of the answer."""
    body = "".join(f"    if value > {number}:\n        return low + {number}\n" for number in range(20))
    (tmp_path / "m.py").write_text(f"def f(value, low):\n{body}    return value\n")
    here = Tree(root=tmp_path, files=frozenset({"m.py"}))
    made = proposed(here, 50, [suspect(line) for line in range(2, 42)], 200)
    prefilled = sum(each.usage.prefilled for each in made)
    expansions = sum(each.usage.decoded for each in made)
    assert prefilled <= 40 * 160 + 6 * expansions
