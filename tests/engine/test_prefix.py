"""The prefix tree counts cells exactly as a cache holds them, and finds every beginning that is in it."""

from hypothesis import given
from hypothesis import strategies as st

from swarmcode.engine.prefix import PrefixTree

PROMPTS = st.lists(st.integers(0, 2), min_size=1, max_size=8)
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["open", "grow", "trim", "compute"]), st.integers(0, 5), PROMPTS, st.integers(0, 8)),
    max_size=40,
)


class Mirror:
    """What a cache would hold: for each seat a list of (token, cell); equal cells are shared."""

    def __init__(self) -> None:
        self.seats: dict[int, list[tuple[int, int]]] = {}
        self.ready: dict[int, int] = {}
        self._cells = 0

    def grow(self, seat: int, tokens: list[int]) -> None:
        held = self.seats.setdefault(seat, [])
        for token in tokens:
            held.append((token, self._cells))
            self._cells += 1
        self.ready.setdefault(seat, 0)

    def share(self, source: int, seat: int, length: int) -> None:
        self.seats[seat] = self.seats[source][:length]
        self.ready[seat] = length

    def trim(self, seat: int, length: int) -> None:
        if seat in self.seats:
            del self.seats[seat][length:]
            self.ready[seat] = min(self.ready[seat], length)
            if not self.seats[seat]:
                del self.seats[seat], self.ready[seat]

    @property
    def cells(self) -> int:
        return len({cell for held in self.seats.values() for _, cell in held})

    def longest(self, tokens: list[int], *, promised: bool) -> int:
        best = 0
        for seat, held in self.seats.items():
            known = [token for token, _ in (held if promised else held[: self.ready[seat]])]
            common = 0
            while common < min(len(known), len(tokens)) and known[common] == tokens[common]:
                common += 1
            best = max(best, common)
        return best


def play(actions: list[tuple[str, int, list[int], int]]) -> tuple[PrefixTree, Mirror]:
    tree, mirror = PrefixTree(), Mirror()
    for kind, seat, tokens, number in actions:
        if kind == "open" and not tree.length(seat):
            match = tree.match(tokens, len(tokens))
            if match.length:
                source = min(match.seats)
                tree.share(source, seat, match.length)
                mirror.share(source, seat, match.length)
        elif kind == "grow" and tree.length(seat) == tree.ready(seat):
            tree.promise(seat, tokens)
            mirror.grow(seat, tokens)
        elif kind == "trim":
            tree.trim(seat, number)
            mirror.trim(seat, number)
        elif kind == "compute" and (missing := tree.length(seat) - tree.ready(seat)):
            count = 1 + number % missing
            tree.computed([(seat, count)])
            mirror.ready[seat] += count
    return tree, mirror


@given(ACTIONS)
def test_the_tree_holds_what_a_cache_would_hold(actions: list[tuple[str, int, list[int], int]]) -> None:
    """Whatever is shared, grown and cut, each seat holds its tokens, and every cell that is held is counted once."""
    tree, mirror = play(actions)
    assert tree.cells == mirror.cells
    assert tree.seats() == set(mirror.seats)
    for seat, held in mirror.seats.items():
        assert tree.tokens(seat) == [token for token, _ in held]
        assert tree.ready(seat) == mirror.ready[seat]


@given(ACTIONS, PROMPTS)
def test_a_match_is_the_longest_beginning_that_is_there(
    actions: list[tuple[str, int, list[int], int]], tokens: list[int]
) -> None:
    """A match is as long as the longest computed beginning, tells how long it will be, and all its seats hold it."""
    tree, mirror = play(actions)
    match = tree.match(tokens, len(tokens))
    assert match.length == mirror.longest(tokens, promised=False)
    assert match.coming == mirror.longest(tokens, promised=True)
    for seat in match.seats:
        assert [token for token, _ in mirror.seats[seat]][: match.length] == tokens[: match.length]
    assert bool(match.seats) == bool(match.length)


@given(ACTIONS)
def test_what_is_held_alone_is_what_a_trim_frees(actions: list[tuple[str, int, list[int], int]]) -> None:
    """Cutting a seat where it begins to be alone frees exactly the cells that lie behind."""
    tree, mirror = play(actions)
    for seat in sorted(mirror.seats):
        alone, length, cells = tree.alone(seat), tree.length(seat), tree.cells
        tree.trim(seat, alone)
        mirror.trim(seat, alone)
        assert cells - tree.cells == length - alone
        assert tree.cells == mirror.cells


@given(ACTIONS)
def test_dropping_every_seat_frees_every_cell(actions: list[tuple[str, int, list[int], int]]) -> None:
    """No cell outlives the seats that held it."""
    tree, mirror = play(actions)
    for seat in mirror.seats:
        tree.trim(seat, 0)
    assert tree.cells == 0
    assert not tree.seats()


@given(ACTIONS, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), max_size=6))
def test_held_counts_the_cells_of_some_beginnings_once(
    actions: list[tuple[str, int, list[int], int]], holds: list[tuple[int, int]]
) -> None:
    """The cells that several beginnings hold together are counted once."""
    tree, mirror = play(actions)
    cells = {cell for seat, length in holds for _, cell in mirror.seats.get(seat, [])[:length]}
    assert tree.held(holds) == len(cells)
