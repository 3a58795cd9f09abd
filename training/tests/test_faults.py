"""Each operator makes the fault that its docstring promises, and nothing that does not parse."""

import ast
import random
from collections import Counter

import pytest

from repairmodel.faults import CATALOGUE, Code, Fault, find_all, sample
from repairmodel.faults.catalogue import DRAW, find
from repairmodel.faults.code import Edit

# operator -> function, and a faulty line that it must be able to make of it
PROMISES = {
    "comparison": ("def f(a, b):\n    return a < b", "    return a <= b"),
    "arithmetic": ("def f(a, b):\n    return a + b", "    return a - b"),
    "bitwise": ("def f(a, b):\n    return a & b", "    return a | b"),
    "assignment operator": ("def f(a, b):\n    a += b\n    return a", "    a -= b"),
    "rewritten update": ("def f(a, b):\n    a += b\n    return a", "    a = b - a"),
    "lost assignment": ("def f(a):\n    a = a.strip()\n    return a", "    a.strip()"),
    "boolean": ("def f(a, b):\n    return a and b", "    return a or b"),
    "negation": ("def f(a):\n    if not a:\n        return 1", "    if a:"),
    "sign": ("def f(a):\n    return -a", "    return a"),
    "swapped operands": ("def f(a, b):\n    return a - b", "    return b - a"),
    "lost operand": ("def f(a, b):\n    return a + b", "    return a"),
    "lost parentheses": ("def f(a, b, c):\n    return (a + b) * c", "    return a + b * c"),
    "lost condition": ("def f(a, b):\n    if a and b:\n        return 1", "    if a:"),
    "extra condition": ("def f(a, b):\n    if a:\n        return b", "    if a and b:"),
    "number": ("def f(a):\n    return a * 2", "    return a * 3"),
    "off by one": ("def f(a):\n    return a[: len(a) - 1]", "    return a[: len(a)]"),
    "truth": ("def f(a):\n    return True", "    return False"),
    "constant type": ("def f(a):\n    return a.get(None)", "    return a.get(0)"),
    "initial value": ("def f(a):\n    total = 0\n    return total + a", "    total = 1"),
    "string": ("def f(a):\n    return a['x'] + a['y']", "    return a['y'] + a['y']"),
    "string format": ("def f(a):\n    return f'{a}'", "    return '{a}'"),
    "index": ("def f(a):\n    return a[0]", "    return a[1]"),
    "slice": ("def f(a):\n    return a[1:]", "    return a[:1]"),
    "variable": ("def f(a, b):\n    return a * 2", "    return b * 2"),
    "target": ("def f(a, b):\n    a = 2\n    return b", "    b = 2"),
    "attribute": ("def f(a):\n    return a.left - a.top", "    return a.top - a.top"),
    "function name": ("def f(a):\n    return min(a)", "    return max(a)"),
    "caller": ("def f(a, b):\n    return a.get(1)", "    return b.get(1)"),
    "self": ("def f(self):\n    return self.a", "    return a"),
    "attribute access": ("def f(a):\n    return g(a.name)", "    return g(a)"),
    "lost call": ("def f(a):\n    return len(a) + 1", "    return a + 1"),
    "extra call": ("def f(a):\n    return a", "    return str(a)"),
    "lost argument": ("def f(a, b):\n    return g(a, b)", "    return g(a)"),
    "extra argument": ("def f(a, b):\n    return g(a)", "    return g(a, b)"),
    "swapped arguments": ("def f(a, b):\n    return g(a, b)", "    return g(b, a)"),
    "keyword": ("def f(a):\n    return g(a, x=1, y=2)", "    return g(a, y=1, y=2)"),
    "alias": ("def f(a):\n    return a.copy()", "    return a"),
    "return": ("def f(a, b):\n    return a", "    return b"),
    "return value": ("def f(a, b):\n    a.update(b)\n    return a", "    return None"),
    "flow": ("def f(a):\n    for b in a:\n        break", "        continue"),
    "loop": ("def f(a):\n    for b in range(a):\n        g(b)", "    for b in range(a - 1):"),
    "exception": ("def f(a):\n    raise ValueError(a)", "    raise TypeError(a)"),
    "default": ("def f(a, b=None):\n    return a.get(b, 0)", "    return a.get(b)"),
    "element": ("def f(a, b):\n    return g([a, b])", "    return g([a])"),
    "await": ("async def f(a):\n    await a", "    a"),
    "missing line": ("def f(a):\n    b = a\n    a = 1\n    return b", "    a = 1"),
    "missing guard": ("def f(a):\n    if not a:\n        return 0\n    return 1 / a", "    return 1 / a"),
    "extra line": ("def f(a):\n    a += 1\n    return a", "    return None"),
    "indentation": ("def f(a):\n    for b in a:\n        a += b\n        c = b\n    return a", "    c = b"),
}
OPERATORS = {operator.name: operator for operator in CATALOGUE}
LONG = """def merge(self, left, right, key=None, reverse=False):
    out = []
    i, j = 0, 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        if key is not None:
            a, b = key(a), key(b)
        if (a <= b) != reverse:
            out.append(left[i])
            i += 1
        else:
            out.append(right[j])
            j += 1
    if not out:
        return list(left or right)
    out.extend(left[i:])
    out.extend(right[j:])
    self.size = max(len(out) - 1, 0)
    return out"""


