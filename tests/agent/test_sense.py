"""What an edit makes of its function is seen before any test runs."""

import ast
import subprocess
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.agent.flaws import Flaw, flaws, module
from swarmcode.agent.sense import LONGEST, WEIGHTS, sense
from swarmcode.agent.signatures import Signature

FILE = '''\
import os
from json import dumps as text_of

LIMIT = 3


class Shop:
    rate = 0.1

    def __init__(self, owner, *, open=True):
        self.owner = owner
        self.open = open

    def price(self, item, count=1):
        """What so many of an item cost."""
        whole = item.price * count
        if whole > LIMIT:
            whole -= self.rate * whole
        return whole

    def total(self, items):
        return sum(self.price(item, 2) for item in items)


def open_shop(owner):
    def greet():
        print(owner)

    greet()
    return Shop(owner, open=os.path.exists(text_of(owner)))
'''


def changes(old: str, new: str, file: str = FILE) -> Mapping[Flaw, int] | None:
    """Where `new` stands instead of the line `old`."""
    lines = file.split("\n")
    number = next(number for number, line in enumerate(lines, 1) if line.strip() == old)
    found = sense("shop.py", file, number)
    assert found is not None
    indent = " " * (len(lines[number - 1]) - len(lines[number - 1].lstrip()))
    return found.changes([indent + line for line in new.split("\n") if line])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("whole = item.price * count", "whole = item.price * 2", {"idle parameter": 1}),
        ("whole = item.price * count", "whole = item.price * amount", {"unbound": 1, "idle parameter": 1}),
        ("whole = item.price * count", "whole = item.price * LIMIT * count", {}),
        ("return whole", "return count", {}),
        ("if whole > LIMIT:", "if whole > whole:", {"nothing": 1}),
        ("return whole", "return whole - whole", {"nothing": 1}),
        ("whole -= self.rate * whole", "return whole\nwhole -= 1", {"unreachable": 1}),
        ("whole -= self.rate * whole", "whole -= self.ratio * whole", {"attribute": 1}),
        ("whole -= self.rate * whole", "whole -= self.rate.real * whole", {}),
        ("whole -= self.rate * whole", "whole -= self.price(whole, 1, 2)", {"call": 1}),
        ("whole -= self.rate * whole", "whole -= self.price()", {"call": 1}),
        ("whole -= self.rate * whole", "whole -= self.price(*whole)", {}),
        ("return sum(self.price(item, 2) for item in items)", "return sum(self.price(item) for item in items)", {}),
        ("greet()", "pass", {"idle variable": 1}),
        ("print(owner)", "print(os)", {}),
        ("return Shop(owner, open=os.path.exists(text_of(owner)))", "return Shop(owner, False)", {"call": 1}),
        ("return Shop(owner, open=os.path.exists(text_of(owner)))", "return Shop(owner, closed=1)", {"call": 1}),
    ],
)
def test_flaws_that_an_edit_makes(old: str, new: str, expected: Mapping[Flaw, int]) -> None:
    """None that was there before, and none where code is only different."""
    assert changes(old, new) == expected


@pytest.mark.parametrize(
    ("right", "faulty", "mended"),
    [
        ("whole = item.price * count", "whole = item.price * 2", {"idle parameter": -1}),
        ("whole = item.price * count", "whole = item.price * amount", {"idle parameter": -1, "unbound": -1}),
        ("whole -= self.rate * whole", "whole -= self.price()", {"call": -1}),
        ("if whole > LIMIT:", "if whole > whole:", {"nothing": -1}),
        ("return whole", "return item", {}),
    ],
)
def test_flaws_that_an_edit_mends(right: str, faulty: str, mended: Mapping[Flaw, int]) -> None:
    """The same ones."""
    assert changes(faulty, right, FILE.replace(right, faulty, 1)) == mended


def test_code_that_would_be_no_python_is_no_edit() -> None:
    """Even where the line by itself could stand somewhere."""
    assert changes("whole -= self.rate * whole", "else:\n    pass") is None
    assert changes("return whole", "return = whole") is None


