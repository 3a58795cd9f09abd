"""Where no test shows the fault: one is written, believed or not, and the fix is proven with it."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from swarmcode.agent.witness import Unfit
from swarmcode.diff import diff_text
from swarmcode.engine.scripted import CHAT, SPAN, ScriptedEngine
from swarmcode.errors import SuiteError
from swarmcode.events import Event, RunStarted
from swarmcode.flow import Attempt, Changes, Issue, Report, SuiteRun, TestResult
from swarmcode.journal import Journal, recall
from swarmcode.plan import Effort
from swarmcode.repo import take
from swarmcode.report.summary import summary
from swarmcode.reproduce import Panel, Rehearsal
from swarmcode.sandbox.pool import Pool
from swarmcode.sandbox.process import ProcessSandbox
from swarmcode.sandbox.protocol import Base, Limits, Toolchain
from swarmcode.solve import solve
from swarmcode.suite import probe
from swarmcode.suite.run import Traced
from swarmcode.task import Task
from swarmcode.tree import Tree

PATH = "test_new.py"
TREE = Tree(root=Path("/nowhere"), files=frozenset({"shop.py"}))


def text(expected: int, name: str = "total") -> str:
    return f"from shop import total\n\n\ndef test_{name}():\n    assert total([1, 2]) == {expected}\n"


def ended(number: int, content: str, score: float = -1.0) -> Attempt:
    diff = diff_text(PATH, None, content)
    return Attempt(id=f"test.{number}", subtask="test", seed=0, ending="submitted", diff=diff, score=score)


class Runs:
    """Runs of test files that are told how they end: by a word in the file, an error for each time it is run."""

    def __init__(self, **errors: list[str]) -> None:
        self.errors = errors
        self.ran: list[str] = []

    async def __call__(self, changes: Changes) -> Traced:
        content = (changes[PATH] or b"").decode()
        word = next(word for word in self.errors if word in content)
        said = self.errors[word][self.ran.count(word) % len(self.errors[word])]
        self.ran.append(word)
        name = f"{PATH}::test_x"
        result = TestResult(id=name, outcome="failed" if said else "passed", message=said)
        run = SuiteRun(outcome="finished", exit_code=1, tests={name: result}, output="", seconds=0.0)
        return Traced(run=run, covered={name: {"shop.py": frozenset({1})}})


def test_of_tests_that_disagree_most_are_believed() -> None:
    """Two that fail alike outvote a surer one that fails otherwise; of these two the surer one is taken."""
    runs = Runs(alpha=["KeyError: 1"], beta=["ValueError: 1"], gamma=["ValueError: 2"])
    panel = Panel(PATH, TREE, Rehearsal(PATH, TREE, runs))

    async def hear() -> None:
        await panel.hear(ended(0, text(3, "alpha"), -0.1))
        assert not panel.enough("test", 3)
        await panel.hear(ended(1, text(3, "beta"), -0.9))
        await panel.hear(ended(2, text(3, "gamma"), -0.5))

    asyncio.run(hear())
    assert panel.enough("test", 3)
    chosen = panel.chosen()
    assert chosen is not None
    assert chosen.changes == {PATH: text(3, "gamma").encode()}
    assert (chosen.written, chosen.agreeing, chosen.manner) == (3, 2, "ValueError")


def test_a_test_that_fails_now_so_now_otherwise_is_no_witness() -> None:
    """Nor one that passes the second time."""
    runs = Runs(alpha=["KeyError: 1", "ValueError: 1"], beta=["KeyError: 1", ""])
    rehearsal = Rehearsal(PATH, TREE, runs)
    for word, said in (("alpha", "now in one manner"), ("beta", "every test in it passes")):
        with pytest.raises(Unfit, match=said):
            asyncio.run(rehearsal({PATH: text(3, word).encode()}))


def test_equal_tests_are_run_once_and_have_a_voice_each() -> None:
    """However they are spelt, and also while the first is running."""
    runs = Runs(alpha=["KeyError: 1"])
    rehearsal = Rehearsal(PATH, TREE, runs)
    panel = Panel(PATH, TREE, rehearsal)

    async def hear() -> None:
        spelt_otherwise = text(3, "alpha").replace("== 3", "==  3  # three")
        await asyncio.gather(panel.hear(ended(0, text(3, "alpha"))), panel.hear(ended(1, spelt_otherwise)))

    asyncio.run(hear())
    assert len(runs.ran) == 2, "once, and once more to see it fail again"
    assert panel.enough("test", 3)


SHOP = {
    "shop.py": "def total(prices):\n    return sum(prices) - 1\n",
    "test_shop.py": "from shop import total\n\n\ndef test_type():\n    assert isinstance(total([1]), int)\n",
}
NEW = "test_totals_are_one_too_low.py"
FIX = "shop.py\n<<<<<<< SEARCH\n    return sum(prices) - 1\n=======\n    return sum(prices)\n>>>>>>> REPLACE\n"


class Stage:
    """A repository whose tests all pass, and a model that writes tests and fixes."""

    def __init__(self, folder: Path, files: Mapping[str, str] = SHOP) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.asked = 0
        """For tests."""
        (folder / "repo").mkdir()
        for path, content in files.items():
            (folder / "repo" / path).write_text(content)

    def play(self, *tests: str, fix: str = FIX, command: tuple[str, ...] = (), **changes: object) -> Report:
        """The answers to those who ask for a test, in turn and again; `fix` answers all others."""

        def script(request: object, seed: int) -> str:
            told = "".join(part.text for part in request.prompt)  # type: ignore[attr-defined]
            if "You split the repair" in told:
                return "No plan."
            if "writes a test that shows a fault" not in told:
                assert "assert total([1, 2]) == 3" in told, "who mends is shown the test"
                return fix
            self.asked += 1
            return f"```python\n{tests[(self.asked - 1) % len(tests)]}```"

        profile = changes.pop("profile", CHAT)
        engine = ScriptedEngine(script, profile)  # type: ignore[arg-type]
        return asyncio.run(self._run(engine, command, changes))

    async def _run(self, engine: ScriptedEngine, command: tuple[str, ...], changes: dict[str, object]) -> Report:
        repo = self.folder / "repo"
        snapshot = take(repo, self.folder / f"run-{len(list(self.folder.iterdir()))}")
        argv = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *command)
        title = "Totals are one too low"
        issue = Issue(title=title, text=f"{title}\n\ntotal([1, 2]) is 2.", repo=repo, base=snapshot.tree, test=argv)
        sandbox = ProcessSandbox(run="story")
        alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        toolchain = Toolchain(path=("/usr/bin", "/bin"), mounts=(probe.folder(),), env=alone)
        limits = Limits(seconds=60)
        pool = Pool(sandbox, Base(root=snapshot.root, home=repo), toolchain, limits, size=2)
        effort = Effort(mode="swarm", agents=3, attempts=3, protocols=("blocks",))
        task = Task(
            run="story",
            issue=issue,
            snapshot=snapshot,
            effort=effort,
            limits=limits,
            seconds=120.0,
            workers=2,
            seed=0,
            sandbox="process",
        )
        try:
            return await solve(replace(task, **changes), engine, pool, self.events.append)  # type: ignore[arg-type]
        finally:
            await pool.close()
            await sandbox.close()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_test_is_written_and_the_fix_proven_with_it(stage: Stage) -> None:
    """The patch has both; the report says that the test is the run's own; the repository is as it was."""
    report = stage.play(text(3))
    assert report.fixed, report.why
    assert report.solved == (f"{NEW}::test_total",)
    written = report.reproduction
    assert written is not None
    assert (written.path, written.agreeing, written.written) == (NEW, 3, 3)
    assert report.merge is not None
    assert report.merge.changes == {
        "shop.py": b"def total(prices):\n    return sum(prices)\n",
        NEW: text(3).encode(),
    }
    subprocess.run(["git", "apply"], cwd=stage.folder / "repo", input=report.merge.diff.encode(), check=True)
    assert (stage.folder / "repo" / NEW).read_text() == text(3)
    words = "\n".join(summary(report))
    assert f"{NEW} was written in this run: read it first" in words
    assert report.critical_steps >= 2
    assert report.sandbox_seconds > 0


