"""The whole story on small repositories: a scripted model, real git, real pytest, unisolated boxes."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from swarmcode.agent.planner import Planner
from swarmcode.engine.protocol import Completion, Engine, Request
from swarmcode.engine.scripted import CHAT, ScriptedEngine
from swarmcode.errors import EngineLost, ModelError, UsageError
from swarmcode.events import BaselineMeasured, CandidateJudged, Event, Planned, SubtaskSolved, Warned
from swarmcode.flow import Baseline, Issue, Report, Verdict
from swarmcode.plan import Effort
from swarmcode.repo import apply_diff, take
from swarmcode.sandbox.pool import Pool
from swarmcode.sandbox.process import ProcessSandbox
from swarmcode.sandbox.protocol import Base, Limits, Toolchain
from swarmcode.solve import solve
from swarmcode.suite import probe
from swarmcode.task import Task

SHOP = {
    "shop.py": "def total(prices):\n    return sum(prices) - 1\n\n\ndef half(number):\n    return number / 3\n",
    "tax.py": "def tax(amount):\n    return amount * 0.3\n",
    "test_shop.py": "from shop import half, total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n\n\n"
    "def test_half():\n    assert half(6) == 3\n",
    "test_tax.py": "from tax import tax\n\n\ndef test_tax():\n    assert tax(10) == 2\n\n\ndef test_none():\n"
    "    assert tax(0) == 0\n",
}
TOTAL, HALF, TAX = "test_shop.py::test_total", "test_shop.py::test_half", "test_tax.py::test_tax"
FIXES = {
    "sum(prices) - 1": ("shop.py", "    return sum(prices) - 1", "    return sum(prices)"),
    "number / 3": ("shop.py", "    return number / 3", "    return number / 2"),
    "0.3": ("tax.py", "    return amount * 0.3", "    return amount * 0.2"),
}
Answer = Callable[[str, int], str]
E = TypeVar("E", bound=Event)


def block(path: str, search: str, replacement: str) -> str:
    return f"{path}\n<<<<<<< SEARCH\n{search}\n=======\n{replacement}\n>>>>>>> REPLACE\n"


def right(prompt: str, seed: int) -> str:
    """Mends a fault of the file that may be changed; where it has several, which one is a matter of the seed."""
    path = "shop.py" if "You may change: shop.py" in prompt else "tax.py"
    faults = [fault for fault in FIXES if FIXES[fault][0] == path and fault in prompt]
    return block(*FIXES[faults[seed % len(faults)]]) if faults else "I see no fault."


@dataclass
class Stage:
    """A repository on disk, and what a run on it told."""

    folder: Path
    files: Mapping[str, str]
    events: list[Event] = field(default_factory=list)
    engine: ScriptedEngine = field(default_factory=lambda: ScriptedEngine([]))
    kind: type[ScriptedEngine] = ScriptedEngine

    def play(
        self, answer: Answer, *, profile: object = None, planner: Planner | None = None, **changes: object
    ) -> Report:
        repo = self.folder / "repo"
        repo.mkdir(exist_ok=True)
        for path, text in self.files.items():
            (repo / path).write_text(text)

        def script(request: Request, seed: int) -> str:
            return answer("".join(segment.text for segment in request.prompt), seed)

        self.engine = self.kind(script, CHAT if profile is None else profile)  # type: ignore[arg-type]
        return asyncio.run(self._run(repo, changes, planner))

    async def _run(self, repo: Path, changes: dict[str, object], planner: Planner | None) -> Report:
        snapshot = take(repo, self.folder / "run")
        command = changes.pop("command", (sys.executable, "-m", "pytest", "-p", "no:cacheprovider"))
        assert isinstance(command, tuple)
        issue = Issue(title="Wrong", text="Totals are wrong", repo=repo, base=snapshot.tree, test=command)
        sandbox = ProcessSandbox(run="story")
        alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        toolchain = Toolchain(path=("/usr/bin", "/bin"), mounts=(probe.folder(),), env=alone)
        limits = Limits(seconds=60)
        pool = Pool(sandbox, Base(root=snapshot.root, home=repo), toolchain, limits, size=2)
        given = {
            **{"run": "story", "issue": issue, "snapshot": snapshot, "limits": limits, "seconds": 120.0, "workers": 2},
            **{"effort": Effort(mode="swarm", agents=10, attempts=13, protocols=("blocks",)), "seed": 0},
            **{"sandbox": "process", **changes},
        }
        try:
            return await solve(Task(**given), self.engine, pool, self.events.append, planner)  # type: ignore[arg-type]
        finally:
            await pool.close()
            await sandbox.close()

    def told(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, SHOP)


def no_plan(prompt: str, seed: int) -> str:
    """What a model says that is asked for a plan, and cannot make one."""
    return "I would look at shop.py first." if "suspicious places" in prompt.lower() else right(prompt, seed)


def test_faults_in_two_files_and_two_in_one_file_are_all_mended(stage: Stage) -> None:
    """Separate files are separate subtasks; two faults of one file are mended one on top of the other; the combined
    tree is proven as a whole."""
    report = stage.play(no_plan)
    assert report.fixed, report.why
    assert set(report.solved) == {TOTAL, HALF, TAX}
    assert report.merge is not None
    assert report.merge.proven
    assert [event.message for event in stage.told(Warned) if "plan does not hold" in event.message]
    first, *later = stage.told(Planned)
    assert sorted(task.writes for task in first.plan.subtasks) == [{"shop.py"}, {"tax.py"}]
    assert len(later) == 1, "the second fault of one file takes a second plan"
    assert len({task.id for event in stage.told(Planned) for task in event.plan.subtasks}) == 3


def test_a_planner_that_cannot_be_asked_is_done_without(stage: Stage) -> None:
    """A request that is too long, say, is no end of the run."""

    def refused(prompt: str, seed: int) -> str:
        if "suspicious places" in prompt.lower():
            raise UsageError("the prompt is too long")
        return right(prompt, seed)

    report = stage.play(refused)
    assert report.fixed, report.why
    assert [each.message for each in stage.told(Warned) if "too long" in each.message]


@dataclass
class Beside:
    """A model that plans for another: what it says, whether it can be opened, and each time that it was."""

    answer: str | Exception
    opens: bool = True
    engines: list[ScriptedEngine] = field(default_factory=list)

    async def __call__(self) -> Engine:
        if not self.opens:
            raise ModelError("the planner's file is damaged")
        self.engines.append(ScriptedEngine(lambda request, seed: self.answer))
        return self.engines[-1]


def planned(*places: tuple[str, list[str]]) -> str:
    """A plan as a model makes it, from the files and the failing tests of each subtask."""
    subtasks = [
        {"id": f"s{number}", "goal": f"mend {path}", "tests": tests, "writes": [path], "reads": [], "depends_on": []}
        for number, (path, tests) in enumerate(places)
    ]
    return json.dumps({"subtasks": subtasks})


def test_another_model_can_plan(stage: Stage) -> None:
    """It alone is asked for plans, its plan is followed, and what it cost is counted; the one that works is asked for
    fixes alone."""
    planner = Beside(planned(("tax.py", [TAX]), ("shop.py", [TOTAL, HALF])))
    report = stage.play(right, planner=planner)
    assert report.fixed, report.why
    assert {task.goal for task in stage.told(Planned)[0].plan.subtasks} == {"mend tax.py", "mend shop.py"}
    assert planner.engines
    assert all(len(engine.requests) == 1 for engine in planner.engines)
    worked = ["".join(segment.text for segment in request.prompt).lower() for request in stage.engine.requests]
    assert not any("suspicious places" in prompt for prompt in worked)
    asked = sum(attempt.usage.decoded for attempt in report.attempts)
    assert report.usage.decoded >= asked + len(planner.answer)


def test_a_planner_is_not_opened_where_no_plan_is_asked_for(stage: Stage) -> None:
    """Where one completion for each suspicious place is all that is wanted, say."""
    planner = Beside("")
    instant = Effort(mode="instant", agents=10, attempts=13, protocols=("blocks",))
    assert stage.play(right, planner=planner, effort=instant).attempts
    assert not planner.engines


@pytest.mark.parametrize(
    "planner", [Beside("", opens=False), Beside(EngineLost("the planner died")), Beside("no plan")], ids=str
)
def test_a_planner_that_fails_is_done_without(stage: Stage, planner: Beside) -> None:
    """It cannot be opened, dies, or says nothing that is a plan: the run goes on by the evidence, and says why."""
    report = stage.play(right, planner=planner)
    assert report.fixed, report.why
    assert [each for each in stage.told(Warned) if "planning by the evidence alone" in each.message]


def test_the_patch_is_the_whole_fix_and_the_repository_is_untouched(stage: Stage) -> None:
    """The diff applies to what was on disk, and gives exactly the three mended lines."""
    report = stage.play(no_plan)
    repo = stage.folder / "repo"
    assert {path.name: path.read_text() for path in repo.iterdir()} == stage.files
    snapshot = take(repo, stage.folder / "again")
    assert report.merge is not None
    assert apply_diff(snapshot, report.merge.diff) == {
        "shop.py": SHOP["shop.py"].replace(" - 1", "").replace("/ 3", "/ 2").encode(),
        "tax.py": SHOP["tax.py"].replace("0.3", "0.2").encode(),
    }


def test_nothing_that_works_is_an_honest_failure(stage: Stage) -> None:
    """Wrong answers are tried, once each, and the report says that nothing was found."""

    def wrong(prompt: str, seed: int) -> str:
        if "You may change: shop.py" in prompt:
            return block("shop.py", "    return sum(prices) - 1", f"    return sum(prices) - {2 + seed % 2}")
        return "I do not know."

    report = stage.play(wrong)
    assert not report.fixed
    assert report.merge is not None
    assert report.merge.diff == ""
    assert set(report.unsolved) == {TOTAL, HALF, TAX}
    assert len(stage.told(CandidateJudged)) == 2
    assert report.duplicates > 0
    assert {attempt.ending for attempt in report.attempts} == {"submitted", "gave_up"}


def test_a_partial_fix_is_proven_and_told_as_partial(stage: Stage) -> None:
    """What can be mended is, and what cannot is named."""
    report = stage.play(lambda prompt, seed: right(prompt, seed) if "You may change: tax.py" in prompt else "No.")
    assert not report.fixed
    assert report.merge is not None
    assert report.merge.proven
    assert report.solved == (TAX,)
    assert set(report.unsolved) == {TOTAL, HALF}


def test_answers_out_of_scope_are_never_tried(stage: Stage) -> None:
    """Editing the test, or what pytest loads, is refused before it costs a run."""

    def cheat(prompt: str, seed: int) -> str:
        return (
            block("test_tax.py", "    assert tax(10) == 2", "    assert True")
            if seed % 2
            else block("conftest.py", "", "x")
        )

    report = stage.play(cheat)
    assert not stage.told(CandidateJudged)
    assert report.solved == ()


def test_the_check_itself_is_no_place_for_a_fix(tmp_path: Path) -> None:
    """A script named in the test command cannot be edited into passing, though no rule of names calls it a test."""
    files = {
        "shop.py": "def total(a, b):\n    return a - b\n",
        "check.py": "from shop import total\nassert total(3, 4) == 7\n",
    }

    def cheat_first(prompt: str, seed: int) -> str:
        if seed % 2 == 0:
            return block("check.py", "assert total(3, 4) == 7", "assert True")
        return block("shop.py", "    return a - b", "    return a + b")

    report = Stage(tmp_path, files).play(cheat_first, command=(sys.executable, "check.py"))
    assert report.fixed
    assert report.merge is not None
    assert set(report.merge.changes) == {"shop.py"}


def test_a_suite_that_passes_is_no_error_where_only_failures_count(tmp_path: Path) -> None:
    """Then the report says so, and the model was asked for nothing."""
    stage = Stage(tmp_path, {"test_a.py": "def test_a():\n    pass\n"})
    report = stage.play(right, if_green="done")
    assert (report.green, report.fixed, report.why) == (True, False, "all tests pass")
    assert report.baseline is not None
    assert report.baseline.passing == {"test_a.py::test_a"}
    assert not stage.engine.requests


def test_failures_are_fixed_as_ever_where_only_they_count(stage: Stage) -> None:
    """The whole story, round after round."""
    report = stage.play(no_plan, if_green="done")
    assert (report.green, report.fixed, report.why) == (False, True, "every failing test passes")


def test_a_model_that_dies_ends_the_run_with_its_own_error(stage: Stage) -> None:
    """One line for a person, not a group of a hundred tracebacks."""

    def die(prompt: str, seed: int) -> str:
        raise EngineLost("the engine was closed")

    with pytest.raises(EngineLost, match="was closed"):
        stage.play(die)


def test_the_time_limit_ends_in_a_report(stage: Stage) -> None:
    """Out of time is an expected ending: what was done is told."""
    report = stage.play(no_plan, seconds=0.01)
    assert not report.fixed
    assert "time limit" in report.why


class Dreamer(ScriptedEngine):
    """Thinks for ever about taxes."""

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        if "You may change: tax.py" in "".join(segment.text for segment in request.prompt):
            await asyncio.Event().wait()
        return await super().complete(request)


def test_what_has_passed_is_proven_before_time_is_up(stage: Stage) -> None:
    """One subtask never ends; the fix of the other is not lost, and only what is proven is told."""
    stage.kind = Dreamer
    report = stage.play(no_plan, seconds=16.0)
    assert not report.fixed
    assert "time limit" in report.why
    assert report.merge is not None
    assert report.merge.proven
    assert set(report.merge.changes) == {"shop.py"}
    assert report.solved
    assert TAX in report.unsolved
    assert report.usage.seconds < 16


def test_a_resumed_run_judges_nothing_twice(stage: Stage, tmp_path: Path) -> None:
    """Baseline and verdicts of the earlier run stand; the fix is proven anew all the same."""
    first = stage.play(no_plan)
    known: dict[str, Verdict] = dict(first.verdicts)
    baseline: Baseline = stage.told(BaselineMeasured)[0].baseline
    again = Stage(tmp_path / "second", SHOP)
    again.folder.mkdir()
    report = again.play(no_plan, known=known, known_baseline=baseline)
    assert report.fixed
    judged = {event.candidate.key: event.verdict for event in again.told(CandidateJudged)}
    assert all(verdict is known[key] for key, verdict in judged.items() if key in known)
    assert set(judged) & set(known)


def test_one_fix_for_two_subtasks_is_made_once(tmp_path: Path) -> None:
    """A fault in shared code that shows in two files: the fix of one subtask closes the other."""
    files = {
        "base.py": "def scale(number):\n    return number * 3\n",
        "one.py": "from base import scale\n\n\ndef one():\n    return scale(1)\n",
        "two.py": "from base import scale\n\n\ndef two():\n    return scale(2)\n",
        "test_all.py": "from one import one\nfrom two import two\n\n\ndef test_one():\n    assert one() == 2\n\n\n"
        "def test_two():\n    assert two() == 4\n",
    }
    stage = Stage(tmp_path, files)
    report = stage.play(lambda prompt, seed: block("base.py", "    return number * 3", "    return number * 2"))
    assert report.fixed
    assert {event.candidate.key for event in stage.told(SubtaskSolved)} == {report.merge.accepted[0].key}  # type: ignore[union-attr]
    assert len(report.merge.accepted) == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("tests/helper.py", "tests/helper.py, which by its name belongs to the tests"),
        ("test_a.py", "no code but their own"),
    ],
)
def test_where_only_tests_could_be_changed_nothing_is_tried(tmp_path: Path, path: str, why: str) -> None:
    """A weaker test is no fix, whatever the model would write."""
    stage = Stage(tmp_path, {})
    (tmp_path / "repo" / "tests").mkdir(parents=True)
    helper = "def half(number):\n    return number / 3\n"
    test = "def test_half():\n    assert half(6) == 3\n"
    load = "import sys\n\nsys.path.insert(0, 'tests')\nfrom helper import half\n\n\n"
    (tmp_path / "repo" / "tests" / "helper.py").write_text(helper)
    (tmp_path / "repo" / "test_a.py").write_text((load if path != "test_a.py" else helper + "\n\n") + test)
    report = stage.play(right)
    assert not report.fixed
    assert report.why.startswith("the failing tests run ")
    assert why in report.why
    assert not report.attempts
