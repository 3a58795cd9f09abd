"""`--mode agent`, whole: a scripted model with tools, real git, pytest and boxes; and what hostile models get."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmcode.engine.scripted import CHAT, ScriptedEngine
from swarmcode.errors import SandboxUnavailable, UsageError
from swarmcode.events import Event, Planned
from swarmcode.flow import Baseline, Issue, Report
from swarmcode.plan import Effort
from swarmcode.repo import take
from swarmcode.route import ModeChoice
from swarmcode.sandbox.choose import choose
from swarmcode.sandbox.pool import Pool
from swarmcode.sandbox.protocol import Base, Limits
from swarmcode.sandbox.toolchain import discover
from swarmcode.solve import solve
from swarmcode.suite import probe
from swarmcode.task import Task

FILES = {
    "shop/__init__.py": "",
    "shop/total.py": "from shop.rate import rate\n\n\ndef total(prices):\n    return sum(prices) * rate()\n",
    "shop/rate.py": "def rate():\n    return 2\n",
    "test_shop.py": "from shop.total import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n\n\n"
    "def test_none():\n    assert total([]) == 0\n",
}
TEST = "test_shop.py::test_total"
TOOLS = replace(CHAT, protocols=("tools", "blocks"), context=200_000)


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


class Stage:
    """A repository, a model that says its lines, and a kind of sandbox."""

    def __init__(self, folder: Path, kind: str = "process", known: Baseline | None = None) -> None:
        self.repo = folder / "repo"
        self.folder = folder
        self.kind = kind
        self.known = known
        self.events: list[Event] = []
        self.engine = ScriptedEngine([])
        for path, text in FILES.items():
            (self.repo / path).parent.mkdir(parents=True, exist_ok=True)
            (self.repo / path).write_text(text)

    def play(self, *lines: str, mode: ModeChoice = "agent", agents: int = 1) -> Report:
        self.engine = ScriptedEngine(lines, TOOLS)
        return asyncio.run(self._run(mode, agents))

    async def _run(self, mode: ModeChoice, agents: int = 1) -> Report:
        sandbox = await choose(self.kind, run="agent")
        snapshot = take(self.repo, self.folder / "run")
        command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
        issue = Issue(title="Wrong", text="Totals are doubled", repo=self.repo, base=snapshot.tree, test=command)
        toolchain, command = discover(self.repo, command, os.environ)
        toolchain = replace(toolchain, mounts=(*toolchain.mounts, probe.folder()))
        toolchain = replace(toolchain, env={**toolchain.env, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
        limits = Limits(seconds=60)
        pool = Pool(sandbox, Base(root=snapshot.root, home=self.repo), toolchain, limits, size=1)
        task = Task(
            run="agent",
            issue=replace(issue, test=command),
            snapshot=snapshot,
            effort=Effort(mode=mode, agents=agents, protocols=TOOLS.protocols),
            limits=limits,
            seconds=120,
            workers=1,
            seed=0,
            sandbox=self.kind,
            known_baseline=self.known,
        )
        try:
            return await solve(task, self.engine, pool, self.events.append)
        finally:
            await pool.close()
            await sandbox.close()

    def heard(self, step: int) -> str:
        """What the model was given at a step."""
        return "".join(part.text for part in self.engine.requests[step].prompt)


@pytest.fixture(params=["process", pytest.param("bwrap", marks=pytest.mark.bwrap)])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """In a box that isolates, and in one that does not."""
    try:
        asyncio.run(_there(request.param))
    except SandboxUnavailable as error:
        pytest.skip(error.message)
    return Stage(tmp_path, request.param)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    """How the suite stands, measured once for the tests of what comes after: most of a story's test runs are these."""
    baseline = Stage(tmp_path_factory.mktemp("known")).play(*["I give up."] * 3).baseline
    assert baseline is not None
    assert baseline.failing == (TEST,)
    return baseline


async def _there(kind: str) -> None:
    await (await choose(kind, run="agent-probe")).close()


def test_an_agent_finds_mends_and_proves(stage: Stage) -> None:
    """It searches, edits wrongly, sees the tests fail, edits again, sees them pass, submits; the suite proves it. The
    fault is in a file that it was told nothing of."""
    report = stage.play(
        call("search", text="def rate"),
        call("view", path="shop/rate.py"),
        call("strreplace", path="shop/rate.py", old="return 2", new="return 3"),
        call("run_tests"),
        call("strreplace", path="shop/rate.py", old="return 3", new="return 1"),
        call("run_tests"),
        call("submit"),
    )
    assert report.fixed, report.why
    assert report.merge is not None
    assert report.merge.proven
    assert report.merge.changes == {"shop/rate.py": b"def rate():\n    return 1\n"}
    (attempt,) = report.attempts
    assert (attempt.ending, attempt.steps) == ("submitted", 7)
    assert report.critical_steps == 7
    assert "assert 9 == 3" in stage.heard(4)
    assert "1 passed, 0 failed." in stage.heard(6)
    assert {path.name for path in stage.repo.rglob("*.py")} == {"__init__.py", "total.py", "rate.py", "test_shop.py"}
    assert (stage.repo / "shop/rate.py").read_text() == FILES["shop/rate.py"]


