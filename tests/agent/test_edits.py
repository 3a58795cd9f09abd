"""Small edits are those that people make, each once, and they leave strings alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.agent.edits import KINDS, MOST_OF_A_KIND, Sight, edits, sight
from swarmcode.agent.edits.words import Line

AROUND = sight(
    "def f(self, items, limit):\n"
    "    first = self.size + clean(items)\n"
    "    label = 'no items'\n"
    "    if first > 512:\n"
    "        raise LookupError(limit)\n"
    "    self.seen.append(first)\n"
)


def every(line: str, around: Sight | None = None) -> set[str]:
    return {new for kind in edits(line, around).values() for new in kind}


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
        ("return f(a, b)", "return f(b)"),
        ("return f(a, b)", "return f(a)"),
        ("return clean(x)", "return x"),
        ("return x.strip()", "return x"),
        ("name = x.lower", "name = x.lower()"),
        ("if a and b:", "if a:"),
        ("if a and b:", "if b:"),
        ("if x:", "if x is not None:"),
        ("return xs[1:]", "return xs[:1]"),
        ("return xs[a:b]", "return xs[a:]"),
        ("return xs[0]", "return xs[-1]"),
        ("return xs", "return xs[0]"),
        ("break", "continue"),
        ("return None", "return []"),
        ("run(x)", "return run(x)"),
        ("value = run(x)", "return run(x)"),
        ("value = run(x)", "run(x)"),
        ("value = None", "value = 0"),
        ("return self.x", "return x"),
    ],
)
def test_what_people_get_wrong_is_among_them(line: str, new: str) -> None:
    """One fix of each of the recurring patterns."""
    assert new in every(line)


@pytest.mark.parametrize(
    ("line", "new"),
    [
        ("return self.low + size", "return self.size + size"),
        ("return self.low + size", "return self.low + limit"),
        ("return scrub(x)", "return clean(x)"),
        ("self.seen.push(x)", "self.seen.append(x)"),
        ("raise ValueError(x)", "raise LookupError(x)"),
        ("raise ValueError(x)", "raise KeyError(x)"),
        ("label = 'items'", "label = 'no items'"),
        ("if n > 64:", "if n > 512:"),
        ("return run(x)", "return run(x, limit)"),
        ("return run(x)", "return run(limit, x)"),
        ("return x", "return first"),
        ("return x", "return clean(x)"),
        ("return size", "return self.size"),
        ("run(x)", "first = run(x)"),
    ],
)
def test_what_is_in_sight_is_tried(line: str, new: str) -> None:
    """Variables, attributes, functions, methods, exceptions and literals, each by others of its sort."""
    assert new in every(line, AROUND)


def test_words_are_told_by_their_sort_the_last_first() -> None:
    """Keywords and `self` are none; what is called is no variable."""
    assert AROUND.names == ("first", "limit", "label", "items")
    assert (AROUND.attributes, AROUND.functions, AROUND.methods) == (("seen", "size"), ("clean", "f"), ("append",))
    assert (AROUND.errors, AROUND.strings, AROUND.numbers) == (("LookupError",), ("'no items'",), ("512",))


def test_what_is_near_comes_first() -> None:
    """Two sights together: each word once, those of the first before those of the second."""
    both = sight("a = b") | sight("c = a")
    assert both.names == ("b", "a", "c")


def test_what_stands_behind_a_name_elsewhere_is_tried_there_first() -> None:
    """An attribute of its own kind is likelier than that of another; called or not makes two sorts."""
    around = sight("key.last = 1\n" + "".join(f"other.a{n} = run(x.b{n}())\n" for n in range(30)) + "key.find(0)\n")
    assert around.behind("key", called=False)[:2] == ("last", "a29")
    assert around.behind("key", called=True)[:2] == ("find", "b29")
    assert {"return key.last", "return other.a29"} <= every("return key.first", around) | every(
        "return other.b", around
    )
    assert "return key.last.x" in every("return key.wrong.x", around)
    assert (sight("a.b") | sight("a.c + a.b")).behind("a", called=False) == ("b", "c")
    assert Line.of("f().x.y").owner(6) == "x"
    assert Line.of("f().x").owner(4) == Line.of("x").owner(0) == ""


def test_strings_are_left_alone() -> None:
    """What stands in quotes is no code."""
    made = every("x = f('a - 1 < b and c')")
    assert all("'a - 1 < b and c'" in new for new in made if "f(" in new and "f()" not in new)


def test_stars_and_signs_that_are_no_operators_stay() -> None:
    """Unpacking and a leading minus are not arithmetic."""
    made = every("return f(*args, -x)")
    assert not [new for new in made if "/args" in new or "+x" in new]


def test_arguments_are_cut_at_their_own_commas() -> None:
    """Commas of inner brackets are not theirs; what does not close has no arguments."""
    line = Line.of("f(a, (b, c), d[1, 2])")
    assert [line.text(start, end).strip() for start, end in line.arguments(1)] == ["a", "(b, c)", "d[1, 2]"]
    assert Line.of("f(a, b").arguments(1) == []
    assert Line.of("f()").arguments(1) == []


@given(st.text(alphabet="ab1 \t+-*/=<>!()[]{},.:'\"\\notifrxselfurn&|^%@é", max_size=60))
def test_any_line_has_its_edits(line: str) -> None:
    """Whatever the line: every edit is new, stands once, is not blank, and no kind is endless."""
    found = edits(line, AROUND)
    made = [new for kind in found.values() for new in kind]
    assert line not in made
    assert len(made) == len(set(made))
    assert all(new.strip() for new in made)
    assert all(0 < len(kind) <= MOST_OF_A_KIND for kind in found.values())
    assert found.keys() <= KINDS.keys()
