"""Lines of a file that may stand for another one are found by their words and their neighbours."""

from hypothesis import given
from hypothesis import strategies as st

from swarmcode.agent.donors import DONATIONS, MOST, donations

SOURCE = """\
def first(self, items):
    size = len(items)
    if size > self.limit:
        raise ValueError(size)
    self.seen.extend(items[1:])
    return size
def second(self, items):
    size = len(items)
    if size >= self.limit:
        raise ValueError(size)
    self.seen.extend(items[:-1])
    done = True
def third(self, items):
    print(items, size)
    if size == self.limit:
        pass
"""
CODE = SOURCE.splitlines()


def test_a_similar_line_between_the_same_neighbours_is_a_twin() -> None:
    """The most that can speak for a line; where one neighbour differs, it is less, where both, less still."""
    assert donations(CODE, 8) == {"if size > self.limit:": "twin", "if size == self.limit:": "alike"}
    assert donations(CODE, 10) == {"self.seen.extend(items[1:])": "neighbour"}


def test_lines_that_have_little_in_common_are_not_named() -> None:
    """Nor is a line ever named for itself, or twice."""
    assert donations(CODE, 11) == {}
    assert donations(["a = b + c", "d", "a = b + c", "d", "a = c + b"], 0) == {"a = c + b": "alike"}


def test_a_line_at_either_end_has_one_neighbour() -> None:
    """What is not there is no neighbour that two lines share."""
    lines = ["x = f(a, b)", "y = 1", "z = 2", "x = f(b, a)"]
    assert donations(lines, 0) == {"x = f(b, a)": "alike"}
    assert donations(lines, 3) == {"x = f(a, b)": "alike"}
    assert donations(["x = f(a, b)"], 0) == {}


@given(st.lists(st.sampled_from(("a = b", "a = c", "b = a", "return a", "f(a, b)", "")), min_size=1, max_size=60))
def test_whatever_the_file(lines: list[str]) -> None:
    """No more of a kind than there may be; each stands in the file, and none is the line itself."""
    for place, line in enumerate(lines):
        found = donations(lines, place)
        assert set(found) <= set(lines) - {line}
        assert all(list(found.values()).count(kind) <= MOST for kind in DONATIONS)
