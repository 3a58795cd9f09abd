"""Failing tests become file-scoped subtasks, and a model's own plan is only taken where it holds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.flow import Suspect
from swarmcode.plan import Effort, Evidence, check_proposal, make_plan

FILES = frozenset({"a.py", "b.py", "tests/test_a.py"})
TESTS = frozenset({"tests/test_a.py"})


def suspect(path: str, line: int = 1, score: float = 0.5) -> Suspect:
    return Suspect(path=path, symbol="f", start=line, end=line, score=score, evidence=("spectrum",))


EVIDENCE = Evidence(
    suspects={"t1": (suspect("a.py", score=0.9), suspect("b.py", score=0.2)), "t2": (suspect("b.py", score=0.8),)}
)


def test_independent_failures_become_separate_subtasks() -> None:
    """Each writes its own file, and reads what else its tests point at."""
    plan = make_plan(EVIDENCE, Effort())
    assert [(task.tests, task.writes, task.reads) for task in plan.subtasks] == [
        (("t1",), frozenset({"a.py"}), ("b.py",)),
        (("t2",), frozenset({"b.py"}), ()),
    ]
    assert plan.mode == "swarm"
    assert "2 failing tests point at 2 separate files" in plan.why


def test_failures_of_one_file_are_one_subtask() -> None:
    """Suspects of both tests are ranked together."""
    plan = make_plan(Evidence(suspects={"t1": (suspect("a.py", 1),), "t2": (suspect("a.py", 2, 0.9),)}), Effort())
    (task,) = plan.subtasks
    assert task.tests == ("t1", "t2")
    assert [place.start for place in task.suspects] == [2, 1]
    assert plan.mode == "instant"


def test_tests_that_one_file_explains_are_one_subtask() -> None:
    """Though one of them suspects another file a little more; where it does so by far, it stays apart."""
    found = {f"t{number}": (suspect("a.py", score=0.8), suspect("b.py", score=0.3)) for number in range(3)}
    found["t3"] = (suspect("b.py", score=0.9), suspect("a.py", score=0.75))
    (task,) = make_plan(Evidence(suspects=found), Effort()).subtasks
    assert (task.tests, task.writes) == (("t0", "t1", "t2", "t3"), frozenset({"a.py", "b.py"}))
    found["t3"] = (suspect("b.py", score=0.9), suspect("a.py", score=0.6))
    apart = make_plan(Evidence(suspects=found), Effort())
    assert [task.tests for task in apart.subtasks] == [("t0", "t1", "t2"), ("t3",)]


def test_a_failure_whose_files_all_belong_to_another_is_part_of_that() -> None:
    """Alone it could try nothing, and the other would be content with what helps its own tests alone."""
    both = (suspect("a.py", score=0.9), suspect("b.py", 3, score=0.6))
    plan = make_plan(Evidence(suspects={"t1": both, "t2": (suspect("b.py", 3, score=0.5),)}), Effort())
    (task,) = plan.subtasks
    assert (task.tests, task.writes) == (("t1", "t2"), frozenset({"a.py", "b.py"}))
    apart = make_plan(Evidence(suspects={"t1": both, "t2": (suspect("b.py", 3, score=0.7),)}), Effort())
    assert [each.writes for each in apart.subtasks] == [frozenset({"a.py"}), frozenset({"b.py"})]


def test_an_agent_that_looks_around_may_write_all_files() -> None:
    """Where it is alone: what it has to find is not among the suspects, perhaps. The plan says why."""
    tools = Effort(protocols=("tools", "blocks"))
    plan = make_plan(Evidence(suspects={"t1": ()}, files=FILES - TESTS), tools)
    assert (plan.mode, plan.widths, plan.subtasks[0].writes) == ("agent", (1, 3), frozenset({"a.py", "b.py"}))
    assert plan.why.endswith("looking around with tools because the evidence is weak")
    many = tuple(suspect(f"{name}.py", line) for name in "abcd" for line in range(9))
    assert make_plan(Evidence(suspects={"t1": many}), tools).mode == "agent"
    assert make_plan(Evidence(suspects={"t1": many[:27]}), tools).mode == "thinking"
    asked = make_plan(EVIDENCE, Effort(mode="agent", protocols=("tools", "blocks")))
    assert [task.writes for task in asked.subtasks] == [frozenset({"a.py"}), frozenset({"b.py"})]


def test_numbers_go_on_through_a_run() -> None:
    """A second plan of the same run repeats no id."""
    assert [task.id for task in make_plan(EVIDENCE, Effort(), first=3).subtasks] == ["3", "4"]


@given(
    st.dictionaries(
        st.sampled_from(["t1", "t2", "t3", "t4", "t5"]),
        st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 9), st.floats(0.01, 1)), max_size=8),
        min_size=1,
    )
)
def test_no_two_subtasks_write_one_file_and_every_test_has_one(shape: dict[str, list[tuple[str, int, float]]]) -> None:
    """Conflicts are prevented by scope, whatever the evidence; suspects lie in their subtask's scope."""
    evidence = Evidence(
        suspects={
            test: tuple(suspect(path, line, score) for path, line, score in places) for test, places in shape.items()
        }
    )
    plan = make_plan(evidence, Effort())
    written = [path for task in plan.subtasks for path in task.writes]
    assert len(written) == len(set(written))
    assert sorted(test for task in plan.subtasks for test in task.tests) == sorted(shape)
    for task in plan.subtasks:
        assert {place.path for place in task.suspects} <= task.writes
        assert bool(task.suspects) == any(shape[test] for test in task.tests), "tests without a place to look"


def proposal(**changes: object) -> str:
    first = {"id": "fix-a", "goal": "a works", "writes": ["a.py"], "reads": ["b.py"], "tests": ["t1"], "depends_on": []}
    second = {"id": "fix-b", "goal": "b works", "writes": ["b.py"], "tests": ["t2"], "depends_on": ["fix-a"]}
    return json.dumps({"subtasks": [{**first, **changes}, second]})


def test_a_models_plan_that_holds_is_taken() -> None:
    """Goals, scopes and order are the model's; ids are numbers of the run."""
    tasks = check_proposal(proposal(), EVIDENCE, FILES, TESTS, first=4)
    assert [(task.id, task.goal, task.writes, task.depends_on) for task in tasks] == [
        ("4", "a works", frozenset({"a.py"}), ()),
        ("5", "b works", frozenset({"b.py"}), ("4",)),
    ]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("I would start with a.py", "Invalid JSON"),
        (proposal(writes=["b.py"]), "two subtasks write b.py"),
        (proposal(writes=["c.py"]), "c.py, which is not there"),
        (proposal(writes=["../../etc/passwd"]), "which is not there"),
        (proposal(writes=["tests/test_a.py"]), "which is a test"),
        (proposal(depends_on=["fix-b"]), "wait for each other"),
        (proposal(depends_on=["fix-c"]), "fix-c, which is not there"),
        (proposal(tests=["t2"]), "not shared out one to one"),
        (proposal(id="fix-b"), "two subtasks have one id"),
        (proposal(shell="rm -rf /"), "shell"),
        (proposal(writes=[]), "writes"),
    ],
)
def test_a_models_plan_that_does_not_hold_is_refused_with_the_reason(answer: str, complaint: str) -> None:
    """Files exist, no two subtasks write one file, no cycle, no test is written, every failing test is covered."""
    with pytest.raises(ValueError, match=complaint):
        check_proposal(answer, EVIDENCE, FILES, TESTS)
