"""Runs a row: ours and the peer in turn, the peer with the best of its settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engines.outcome import Outcome, median
from engines.processes import Lost
from engines.rows import Engine, Row
from engines.shapes import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a row."""

    row: Row
    ours: tuple[Outcome, ...]
    peer: tuple[Outcome, ...] = ()
    """With the best of its settings. Empty: it never finished."""
    name: str = ""
    """Of that setting."""
    stopped: float | None = None
    """Seconds after which the peer was stopped, in each of its settings."""
    beside: tuple[tuple[str, Outcome], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float | None:
        """How many times better ours is; None: there is no telling."""
        if self.row.rate:
            return _over(self.ours, self.peer, lambda one: one.rate)
        return _over(self.peer, self.ours, lambda one: one.seconds)

    @property
    def least(self) -> float | None:
        """How many times better ours is at least, where the peer was stopped; None: it was not, or it is a rate."""
        took = median(self.ours, lambda one: one.seconds)
        return self.stopped / took if self.stopped and took and not self.row.rate else None

    @property
    def cpu_ratio(self) -> float | None:
        """The same in processor time. A rate's peer counts the time of its loading too, so it has none."""
        return None if self.row.rate else _over(self.peer, self.ours, lambda one: one.cpu)


def _over(one: Sequence[Outcome], other: Sequence[Outcome], field: Callable[[Outcome], float | None]) -> float | None:
    above, below = median(one, field), median(other, field)
    return above / below if above and below else None


def contest(row: Row, work: Work, rounds: int, limit: float, say: Callable[[str], None]) -> Result:
    """Raises `Lost` where ours fails; a peer that fails is noted."""
    contest = _Contest(row, work, say)
    ours = [contest.ours()]
    best = contest.choose(limit)
    beside = [(peer.name, found) for peer in row.beside if (found := contest.peer(peer, limit))]
    peers = [best[1]] if best else []
    for number in range(1, rounds):
        if best and number % 2:
            peers += filter(None, [contest.peer(best[0], limit)])
        ours.append(contest.ours())
        if best and not number % 2:
            peers += filter(None, [contest.peer(best[0], limit)])
    return Result(
        row=row,
        ours=tuple(ours),
        peer=tuple(peers),
        name=best[0].name if best else row.peers[0].name,
        stopped=limit if not best and contest.stopped == {peer.name for peer in row.peers} else None,
        beside=tuple(beside),
        notes=tuple(contest.notes),
    )


class _Contest:
    def __init__(self, row: Row, work: Work, say: Callable[[str], None]) -> None:
        self._row = row
        self._work = work
        self._say = say
        self.notes: list[str] = []
        self.stopped: set[str] = set()
        """Names of the peer's settings that took too long."""

    def ours(self) -> Outcome:
        self._say(f"{self._row.key}: {self._row.ours.name}")
        outcome = self._row.ours.run(self._work)
        assert outcome
        self._check(self._row.ours.name, outcome)
        return outcome

    def peer(self, engine: Engine, limit: float) -> Outcome | None:
        self._say(f"{self._row.key}: {engine.name}")
        try:
            outcome = engine.run(self._work, limit)
        except Lost as lost:
            self.notes.append(f"{engine.name} failed: {lost.message}; {lost.hint}")
            return None
        if outcome is None:
            self.stopped.add(engine.name)
            self.notes.append(f"{engine.name} was stopped after {limit:.0f} s")
        else:
            self._check(engine.name, outcome)
        return outcome

    def choose(self, limit: float) -> tuple[Engine, Outcome] | None:
        """The peer's best setting, and how it did. A setting is stopped once it has taken longer than the best."""
        best: tuple[Engine, Outcome] | None = None
        for engine in self._row.peers:
            outcome = self.peer(engine, limit)
            if outcome and best:
                self.notes.append(f"{engine.name}: {self._worth(outcome)}, {best[0].name}: {self._worth(best[1])}")
            if outcome and (best is None or self._better(outcome, best[1])):
                best = engine, outcome
            if best and not self._row.rate:
                limit = min(limit, best[1].seconds)
        return best

    def _better(self, one: Outcome, other: Outcome) -> bool:
        if self._row.rate:
            return (one.rate or 0) > (other.rate or 0)
        return one.seconds < other.seconds

    def _worth(self, outcome: Outcome) -> str:
        return f"{outcome.rate or 0:.0f} tokens/s" if self._row.rate else f"{outcome.seconds:.1f} s"

    def _check(self, name: str, outcome: Outcome) -> None:
        if outcome.generated != self._work.shape.answers:
            note = f"{name} generated {outcome.generated} tokens instead of {self._work.shape.answers}"
            self.notes.append(note)