def test_a_test_that_passes_shows_nothing_and_its_author_hears_so(stage: Stage) -> None:
    """It may try again; where nobody finds one, the run ends without a fix, and says what to do."""
    report = stage.play(text(2))
    assert not report.fixed
    assert stage.asked == 3 * (3 + 3), "two waves of three, three answers each"
    assert "no test could be written that shows the fault" in report.why
    assert report.reproduction is None
    assert summary(report)[0] == "Not fixed: no test shows the fault, none of 1 test fails."
    assert {attempt.subtask for attempt in report.attempts} == {"test"}


def test_without_a_fix_the_test_stays_in_the_report(stage: Stage) -> None:
    """It is worth something by itself."""
    report = stage.play(text(3), fix="I cannot.")
    assert not report.fixed
    assert report.unsolved == (f"{NEW}::test_total",)
    assert report.reproduction is not None
    assert report.reproduction.diff.startswith(f"diff --git a/{NEW} b/{NEW}\nnew file mode 100644\n")


def test_a_test_that_spoils_the_others_is_not_built_on(tmp_path: Path) -> None:
    """All tests run in one process: a new one must leave the old ones alone."""
    spoiler = "import shop\nimport test_shop\n\ntest_shop.total = None\n\n\n" + text(3).split("\n\n\n", 1)[1].replace(
        "total(", "shop.total(", 1
    ).replace("def test_shop.total", "def test_total").replace("assert total", "assert shop.total")
    report = Stage(tmp_path).play(spoiler)
    assert not report.fixed
    assert "other tests fail" in report.why


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"if_green": "refuse"}, "or name one: --test"),
        ({"profile": SPAN, "effort": Effort(mode="swarm", agents=3, attempts=3)}, "a model that follows instructions"),
        ({"command": ("test_shop.py",)}, "runs test_shop.py alone"),
    ],
)
def test_where_none_can_be_written_the_run_ends_before_it_begins(
    stage: Stage, changes: dict[str, object], said: str
) -> None:
    """With what is missing: exit code 3."""
    with pytest.raises(SuiteError, match="all 1 tests pass") as caught:
        stage.play(text(3), **changes)  # type: ignore[arg-type]
    assert said in caught.value.hint


def test_a_resumed_run_keeps_its_test(stage: Stage, tmp_path: Path) -> None:
    """It is not written again; what was judged with it holds."""
    report = stage.play(text(3), fix="I cannot.")
    folder = tmp_path / "20260101-000000-aaaa"
    folder.mkdir()
    with Journal(folder, pytest.fail) as journal:
        journal(RunStarted(run=folder.name, issue=report.issue, model="scripted", sandbox="process", agents=3))
        for event in stage.events:
            journal(event)
    known = recall(folder)
    assert known is not None
    assert known.reproduction == report.reproduction
    asked = stage.asked
    report = stage.play(text(3), known_reproduction=known.reproduction, known_baseline=known.baseline)
    assert report.fixed
    assert report.reproduction == known.reproduction
    assert stage.asked == asked
