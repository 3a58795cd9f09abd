"""The agent that writes reproduction tests: what it reads in an answer, and how it goes on."""

import asyncio

import pytest

from swarmcode.agent.reproducer import LARGEST, TURNS, ReproducerAgent, Scene, written
from swarmcode.agent.witness import Unfit, Witness
from swarmcode.diff import apply, parse
from swarmcode.engine.protocol import Completion
from swarmcode.engine.scripted import CHAT, ScriptedEngine
from swarmcode.flow import Attempt, Changes, Subtask

PATH = "tests/test_new.py"
SUBTASK = Subtask(id="test", goal="it fails", tests=(), suspects=(), writes=frozenset({PATH}))
SCENE = Scene(
    issue="Totals are too low",
    path=PATH,
    example=("tests/test_shop.py", "import shop\n"),
    files=(("shop.py", "def total(): ...\n"),),
)
TEST = "def test_total():\n    assert total() == 3\n"


def fenced(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}```\n"


@pytest.mark.parametrize(
    "answer",
    [
        fenced(TEST),
        f"Here it is:\n\n{fenced(TEST)}\nIt fails now.",
        f"First the cause:\n{fenced('total() - 1' + chr(10))}\nand the test:\n{fenced(TEST, 'py')}",
        f"{fenced(TEST)}\nRun it so:\n{fenced('pytest -q', 'sh')}",
        TEST,
        fenced(TEST).replace("\n", "\r\n"),
        f"````python\n{TEST}````",
        f"```python\n{TEST}",
    ],
)
def test_the_file_is_found_in_an_answer(answer: str) -> None:
    """Fenced or bare, with or without words around it; the last block that holds a test counts."""
    assert written(answer, PATH) == TEST


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I cannot.", "no ```python block"),
        (fenced("total() == 3\n"), "no ```python block"),
        (fenced("def test_total(:\n    pass\n"), "line 1 is no Python"),
        (fenced(TEST + "#" * LARGEST + "\n"), "one short test is enough"),
    ],
)
def test_an_answer_without_a_file_is_told_so(answer: str, said: str) -> None:
    """In words that a model can act on."""
    with pytest.raises(Unfit, match=said):
        written(answer, PATH)


class Court:
    """Says of each file in turn what it is told to say."""

    def __init__(self, *verdicts: str) -> None:
        self.verdicts = list(verdicts)
        self.heard: list[Changes] = []

    async def __call__(self, changes: Changes) -> Witness:
        self.heard.append(changes)
        if complaint := self.verdicts.pop(0):
            raise Unfit(complaint)
        return Witness(tests=(f"{PATH}::test_total",), manner="AssertionError")


def attempt(engine: ScriptedEngine, court: Court) -> Attempt:
    agent = ReproducerAgent(engine, SCENE, court, attempts=1)
    return asyncio.run(agent.attempt(next(agent.assignments(SUBTASK))))


def heard(engine: ScriptedEngine, step: int) -> str:
    return "".join(part.text for part in engine.requests[step].prompt)


def test_a_test_that_shows_the_fault_is_submitted_as_a_new_file() -> None:
    """It was told the issue, an example, the code, and where its file goes."""
    engine, court = ScriptedEngine([fenced(TEST)]), Court("")
    ended = attempt(engine, court)
    assert (ended.ending, ended.steps, ended.subtask) == ("submitted", 1, "test")
    assert apply(parse(ended.diff), lambda path: None) == {PATH: TEST.encode()} == court.heard[0]
    for told in ("Totals are too low", "tests/test_shop.py", "def total(): ...", PATH):
        assert told in heard(engine, 0)


def test_it_hears_what_was_wrong_and_tries_again() -> None:
    """What is no file costs no run; what its tests said stands in the next prompt."""
    engine = ScriptedEngine(["No.", fenced(TEST), fenced(TEST.replace("3", "4"))])
    court = Court("every test in it passes on the code as it is, so it does not show the fault.", "")
    ended = attempt(engine, court)
    assert (ended.ending, ended.steps) == ("submitted", 3)
    assert "== 4" in ended.diff
    assert len(court.heard) == 2
    assert "no ```python block" in heard(engine, 1)
    assert "every test in it passes" in heard(engine, 2)


def test_it_gives_up_in_the_end() -> None:
    """With what was wrong last."""
    ended = attempt(ScriptedEngine([fenced(TEST)] * TURNS), Court(*["it passes"] * TURNS))
    assert (ended.ending, ended.steps, ended.note, ended.diff) == ("gave_up", TURNS, "it passes", "")


def test_an_answer_that_was_cut_ends_it() -> None:
    """Half a file is none."""
    engine = ScriptedEngine(["x" * (CHAT.sampling.max_tokens + 1)])
    assert attempt(engine, Court()).ending == "limit"


def test_an_answer_that_goes_in_circles_ends_it() -> None:
    """The engine is told to end such answers, and the attempt says what happened."""
    circle = Completion(text="x" * 9, tokens=(120,) * 9, logprobs=(-0.1,) * 9, finish="circles")
    engine = ScriptedEngine([circle])
    ended = attempt(engine, Court())
    assert (ended.ending, ended.note) == ("limit", "the answer went in circles")
    assert not engine.requests[0].circling


def test_samples_differ_by_seed_and_the_first_is_the_likeliest() -> None:
    """The first takes the model's best answer, the others are drawn."""
    engine = ScriptedEngine([fenced(TEST)] * 2)
    agent = ReproducerAgent(engine, SCENE, Court("", ""), attempts=2, seed=5)
    for assignment in agent.assignments(SUBTASK):
        asyncio.run(agent.attempt(assignment))
    assert [request.seeds for request in engine.requests] == [(5,), (6,)]
    assert engine.requests[0].sampling.temperature == 0
    assert engine.requests[1].sampling == CHAT.sampling
