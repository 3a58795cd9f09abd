"""Nothing that is unproven is merged, and one bad patch does not spoil the rest."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from swarmcode.flow import Candidate, Changes, Verdict
from swarmcode.merge import Solution, merge


def solution(subtask: str, name: str = "a") -> Solution:
    key = subtask + name
    candidate = Candidate(
        attempt=f"{subtask}.0",
        subtask=subtask,
        diff=f"diff {key}",
        changes={f"{subtask}.py": key.encode()},
        key=key,
        score=0.0,
    )
    return candidate, Verdict(key=key, outcome="passed", turned=frozenset({f"test_{subtask}"}))


class Suite:
    """The whole suite: fails as soon as a bad patch is in the tree, or a bad pair."""

    def __init__(self, bad: Iterable[str] = (), bad_pairs: Iterable[frozenset[str]] = ()) -> None:
        self.bad = set(bad)
        self.bad_pairs = set(bad_pairs)
        self.runs = 0

    async def prove(self, key: str, changes: Changes, expected: frozenset[str]) -> Verdict:
        self.runs += 1
        present = {(content or b"").decode() for content in changes.values()}
        if self.bad & present or any(pair <= present for pair in self.bad_pairs):
            return Verdict(key=key, outcome="failed", broke=frozenset({"test_other"}))
        return Verdict(key=key, outcome="passed", turned=expected)


def diff_of(changes: Changes) -> str:
    return "+".join((content or b"").decode() for content in changes.values())


def test_a_combination_that_passes_is_merged_after_one_run() -> None:
    """Where all goes well, the whole suite runs once."""
    suite = Suite()
    merged = asyncio.run(merge({"1": [solution("1")], "2": [solution("2")]}, suite.prove, diff_of, ground={}))
    assert merged.proven
    assert merged.diff == "1a+2a"
    assert merged.verdict is not None
    assert merged.verdict.turned == {"test_1", "test_2"}
    assert suite.runs == 1


def test_a_patch_that_breaks_the_combination_gives_way_to_the_next_best() -> None:
    """The alternative of the same subtask takes its place, and the reason is told."""
    suite = Suite(bad={"2a"})
    found = {"1": [solution("1")], "2": [solution("2", "a"), solution("2", "b")], "3": [solution("3")]}
    merged = asyncio.run(merge(found, suite.prove, diff_of, ground={}))
    assert [candidate.key for candidate in merged.accepted] == ["1a", "2b", "3a"]
    assert [(rejection.key, rejection.reason) for rejection in merged.rejected] == [
        ("2a", "in combination it breaks test_other")
    ]


def test_two_patches_that_do_not_agree_leave_one() -> None:
    """What passes alone and not together is not merged together."""
    suite = Suite(bad_pairs={frozenset({"1a", "2a"})})
    merged = asyncio.run(merge({"1": [solution("1")], "2": [solution("2")]}, suite.prove, diff_of, ground={}))
    assert [candidate.key for candidate in merged.accepted] == ["1a"]
    assert merged.proven


def test_nothing_found_is_no_merge() -> None:
    """Without candidates there is no verdict, and no success."""
    merged = asyncio.run(merge({"1": []}, Suite().prove, diff_of, ground={}))
    assert not merged.proven
    assert merged.diff == ""


@given(st.sets(st.integers(0, 15)), st.integers(1, 16))
def test_all_good_patches_survive_and_no_bad_one_does(bad: set[int], subtasks: int) -> None:
    """Bisection finds exactly the bad patches, in about log2 runs each."""
    suite = Suite(bad={f"{number}a" for number in bad})
    merged = asyncio.run(
        merge({str(number): [solution(str(number))] for number in range(subtasks)}, suite.prove, diff_of, ground={})
    )
    present = {number for number in bad if number < subtasks}
    assert {candidate.subtask for candidate in merged.accepted} == {
        str(number) for number in set(range(subtasks)) - present
    }
    assert {rejection.subtask for rejection in merged.rejected} == {str(number) for number in present}
    assert suite.runs <= 1 + len(present) * 5
    assert merged.proven == (len(present) < subtasks)


def test_a_candidate_does_not_take_back_what_another_changed_on_shared_ground() -> None:
    """On merged ground every candidate carries all merged files; only what it changed itself counts."""
    ground = {"a.py": b"a1", "b.py": b"b1"}

    def on_ground(subtask: str, path: str, new: bytes) -> Solution:
        candidate, verdict = solution(subtask)
        return replace(candidate, changes={**ground, path: new}), verdict

    found = {"1": [on_ground("1", "a.py", b"a2")], "2": [on_ground("2", "b.py", b"b2")]}
    merged = asyncio.run(merge(found, Suite().prove, diff_of, ground=ground))
    assert merged.changes == {"a.py": b"a2", "b.py": b"b2"}