def test_nothing_is_said_where_nothing_is_known() -> None:
    """Outside of functions, of files that are no Python, of other languages."""
    assert sense("shop.py", FILE, 4) is None
    assert sense("shop.py", FILE + "def f(:\n", 16) is None
    assert sense("shop.py", "def f(a):\n" + "    a += 1\n" * LONGEST, 2) is None
    assert sense("shop.js", "function f(a) {\n  return b\n}\n", 2) is None
    # The function is the outermost one, and its decorators are none of its lines.
    nested = sense("shop.py", FILE, 26)
    assert nested is not None
    assert nested.rows[0] == "def open_shop(owner):"


def test_a_star_import_may_bind_any_name() -> None:
    """So no name is missing."""
    assert changes("return a", "return b", "from math import *\n\n\ndef f(a):\n    return a\n") == {"idle parameter": 1}


def test_odd_code_is_judged_in_silence() -> None:
    """Python's warnings about it are for whoever wrote it."""
    asks = """
from swarmcode.agent.sense import sense
found = sense("odd.py", "def f(a):\\n    if a is 'x':\\n        return '\\\\d'\\n    return a\\n", 3)
print(found.changes(["        return '\\\\w' is 1"]))
"""
    run = subprocess.run([sys.executable, "-W", "default", "-c", asks], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("{}\n", "")


def test_mending_is_worth_what_breaking_costs_not() -> None:
    """Every flaw costs where it is made, and never pays where it is made."""
    assert all(weight.made > 0 and weight.mended >= 0 for weight in WEIGHTS.values())
    found = sense("shop.py", FILE, 16)
    assert found is not None
    assert found.cost(["        whole = item.price * 2"]) == WEIGHTS["idle parameter"].made
    assert found.cost([found.rows[found.row]]) == 0
    faulty = sense("shop.py", FILE.replace("* count", "* 2"), 16)
    assert faulty is not None
    assert faulty.cost(["        whole = item.price * count"]) == -WEIGHTS["idle parameter"].mended


PARAMETERS = st.lists(st.sampled_from(("a", "b=1", "*", "*c", "d", "e=1", "**f", "/")), unique=True, max_size=6)
ARGUMENTS = st.lists(st.sampled_from(("1", "2", "a=1", "b=1", "d=1", "e=1", "z=1")), unique=True, max_size=5)


@given(PARAMETERS, ARGUMENTS)
def test_a_call_fits_where_python_takes_it(parameters: list[str], arguments: list[str]) -> None:
    """Of any signature and any call without unpacking."""
    try:
        tree = ast.parse(f"def g({', '.join(parameters)}): pass")
        call = ast.parse(f"g({', '.join(arguments)})").body[0]
    except SyntaxError:
        return
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    scope: dict[str, object] = {}
    exec(compile(tree, "<test>", "exec"), scope)
    try:
        eval(compile(ast.Expression(call.value), "<test>", "eval"), scope)
        taken = True
    except TypeError:
        taken = False
    assert Signature.of(function.args, bound=False).takes(call.value) == taken


def test_a_name_of_two_functions_is_left_alone() -> None:
    """Which one a call means cannot be told; decorators may change what one takes."""
    twice = "class A:\n    def f(self, a): ...\nclass B:\n    def f(self): ...\n@wrapped\ndef g(a): ...\n"
    found = module(twice)
    assert found is not None
    assert found.signatures == {"f": None, "g": None}


def test_a_method_is_read_with_its_indentation() -> None:
    """As it stands in the file, strings of several lines included."""
    text = 'class A:\n    def f(self, a):\n        b = """x\ny"""\n        return c\n'
    within = module(text)
    assert within is not None
    found = flaws("\n".join(text.split("\n")[1:5]), within)
    assert found is not None
    assert (found.idle, found.unbound) == ({"a", "b"}, {"c"})
    assert found.flaws["unbound"] == 1
