"""What several failing tests suspect, together."""

from pathlib import Path

import pytest

from swarmcode.flow import Baseline, SuiteRun, Suspect
from swarmcode.localise.suspects import out_of_reach, together
from swarmcode.tree import Tree


def suspect(line: int, score: float, evidence: str = "spectrum") -> Suspect:
    return Suspect(path="a.py", symbol="f", start=line, end=line, score=score, evidence=(evidence,))


def test_what_all_tests_suspect_comes_before_what_one_does() -> None:
    """Tests that fail together mostly have one fault, and each of them reaches it; each place is there once."""
    found = together([(suspect(1, 0.9), suspect(7, 0.6)), (suspect(2, 0.9), suspect(7, 0.6)), (suspect(7, 0.7),)])
    assert [place.start for place in found] == [7, 1, 2]


def test_two_faults_are_not_drowned_by_what_both_tests_run() -> None:
    """What one test suspects highly comes before what all of them suspect a little."""
    found = together([(suspect(1, 0.9), suspect(7, 0.3)), (suspect(2, 0.8), suspect(7, 0.3))])
    assert [place.start for place in found] == [1, 2, 7]


def test_the_evidence_is_that_of_the_test_that_suspects_it_most() -> None:
    """Scores stay in 0..1, and one test's suspects stay as they are."""
    (found,) = together([(suspect(7, 0.2, "weak"),), (suspect(7, 1.0, "strong"),)])
    assert found.evidence == ("strong",)
    assert 0.2 < found.score < 1
    alone = (suspect(3, 0.9), suspect(1, 0.4))
    assert together([alone]) == alone
    assert together([]) == together([(), ()]) == ()


@pytest.mark.parametrize(
    ("ran", "why"),
    [
        ((), "run no code but their own"),
        (("tests/helper.py",), "run tests/helper.py, which by its name belongs to the tests"),
        (("tests/helper.py", "build/shop.py"), "run build/shop.py, which no patch can change"),
        (("tables.py", "tests/helper.py"), "run tables.py, which is too large to be looked at"),
        (None, "nothing points at code that may be changed"),
    ],
)
def test_why_nothing_is_suspected_is_told(ran: tuple[str, ...] | None, why: str) -> None:
    """By what the failing tests run beside themselves; without a trace there is nothing to go by."""
    test = "tests/test_shop.py::test_a"
    covered = {} if ran is None else {test: dict.fromkeys(("tests/test_shop.py", *ran), frozenset({1}))}
    run = SuiteRun(outcome="finished", exit_code=1, tests={}, output="", seconds=0.0)
    baseline = Baseline(run=run, failing=(test,), flaky=frozenset(), passing=frozenset(), covered=covered)
    tree = Tree(root=Path("/nowhere"), files=frozenset({"tests/test_shop.py", "tests/helper.py", "tables.py"}))
    assert why in out_of_reach(baseline, tree)