def test_every_operator_has_a_promise() -> None:
    """No operator is in the catalogue without an example in this file, and no correction without an operator."""
    assert set(PROMISES) == set(OPERATORS)
    assert set(DRAW) == set(OPERATORS)


@pytest.mark.parametrize("name", sorted(PROMISES))
def test_operator_makes_the_promised_fault(name: str) -> None:
    """The faulty line is among what the operator finds within 400 draws, and undoing it gives the function back."""
    source, faulty = PROMISES[name]
    code = Code(source)
    rng = random.Random(0)
    offered = [fault for _ in range(400) for fault in find(OPERATORS[name], code, rng)]
    matching = [fault for fault in offered if fault.faulty == faulty]
    assert matching
    fault = matching[0]
    assert (
        "\n".join([*code.lines[: fault.head], *([fault.fixed] if fault.fixed else []), *code.lines[fault.tail :]])
        == source
    )


def test_sampled_faults_parse_and_differ() -> None:
    """All that is drawn parses and is another program; the faults of one place share its surroundings."""
    code = Code(LONG)
    for seed in range(40):
        for group in sample(code, random.Random(seed), trees=3, branches=6):
            assert len({(fault.head, fault.tail) for fault in group}) == 1
            assert len({fault.faulty for fault in group}) == len(group)
            for fault in group:
                assert ast.dump(ast.parse(code.faulty(fault))) != ast.dump(ast.parse(LONG))


def test_sampling_repeats_with_its_seed() -> None:
    """The same seed draws the same faults: batches are pure functions of their index."""
    draws = [sample(Code(LONG), random.Random("3:17"), trees=2, branches=5) for _ in range(2)]
    assert draws[0] == draws[1]


def test_one_line_offers_many_kinds() -> None:
    """A rich function offers most of the catalogue's basic classes."""
    offers = find_all(Code(LONG), random.Random(0))
    assert {
        "comparison",
        "boolean",
        "off by one",
        "variable",
        "initial value",
        "missing line",
        "swapped arguments",
    } <= set(offers) | {"swapped arguments"}


def test_nodes_inside_fstrings_are_left_alone() -> None:
    """Their positions are unreliable before Python 3.12, so no edit falls between the quotes of an f-string."""
    code = Code("def f(a, b):\n    return f'{a + b}' + b")
    for operator in CATALOGUE:
        for item in operator.find(code, random.Random(1)):
            if isinstance(item, Edit) and operator.name != "string format":
                assert not (item.start > code.lines[1].index("f'") and item.stop < code.lines[1].index("' +"))


