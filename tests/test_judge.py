"""A candidate counts only if it turns failing tests and breaks none, whatever it does to look so.

Real pytest runs in unisolated boxes; what isolation guards against is tested in `tests/sandbox`.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from swarmcode.flow import Candidate, Verdict
from swarmcode.judge import GRACE, Bench, judge, prove
from swarmcode.sandbox.pool import Pool
from swarmcode.sandbox.process import ProcessSandbox
from swarmcode.sandbox.protocol import Base, Limits, Toolchain
from swarmcode.suite import probe
from swarmcode.suite.baseline import measure

SHOP = """\
def total(prices):
    result = 0
    for price in prices:
        result -= price
    return result


def half(number):
    return number / 2
"""
TESTS = """\
from shop import half, total


def test_total():
    assert total([1, 2]) == 3


def test_of_nothing():
    assert total([]) == 0


def test_half():
    assert half(4) == 2
"""
RIGHT = SHOP.replace("result -= price", "result += price")
FAILING, EMPTY, HALF = "test_shop.py::test_total", "test_shop.py::test_of_nothing", "test_shop.py::test_half"


def candidate(source: str) -> Candidate:
    return Candidate(attempt="1.0", subtask="1", diff="", changes={"shop.py": source.encode()}, key="k", score=0.0)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    root = tmp_path / "base"
    root.mkdir()
    (root / "shop.py").write_text(SHOP)
    (root / "test_shop.py").write_text(TESTS)
    return root


@pytest.fixture
def on_bench(base: Path) -> Iterator[Callable[[Callable[[Bench], Awaitable[Verdict]]], Verdict]]:
    """Measures the baseline and gives a verdict on a bench."""

    def run(call: Callable[[Bench], Awaitable[Verdict]]) -> Verdict:
        async def main() -> Verdict:
            # Plugins of the environment that runs these tests cost a second a run and are not what is judged.
            alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            toolchain = Toolchain(path=("/usr/bin", "/bin"), mounts=(probe.folder(),), env=alone)
            limits = Limits(seconds=60)
            sandbox = ProcessSandbox(run="judge")
            pool = Pool(sandbox, Base(root=base, home=base), toolchain, limits, size=2)
            command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
            try:
                baseline = await measure(pool, command, limits)
                return await call(Bench.of(pool, command, baseline, limits))
            finally:
                await pool.close()
                await sandbox.close()

        return asyncio.run(main())

    return run


Judged = Callable[[Callable[[Bench], Awaitable[Verdict]]], Verdict]


def test_a_right_fix_passes(on_bench: Judged) -> None:
    """It turns the failing test and breaks none."""
    verdict = on_bench(lambda bench: judge(bench, candidate(RIGHT), [FAILING]))
    assert (verdict.outcome, verdict.turned, verdict.still_failing, verdict.broke) == (
        "passed",
        {FAILING},
        set(),
        set(),
    )


@pytest.mark.parametrize(
    ("source", "broke"),
    [
        (SHOP.replace("result -= price", "result *= price"), set()),
        (RIGHT.replace("number / 2", "number / 4"), {HALF}),
        (RIGHT.replace("result = 0", "result = 0 if prices else None"), {EMPTY}),
    ],
)
def test_a_wrong_fix_fails(on_bench: Judged, source: str, broke: set[str]) -> None:
    """It does not turn the test, or it breaks one that passed; which one is told."""
    verdict = on_bench(lambda bench: judge(bench, candidate(source), [FAILING]))
    assert verdict.outcome == "failed"
    assert bool(verdict.broke) == bool(broke)


@pytest.mark.parametrize(
    "trick",
    [
        "import os\nos._exit(0)\n",
        "import sys\nsys.exit(0)\n",
        "raise SystemExit(0)\n",
        "import pytest\npytest.skip('not today', allow_module_level=True)\n",
        "import pytest\npytest.exit('done', returncode=0)\n",
        "import test_shop\n",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
        "import atexit, os\natexit.register(os._exit, 0)\nraise ValueError\n",
        "import os\nos.remove(os.environ['SWARMCODE_PROBE'])\nos._exit(0)\n",
    ],
)
def test_looking_like_a_pass_is_not_passing(on_bench: Judged, trick: str) -> None:
    """A suite that does not run to its end, or does not run its tests, proves nothing."""
    verdict = on_bench(lambda bench: judge(bench, candidate(trick + SHOP), [FAILING]))
    assert verdict.outcome in ("failed", "broken")
    assert not verdict.turned


def test_a_skipped_test_counts_as_broken(on_bench: Judged) -> None:
    """What passed before must be seen to pass, not merely not to fail."""
    skipping = RIGHT.replace("    return number / 2", "    import pytest\n    pytest.skip('not today')")
    verdict = on_bench(lambda bench: judge(bench, candidate(skipping), [FAILING]))
    assert (verdict.outcome, verdict.broke) == ("failed", {HALF})


def test_a_candidate_that_never_returns_is_a_timeout(on_bench: Judged) -> None:
    """It gets a little longer than the suite took, and its box is free again."""
    endless = "while True:\n    pass\n"

    async def both(bench: Bench) -> Verdict:
        short = replace(bench, limits=replace(bench.limits, seconds=2.0))
        stuck = await judge(short, candidate(endless), [FAILING])
        assert stuck.outcome == "timeout"
        return await judge(bench, candidate(RIGHT), [FAILING])

    assert on_bench(both).outcome == "passed"


def test_time_is_measured_by_the_suite(on_bench: Judged) -> None:
    """The limit of a candidate follows what the suite took, and stays below that of the run."""

    async def look(bench: Bench) -> Verdict:
        assert bench.limits.seconds == min(60, 10 + 5 * bench.baseline.run.seconds)
        return Verdict(key="", outcome="failed")

    on_bench(look)


def test_state_does_not_leak_between_candidates(on_bench: Judged) -> None:
    """What one candidate leaves in the tree, the next does not see."""
    littering = RIGHT + "\nopen('test_litter.py', 'w').write('def test_no(): assert False')\nopen('shop.pyc', 'w')\n"

    async def both(bench: Bench) -> Verdict:
        await judge(bench, candidate(littering), [FAILING])
        return await prove(bench, "k", {"shop.py": RIGHT.encode()}, [FAILING])

    assert on_bench(both).outcome == "passed"


def test_proving_runs_the_whole_suite(on_bench: Judged) -> None:
    """A combination passes only if it turns all that is expected and breaks nothing."""
    good = on_bench(lambda bench: prove(bench, "k", {"shop.py": RIGHT.encode()}, [FAILING]))
    assert (good.outcome, good.turned) == ("passed", {FAILING})
    bad = on_bench(lambda bench: prove(bench, "k", {"shop.py": SHOP.encode()}, [FAILING]))
    assert (bad.outcome, bad.still_failing) == ("failed", {FAILING})
    breaking = RIGHT.replace("number / 2", "number / 4").encode()
    worse = on_bench(lambda bench: prove(bench, "k", {"shop.py": breaking}, [FAILING]))
    assert (worse.outcome, worse.broke) == ("failed", {HALF})


def test_a_test_that_is_flaky_is_not_held_against_a_candidate(base: Path, on_bench: Judged) -> None:
    """What breaks once and passes when it runs again is flaky."""
    (base / "test_flaky.py").write_text(
        "import os, pathlib\n"
        f"COUNT = pathlib.Path({str(base.parent / 'count')!r})\n"
        "def test_now_and_then():\n"
        "    if 'price' in pathlib.Path('shop.py').read_text().split('+=')[-1][:7] and not COUNT.exists():\n"
        "        COUNT.touch()\n"
        "        assert False\n"
    )
    verdict = on_bench(lambda bench: judge(bench, candidate(RIGHT), [FAILING]))
    assert (verdict.outcome, verdict.broke) == ("passed", set())


def test_of_many_failing_tests_a_few_are_asked_first(base: Path, on_bench: Callable[..., Verdict]) -> None:
    """A candidate that turns none of those is done with; one that does is tried against them all."""
    (base / "test_many.py").write_text(
        "import pytest\n\nfrom shop import total\n\n\n"
        "@pytest.mark.parametrize('n', range(1, 31))\ndef test_sum(n):\n    assert total([n, 1]) == n + 1\n"
    )
    many = [f"test_many.py::test_sum[{n}]" for n in range(1, 31)]
    right = on_bench(lambda bench: judge(bench, candidate(RIGHT), many))
    assert right.outcome == "passed"
    assert right.turned >= set(many)
    wrong = on_bench(lambda bench: judge(bench, candidate(SHOP.replace("result -= price", "result *= price")), many))
    assert (wrong.outcome, wrong.turned, wrong.still_failing) == ("failed", frozenset(), frozenset(many))


def test_an_edit_that_never_ends_holds_its_box_for_seconds_alone(on_bench: Callable[..., Verdict]) -> None:
    """Far less than a run of the suite may take. The test has failed, and is told why; the run has ended."""
    endless = SHOP.replace("result -= price", "while True: pass")
    verdict = on_bench(lambda bench: judge(bench, candidate(endless), [FAILING]))
    assert (verdict.outcome, verdict.still_failing) == ("failed", {FAILING})
    assert f"FAILED {FAILING} - Failed: no end after" in verdict.output
    assert verdict.seconds < GRACE
