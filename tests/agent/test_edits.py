"""Small edits are those that people make, each once, and they leave strings alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.agent.edits import MOST_OF_A_KIND, edits, names_in


def every(line: str, names: tuple[str, ...] = (), attributes: tuple[str, ...] = ()) -> set[str]:
    return {new for kind in edits(line, names, attributes) for new in kind}


@pytest.mark.parametrize(
    ("line", "new"),
    [
        ("if a >= b:", "if a > b:"),
        ("if a and not b:", "if a or not b:"),
        ("if a and not b:", "if a and b:"),
        ("if ready:", "if not ready:"),
        ("if x in seen:", "if x not in seen:"),
        ("if x is None:", "if x is not None:"),
        ("total = total + x", "total = total - x"),
        ("total = x", "total += x"),
        ("total += x", "total = x"),
        ("n = (a - b) // c", "n = (a - b) // c + 1"),
        ("return xs[i + 1]", "return xs[i]"),
        ("return xs[0]", "return xs[1]"),
        ("for i in range(n):", "for i in range(n + 1):"),
        ("return {**given, **defaults}", "return {**defaults, **given}"),
        ("return f(a, b, c)", "return f(a, c, b)"),
        ("return a - b", "return b - a"),
        ("return min(a, b)", "return max(a, b)"),
        ("found.append(x)", "found.extend(x)"),
        ("done = False", "done = True"),
        ("flags = a & b", "flags = a | b"),
    ],
)
def test_what_people_get_wrong_is_among_them(line: str, new: str) -> None:
    """One fix of each of the recurring patterns."""
    assert new in every(line)


def test_names_and_attributes_in_sight_are_tried() -> None:
    """A wrong variable is replaced by one that is there, an attribute by another; what is called is left."""
    made = every("return self.low + size", ("high", "size"), ("top",))
    assert {"return self.top + size", "return self.low + high"} <= made
    assert not [new for new in every("return size(x)", ("high",)) if "high(" in new]


def test_strings_are_left_alone() -> None:
    """What stands in quotes is no code."""
    assert all("'a - 1 < b and c'" in new for new in every("x = f('a - 1 < b and c')"))


def test_stars_and_signs_that_are_no_operators_stay() -> None:
    """Unpacking and a leading minus are not arithmetic."""
    made = every("return f(*args, -x)")
    assert not [new for new in made if "/args" in new or "+x" in new]


def test_names_are_told_from_attributes_and_calls() -> None:
    """The last named first; keywords, calls and `self` are no variables."""
    assert names_in("def f(low):\n    x = self.size + g(high)\n") == (["high", "x", "low"], ["size"])


@given(st.text(alphabet="ab1 \t+-*/=<>!()[]{},.:'\"\\notifrx&|^%@é", max_size=80))
def test_any_line_has_its_edits(line: str) -> None:
    """Whatever the line: every edit is new, stands once, and no kind is endless."""
    kinds = edits(line, ("alpha", "beta"), ("gamma",))
    made = [new for kind in kinds for new in kind]
    assert line not in made
    assert len(made) == len(set(made))
    assert all(0 < len(kind) <= MOST_OF_A_KIND for kind in kinds)