def test_annotations_and_decorators_are_left_alone() -> None:
    """A fault in a type hint changes nothing that a test sees."""
    code = Code("@cache(1)\ndef f(a: int = 1, *, b: tuple[int, int]) -> int:\n    return a")
    faults = [fault for faults in find_all(code, random.Random(0)).values() for fault in faults]
    assert faults
    assert all(isinstance(fault, Fault) and fault.head != 0 for fault in faults)


@pytest.mark.parametrize("text", ["x = 1", "def f():\n    return 'é'", "def f(:\n    pass"])
def test_what_is_not_one_ascii_function_is_refused(text: str) -> None:
    """Columns are both bytes and characters, and there is one function to break."""
    with pytest.raises((ValueError, SyntaxError)):
        Code(text)


def test_a_place_is_not_filled_with_what_every_place_offers() -> None:
    """What is offered almost everywhere is drawn near its small weight, not as often as it is offered."""
    code = Code(LONG)
    offered = {name: len(faults) for name, faults in find_all(code, random.Random(0)).items()}
    drawn = Counter(
        fault.operator
        for seed in range(60)
        for group in sample(code, random.Random(seed), trees=2, branches=6)
        for fault in group
    )
    for name in ("constant type", "self"):
        assert offered[name] / sum(offered.values()) > 0.03
        assert drawn[name] / drawn.total() < 0.02


def made(name: str, source: str) -> set[str]:
    """All faulty lines that an operator makes of a function in 400 draws."""
    code, rng = Code(source), random.Random(0)
    return {fault.faulty.strip() for _ in range(400) for fault in find(OPERATORS[name], code, rng)}


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ("a = g(a)", {"g(a)"}),
        ("self.a = g(a)", {"g(a)"}),
        ("b[a] = await g(a)", {"await g(a)"}),
        ("a = b", set()),  # would be a line that does nothing
        ("a = b = g(a)", set()),
        ("c = g(a)", set()),  # is never read: the same program, or nearly
    ],
)
def test_an_assignment_is_lost_where_a_call_is_assigned(line: str, lost: set[str]) -> None:
    """The call stays, and is the whole statement."""
    assert made("lost assignment", f"async def f(self, a, b):\n    {line}\n    return a") == lost


@pytest.mark.parametrize(
    ("line", "some", "never"),
    [
        ("a += b", {"a = b", "a = b - a", "a = a * b"}, "a = b + a"),
        ("a -= b * c", {"a = b * c", "a = (b * c) - a"}, "a = b * c - a"),
        ("a = a + b", {"a = b", "a = b - a"}, "a = b + a"),
        ("a += 'b'", {"a = 'b' + a", "a = 'b'"}, "a = 'b' - a"),
        ("a += [b]", {"a = [b] + a", "a = [b]"}, "a = [b] - a"),
        ("a //= b", {"a = b // a"}, "a = a // b"),
    ],
)
def test_an_update_becomes_another_expression(line: str, some: set[str], never: str) -> None:
    """Never one that means the same, whatever the type of what is added."""
    found = made("rewritten update", f"def f(a, b, c):\n    {line}\n    return a")
    assert some <= found
    assert never not in found


def test_adding_to_nothing_is_not_written_as_assigning() -> None:
    """`a = 0` and then `a += b` is `a = b`."""
    assert "a = b" not in made("rewritten update", "def f(b):\n    a = 0\n    a += b\n    return a")


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("a[b]", {"a", "None", "True", "False", "b"}),
        ("a, b", {"b, a", "a", "b", "None"}),
        ("a", {"a[0]", "b", "None"}),
        ("a.get(b)", {"a", "b", "None"}),
        ("b if a else a.get", {"b", "a.get", "None"}),
        ("True", {"False", "None"}),
    ],
)
def test_a_wrong_value_is_returned(value: str, wrong: set[str]) -> None:
    """Nothing, half of it, more than it, or something else that the function knows."""
    source = f"def f(a, b):\n    g(a.get, b)\n    return {value}"
    assert {f"return {each}" for each in wrong} <= made("return value", source)