def test_tests_and_what_steers_them_cannot_be_changed(tmp_path: Path, known: Baseline) -> None:
    """Nor anything outside: the way to a green suite leads through the code."""
    stage = Stage(tmp_path, known=known)
    report = stage.play(
        call("strreplace", path="test_shop.py", old="== 3", new="== 6"),
        call("createfile", path="conftest.py", text="def pytest_pyfunc_call(): return True"),
        call("createfile", path="../outside.py", text="x"),
        call("createfile", path="shop/sitecustomize.py", text="x"),
        *["I give up."] * 3,
    )
    assert not report.fixed
    (attempt,) = report.attempts
    assert (attempt.ending, attempt.diff) == ("gave_up", "")
    assert "test_shop.py belongs to the tests" in stage.heard(1)
    assert "conftest.py belongs to the tests or steers them" in stage.heard(2)
    assert "no path inside the repository" in stage.heard(3)


def test_code_that_kills_the_run_is_told_of(tmp_path: Path, known: Baseline) -> None:
    """The agent hears that its tests did not end, and goes on."""
    stage = Stage(tmp_path, known=known)
    report = stage.play(
        call("strreplace", path="shop/rate.py", old="    return 2", new="    import os\n    os._exit(3)"),
        call("run_tests"),
        call("strreplace", path="shop/rate.py", old="    import os\n    os._exit(3)", new="    return 1"),
        call("submit"),
    )
    assert "did not run to their end (broken)" in stage.heard(2)
    assert report.fixed


def test_more_agents_follow_one_that_gave_up(tmp_path: Path, known: Baseline) -> None:
    """With other seeds, at the same time; what one of them submits ends it."""
    stage = Stage(tmp_path, known=known)
    edit = call("strreplace", path="shop/rate.py", old="return 2", new="return 1")
    report = stage.play(*["I give up."] * 3, edit, edit, call("submit"), call("submit"), agents=2)
    assert report.fixed, report.why
    assert report.attempts[0].ending == "gave_up"
    assert len({attempt.seed for attempt in report.attempts}) == len(report.attempts) > 1


def test_what_an_agent_submits_is_judged_as_all_else(tmp_path: Path, known: Baseline) -> None:
    """It may say what it likes of its work."""
    stage = Stage(tmp_path, known=known)
    report = stage.play(
        call("strreplace", path="shop/rate.py", old="return 2", new="return 7"), "All tests pass." + call("submit")
    )
    assert not report.fixed
    assert [verdict.outcome for verdict in report.verdicts.values()] == ["failed"]


def test_thinking_that_brings_nothing_is_followed_by_an_agent(tmp_path: Path) -> None:
    """`auto` goes on with tools where one thoughtful answer was not enough, and says so."""
    stage = Stage(tmp_path)
    many = "".join(f"def rate_{number}():\n    return {number}\n\n\n" for number in range(3))
    body = "\n".join(f"    prices = list(prices)  # {number}" for number in range(20))
    total = FILES["shop/total.py"].replace("    return", body + "\n    return")
    (stage.repo / "shop/total.py").write_text(total.replace("rate()", "2"))
    (stage.repo / "shop/rate.py").write_text(many + FILES["shop/rate.py"])
    report = stage.play(
        "not a plan",
        "I do not know.",
        "I still do not know.",
        call("strreplace", path="shop/total.py", old="sum(prices) * 2", new="sum(prices)"),
        call("submit"),
        mode="auto",
    )
    plans = [event.plan for event in stage.events if isinstance(event, Planned)]
    assert [plan.mode for plan in plans] == ["thinking", "agent"]
    assert plans[1].why.startswith("thinking brought nothing: ")
    assert report.fixed, report.why
    assert len({subtask.id for plan in plans for subtask in plan.subtasks}) == 2


def test_a_model_without_tools_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """With what it can do instead."""
    stage = Stage(tmp_path)
    stage.engine = ScriptedEngine([], CHAT)
    with pytest.raises(UsageError, match="--mode agent") as caught:
        asyncio.run(stage._run("agent"))
    assert "thinking" in caught.value.hint
    assert not stage.events
