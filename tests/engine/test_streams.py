"""Streams are gathered without losing what any seat holds."""

from hypothesis import given
from hypothesis import strategies as st

from swarmcode.engine.streams import Streams

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["fill", "empty"]), st.sets(st.integers(0, 9), max_size=3)),
        st.tuples(st.just("gather"), st.sets(st.integers(0, 9), min_size=1, max_size=10)),
    ),
    max_size=40,
)


class Machine:
    """Streams that hold the name of the seat that filled them."""

    def __init__(self) -> None:
        self.streams = Streams(10)
        self.held: dict[int, int] = {}
        self.filled: set[int] = set()
        self.moves = 0

    def do(self, action: str, seats: set[int]) -> None:
        if action == "gather":
            for move in self.streams.gather([sorted(seats)]):
                assert move.source in self.held, "moved an empty stream"
                assert move.target not in self.held, "moved onto something"
                self.held[move.target] = self.held.pop(move.source)
                self.moves += 1
        for seat in sorted(seats):
            if action == "fill":
                self.held[self.streams.fill(seat)] = seat
                self.filled.add(seat)
            elif action == "empty":
                self.held.pop(self.streams.of(seat), None)
                self.streams.empty(seat)
                self.filled.discard(seat)


@given(ACTIONS)
def test_every_seat_finds_what_it_filled(actions: list[tuple[str, set[int]]]) -> None:
    """After any moves, each filled seat's stream holds what that seat put there, and no two seats share one."""
    machine = Machine()
    for action, seats in actions:
        machine.do(action, seats)
        assert {machine.streams.of(seat) for seat in range(10)} == set(range(10))
        assert machine.held == {machine.streams.of(seat): seat for seat in machine.filled}


@given(ACTIONS, st.sets(st.integers(0, 9), min_size=1, max_size=10))
def test_a_step_falls_into_one_piece(actions: list[tuple[str, set[int]]], wanted: set[int]) -> None:
    """With one empty stream, whoever has it, the streams of a step are the first ones, after at most three moves for
    each seat."""
    machine = Machine()
    for action, seats in actions:
        machine.do(action, seats)
    full, before = len(machine.filled) == 10, machine.moves
    machine.do("gather", wanted)
    assert full or {machine.streams.of(seat) for seat in wanted} == set(range(len(wanted)))
    assert machine.moves - before <= 3 * len(wanted)


def test_what_lies_well_is_not_moved() -> None:
    """Gathering again, or fewer of the same from the front, moves nothing."""
    machine = Machine()
    machine.do("fill", {7, 8, 9})
    machine.do("gather", {7, 8, 9})
    assert machine.moves == 3
    machine.do("gather", {7, 8, 9})
    assert machine.moves == 3


def test_a_hole_costs_one_move() -> None:
    """When one of many seats ends, the last stream takes its place, and no other moves."""
    machine = Machine()
    machine.do("fill", set(range(8)))
    machine.do("gather", set(range(8)))
    machine.do("empty", {2})
    machine.do("gather", set(range(8)) - {2})
    assert machine.moves == 1


def test_groups_lie_one_behind_another() -> None:
    """Seats that decode, and those with two tokens each, whoever lay where before."""
    machine = Machine()
    machine.do("fill", set(range(9)))
    for groups in ([[8, 1], [0, 7, 4]], [[0, 7, 4], [8, 1, 2]], [[5], [6], [3]]):
        for move in machine.streams.gather(groups):
            machine.held[move.target] = machine.held.pop(move.source)
        start = 0
        for group in groups:
            assert {machine.streams.of(seat) for seat in group} == set(range(start, start + len(group)))
            start += len(group)
        assert machine.held == {machine.streams.of(seat): seat for seat in range(9)}


def test_an_empty_seat_is_filled_where_it_is_wanted() -> None:
    """Into an empty stream among those that are wanted, if there is one; a seat that holds something stays."""
    machine = Machine()
    machine.do("fill", {0, 1, 5})
    assert machine.streams.fill(7, range(4)) == 2
    assert machine.streams.fill(8, range(2)) == machine.streams.of(8) >= 3
    assert machine.streams.fill(5, range(4)) == 5