@pytest.mark.parametrize("value", ["g(a)", "a.name", "a['key']", "1", "'text'"])
def test_a_value_that_can_not_be_inferred_stays_returned(value: str) -> None:
    """Where nothing else in the function names it, no one could put it back."""
    assert not made("return value", f"def f(a):\n    a += 1\n    return {value}")


def test_a_window_has_an_end() -> None:
    """A word can be inferred where the model reads it: in the first line, 16 lines above, 8 below, not beyond."""
    code = Code("def f(first):\n    far\n" + "    near\n" * 20 + "    here\n" + "    below\n" * 8 + "    beyond")
    assert code.visible(22, 23, "first.near(below, len, None)")
    assert not any(code.visible(22, 23, word) for word in ("far", "here", "beyond"))


@pytest.mark.parametrize(
    ("right", "faulty", "valid"),
    [("1", "True", True), ("1", "1.0", True), ("a", "(a)", False), ("a", "a ", False), ("a", "(a", False)],
)
def test_a_fault_is_valid_if_it_parses_as_another_program(right: str, faulty: str, valid: bool) -> None:
    """Equal constants of other types are other programs, other spellings of one tree are not."""
    code = Code(f"def f(a):\n    b = (\n        a)\n    return {right}\n")
    fault = Fault(operator="", head=3, tail=4, faulty=f"    return {faulty}", fixed=f"    return {right}")
    assert code.valid(fault) == valid


def test_a_fifth_of_the_wrong_numbers_is_far_away() -> None:
    """The rest is near, or made of the right one; what is far may be another number of the function."""
    code, rng = Code("def f(a):\n    return a % 3600 + g(24)"), random.Random(0)
    found = [next(iter(find(OPERATORS["number"], code, rng))).faulty for _ in range(600)]
    numbers = [int(line.split("%")[1].split("+")[0]) for line in found]
    others = sum(number in (10, 24, 100) for number in numbers)  # never made by the other ways
    assert 0.05 < others / 600 < 0.12
    assert 24 in numbers
    assert 0.45 < sum(abs(number - 3600) == 1 for number in numbers) / 600 < 0.6


def test_faults_whose_fix_can_be_read_elsewhere_are_preferred() -> None:
    """Three to one: the name `width` can only be guessed, `height` stands in the function."""
    code = Code("def f(a, b):\n    a = h(a.height, a.size)\n    b = h(b.height, b.width)\n    return a, b")
    rng = random.Random(1)
    offered = [find(OPERATORS["attribute"], code, rng) for _ in range(400)]
    assert {code.inferable(fault) for faults in offered for fault in faults} == {True, False}
    drawn: Counter[bool] = Counter()
    for seed in range(1500):
        for group in sample(code, random.Random(seed), trees=1, branches=6):
            drawn.update(code.inferable(fault) for fault in group if fault.operator == "attribute")
    natural = Counter(code.inferable(fault) for faults in offered for fault in faults)
    assert drawn[False] / drawn[True] < 0.6 * natural[False] / natural[True]


@pytest.mark.parametrize(
    ("right", "wrong", "inferable"),
    [
        ("a.strip()", "a.lstrip()", True),  # a usual mistake
        ("a.strip()", "a", False),
        ("len(a)", "a", True),
        ("b(a)", "a", True),
        ("c(a)", "a", False),
        ("a", "c(a)", True),
    ],
)
def test_what_can_be_inferred(right: str, wrong: str, inferable: bool) -> None:
    """What stands in the function, is Python's own, or is known to be mistaken for what stands there."""
    code = Code(f"def f(a, b):\n    return {right}")
    fault = Fault(operator="", head=1, tail=2, faulty=f"    return {wrong}", fixed=code.lines[1])
    assert code.inferable(fault) == inferable
