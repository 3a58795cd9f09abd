"""What several failing tests suspect, together."""

from swarmcode.flow import Suspect
from swarmcode.localise.suspects import together


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
