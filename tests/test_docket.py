"""Candidates are judged best first, once each, and dropped the moment their subtask is closed."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from swarmcode.docket import Docket
from swarmcode.events import CandidateDropped, CandidateJudged, Event, SubtaskSolved
from swarmcode.flow import Candidate, Subtask, Verdict


def subtask(name: str, *tests: str) -> Subtask:
    return Subtask(id=name, goal="", tests=tests or (f"test_{name}",), suspects=(), writes=frozenset({f"{name}.py"}))


def candidate(key: str, score: float = 0.0, of: str = "1") -> Candidate:
    return Candidate(attempt=f"{of}.{key}", subtask=of, diff=key, changes={}, key=key, score=score)


def passed(key: str, *turned: str, still: Iterable[str] = ()) -> Verdict:
    return Verdict(key=key, outcome="passed", turned=frozenset(turned), still_failing=frozenset(still))


class Court:
    """Answers with what is written for a key, failed by default; remembers the order."""

    def __init__(self, verdicts: Mapping[str, Verdict] | None = None) -> None:
        self.verdicts = dict(verdicts or {})
        self.tried: list[str] = []
        self.called_off: list[str] = []
        self.hold = asyncio.Event()
        self.holding: set[str] = set()

    async def __call__(self, candidate: Candidate, wanted: Iterable[str]) -> Verdict:
        self.tried.append(candidate.key)
        if candidate.key in self.holding:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.called_off.append(candidate.key)
                raise
        return self.verdicts.get(candidate.key, Verdict(key=candidate.key, outcome="failed"))


def run(
    court: Court,
    candidates: Iterable[Candidate],
    *,
    subtasks: Iterable[Subtask] = (subtask("1"),),
    known: Mapping[str, Verdict] | None = None,
    workers: int = 1,
    after: Callable[[Docket], None] = lambda docket: None,
) -> tuple[Docket, list[Event]]:
    """Submits the candidates, judges them all, and gives the docket with what it told."""
    events: list[Event] = []

    async def main() -> Docket:
        docket = Docket(subtasks, court, events.append, known=known or {})
        for each in candidates:
            await docket.submit(each)
        async with asyncio.TaskGroup() as group:
            judging = group.create_task(docket.run(workers))
            for each in subtasks:
                await docket.settled(each.id)
            after(docket)
            judging.cancel()
        return docket

    return asyncio.run(main()), events


def test_best_first() -> None:
    """The order is that of the scores, not that of arrival."""
    court = Court()
    run(court, [candidate("a", -3.0), candidate("b", -1.0), candidate("c", -2.0)])
    assert court.tried == ["b", "c", "a"]


def test_equal_candidates_are_tried_once() -> None:
    """The second is dropped as a duplicate and costs no test run."""
    court = Court()
    _, events = run(court, [candidate("a"), candidate("a"), candidate("a")])
    assert court.tried == ["a"]
    assert [event.reason for event in events if isinstance(event, CandidateDropped)] == ["duplicate", "duplicate"]


def test_known_verdicts_cost_no_run() -> None:
    """A resumed run takes the verdicts that it already has."""
    court = Court()
    docket, events = run(court, [candidate("a")], known={"a": passed("a", "test_1")})
    assert court.tried == []
    assert docket.closed("1").is_set()
    assert any(isinstance(event, CandidateJudged) for event in events)


def test_a_solved_subtask_drops_what_waits() -> None:
    """After the first full fix nothing more is tried for the subtask."""
    court = Court({"a": passed("a", "test_1")})
    docket, events = run(court, [candidate("a", 1.0), candidate("b"), candidate("c")])
    assert court.tried == ["a"]
    assert [event.subtask for event in events if isinstance(event, SubtaskSolved)] == ["1"]
    assert [found.key for found, _ in docket.passed["1"]] == ["a"]


def test_a_solved_subtask_calls_off_what_runs() -> None:
    """A trial in another box is cancelled, and its worker goes on."""
    court = Court({"b": passed("b", "test_1"), "d": passed("d", "test_2")})
    court.holding = {"a"}
    both = (subtask("1"), subtask("2"))
    docket, _ = run(court, [candidate("a", 2.0), candidate("b", 1.0), candidate("d", of="2")], subtasks=both, workers=2)
    assert court.called_off == ["a"]
    assert docket.closed("2").is_set()


def test_a_fix_that_turns_anothers_tests_closes_that_too() -> None:
    """The same work is never done twice."""
    court = Court({"a": passed("a", "test_1", "test_2")})
    both = (subtask("1"), subtask("2"))
    _, events = run(court, [candidate("a", 1.0), candidate("b", of="2")], subtasks=both)
    assert court.tried == ["a"]
    assert {event.subtask for event in events if isinstance(event, SubtaskSolved)} == {"1", "2"}


def test_a_partial_fix_is_kept_and_does_not_close() -> None:
    """Turning some of the tests is remembered behind any that turns them all."""
    court = Court({"a": passed("a", "x", still=["y"]), "b": passed("b", "x", "y")})
    docket, _ = run(court, [candidate("a", 1.0), candidate("b")], subtasks=[subtask("1", "x", "y")])
    assert [found.key for found, _ in docket.passed["1"]] == ["b", "a"]
    assert docket.closed("1").is_set()


def test_a_few_may_be_left() -> None:
    """Whoever waits for all but one goes on while the last one is tried, and it is tried all the same."""
    court = Court()

    async def main() -> tuple[int, int]:
        docket = Docket([subtask("1")], court, lambda event: None, known={})
        for name, score in (("a", -1.0), ("b", -2.0), ("c", -3.0)):
            await docket.submit(candidate(name, score))
        async with asyncio.TaskGroup() as group:
            judging = group.create_task(docket.run(1))
            await docket.settled("1", left=1)
            early = len(court.tried)
            await docket.settled("1")
            judging.cancel()
        return early, len(court.tried)

    early, late = asyncio.run(main())
    assert 2 <= early <= 3
    assert late == 3
