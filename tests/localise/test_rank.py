"""Suspects: every signal alone and together points where it should, and nothing else is suspected."""

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.flow import Baseline, Frame, SuiteRun, Suspect, TestResult
from swarmcode.localise.rank import Localiser, rank
from swarmcode.tree import Tree

PRICE = '''"""Prices."""

LIMIT = 100
UNUSED = 3


def discount(price, percent, most=50):
    """Price after a discount."""
    if percent < 0 or percent > LIMIT:
        raise ValueError(percent)
    return price * min(percent, most) / 100


def total(items):
    result = 0
    for price, count in items:
        result += price + count
    return result
'''
CART = """from price import discount, total


class Cart:
    def __init__(self, items):
        self.items = items

    def pay(self, percent):
        whole = total(self.items)
        return whole - discount(whole, percent)
"""
TEST = """from price import total

def test_total():
    assert total([(2, 3)]) == 6

def test_pay():
    assert Cart([]).pay(-1) == 0
"""
TOTAL, PAY = "tests/test_price.py::test_total", "tests/test_price.py::test_pay"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    files = {
        "price.py": PRICE,
        "cart.py": CART,
        "tests/test_price.py": TEST,
        "vendor/price.py": PRICE,
        "notes.md": "total\n",
    }
    return made(tmp_path, files)


def made(folder: Path, files: Mapping[str, str]) -> Tree:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return Tree(root=folder, files=frozenset(files))


def baseline(
    *,
    failing: Mapping[str, tuple[Frame, ...]] | None = None,
    covered: Mapping[str, Mapping[str, set[int]]] | None = None,
    message: str = "",
) -> Baseline:
    traces = {TOTAL: ()} if failing is None else failing
    frozen = {
        test: {path: frozenset(lines) for path, lines in files.items()} for test, files in (covered or {}).items()
    }
    tests = {
        test: TestResult(id=test, outcome="failed", frames=frames, message=message) for test, frames in traces.items()
    }
    run = SuiteRun(outcome="finished", exit_code=1, tests=tests, output="", seconds=1.0)
    passing = frozenset(frozen) - frozenset(traces)
    return Baseline(run=run, failing=tuple(traces), flaky=frozenset(), passing=passing, covered=frozen)


def places(suspects: tuple[Suspect, ...]) -> list[str]:
    return [f"{suspect.path}:{suspect.start}" for suspect in suspects]


COVERED = {
    TOTAL: {"price.py": {15, 16, 17, 18}, "tests/test_price.py": {4}},
    "p1": {"price.py": {9, 11}},
    "p2": {"price.py": {15, 16, 18}},
}


def test_coverage_points_at_the_line(tree: Tree) -> None:
    """The line that only the failing test runs comes first; lines that it never ran are no suspects, nor its own."""
    suspects = rank("", baseline(covered=COVERED), tree)
    assert places(suspects)[0] == "price.py:17"
    assert set(places(suspects)) == {"price.py:15", "price.py:16", "price.py:17", "price.py:18"}
    assert suspects[0].symbol == "total"
    assert (suspects[0].start, suspects[0].end) == (17, 17)
    assert "spectrum 1.00" in suspects[0].evidence


def test_without_coverage_the_words_point(tree: Tree) -> None:
    """With nothing but an issue, the function that it speaks of comes first."""
    suspects = rank("discount() takes too much off the price", baseline(failing={}), tree)
    assert suspects[0].symbol == "discount"
    assert "words of the issue fit discount" in suspects[0].evidence


def test_without_an_issue_the_test_points(tree: Tree) -> None:
    """With nothing but a failing test, what its code calls comes first."""
    suspects = rank("", baseline(), tree)
    assert suspects[0].symbol == "total"
    assert "words of the failing test fit total" in suspects[0].evidence


def test_a_crash_points_at_its_line_and_those_before(tree: Tree) -> None:
    """The innermost frame of the repository counts most, then what leads to it; the test's own line not at all."""
    frames = (
        Frame(path="tests/test_price.py", line=7, function="test_pay"),
        Frame(path="cart.py", line=10, function="pay"),
        Frame(path="price.py", line=11, function="discount"),
    )
    suspects = rank("", baseline(failing={"t": frames}), tree)
    order = places(suspects)
    assert order[:2] == ["price.py:11", "cart.py:10"]
    assert order.index("price.py:9") < order.index("price.py:7")
    assert order.index("cart.py:9") < order.index("cart.py:8")
    assert {suspect.symbol for suspect in suspects} == {"discount", "Cart.pay"}
    assert "in the trace of t" in suspects[0].evidence


def test_frames_are_read_from_the_message(tree: Tree) -> None:
    """Where the runner gives no structured stack, the text of the failure is searched for one."""
    message = 'File "/somewhere/cart.py", line 9, in pay\nZeroDivisionError'
    assert places(rank("", baseline(failing={PAY: ()}, message=message), tree))[0] == "cart.py:9"


def test_a_place_in_the_issue_counts(tree: Tree) -> None:
    """A line that the issue names is suspected, and the evidence says so."""
    suspects = rank("wrong in `price.py:11`, I think", baseline(failing={}), tree)
    assert places(suspects)[0] == "price.py:11"
    assert "price.py:11 is named in the issue" in suspects[0].evidence


def test_constants_and_defaults_that_suspicious_lines_use(tree: Tree) -> None:
    """They ran before any test: they are suspects all the same, after what uses them; unused ones are not."""
    suspects = rank("", baseline(covered={TOTAL: {"price.py": {9, 11}}, "p": {"price.py": {15}}}), tree)
    order = places(suspects)
    assert set(order) == {"price.py:3", "price.py:7", "price.py:9", "price.py:11"}
    assert {order[2], order[3]} == {"price.py:3", "price.py:7"}


def test_statements_of_several_lines(tmp_path: Path) -> None:
    """A line inside a statement that ran is suspected even where the tracer saw only the statement's first."""
    tree = made(tmp_path, {"a.py": "def f(a, b):\n    return g(\n        a +\n        b,\n    )\n"})
    assert set(places(rank("", baseline(covered={TOTAL: {"a.py": {2}}}), tree))) == {"a.py:2", "a.py:3", "a.py:4"}


def test_one_failing_test_at_a_time(tree: Tree) -> None:
    """Asked for one test, what another failing test ran or where it crashed does not count."""
    frames = (Frame(path="cart.py", line=10, function="pay"),)
    both = baseline(failing={TOTAL: (), PAY: frames}, covered={**COVERED, PAY: {"cart.py": {9, 10}}})
    localiser = Localiser("", both, tree)
    assert {suspect.path for suspect in localiser.rank([TOTAL])} == {"price.py"}
    assert {suspect.path for suspect in localiser.rank([PAY])} == {"cart.py"}
    assert {suspect.path for suspect in localiser.rank()} == {"price.py", "cart.py"}
    assert localiser.rank([TOTAL]) == rank("", both, tree, tests=[TOTAL])


def test_nothing_points_anywhere(tree: Tree) -> None:
    """Without any signal the project's own lines are suspects by their kind alone, and the evidence says as much."""
    suspects = rank("xyzzy", baseline(failing={}), tree)
    assert {suspect.path for suspect in suspects} == {"price.py", "cart.py"}
    assert suspects[0].evidence == ("nothing points anywhere in particular",)


def test_tests_are_never_suspects(tmp_path: Path) -> None:
    """Nor what steers them, though the test runs nothing else: to change a test is no way to pass it."""
    tree = made(tmp_path, {"test_a.py": "def test_a():\n    assert 1 == 2\n", "conftest.py": "x = 1\n"})
    frames = (Frame(path="test_a.py", line=2, function="test_a"), Frame(path="conftest.py", line=1, function="x"))
    assert rank("test_a is wrong in test_a.py:2", baseline(failing={"test_a.py::test_a": frames}), tree) == ()


@pytest.mark.parametrize(("path", "head"), [("vendor/gen.py", ""), ("_version.py", ""), ("gen.py", "# DO NOT EDIT\n")])
def test_what_others_wrote_is_suspected_where_nothing_else_runs(tmp_path: Path, path: str, head: str) -> None:
    """Vendored or generated, it is what the failing test runs."""
    tree = made(tmp_path, {path: head + "def f():\n    return 1\n", "test_a.py": "def test_a():\n    assert f()\n"})
    line = head.count("\n") + 2
    frames = (Frame(path="test_a.py", line=2, function="test_a"), Frame(path=path, line=line, function="f"))
    suspects = rank("", baseline(failing={"test_a.py::test_a": frames}), tree)
    assert {suspect.path for suspect in suspects} == {path}


def test_generated_files_are_no_suspects(tmp_path: Path) -> None:
    """What a program wrote is not where its author erred."""
    generated = '"""Code generated by protoc. DO NOT EDIT."""\n\ndef total(x):\n    return x\n'
    tree = made(tmp_path, {"gen.py": generated, "own.py": "def other(x):\n    return x\n"})
    assert {suspect.path for suspect in rank("total is wrong", baseline(failing={}), tree)} == {"own.py"}
    covered = {TOTAL: {"gen.py": {4}, "own.py": {2}}}
    assert {suspect.path for suspect in rank("", baseline(covered=covered), tree)} == {"own.py"}


def test_another_language(tmp_path: Path) -> None:
    """Nothing here is Python's alone."""
    source = (
        "function sum(a, b) {\n  // adds\n  return a - b;\n}\n\nfunction mean(xs) {\n  return sum(xs) / xs.length;\n}\n"
    )
    tree = made(tmp_path, {"lib/sum.js": source, "test/sum.test.js": "sum(1, 2)\n"})
    trace = "at sum (/w/lib/sum.js:3:5)\nat Object.<anonymous> (/w/test/sum.test.js:1:1)"
    suspects = rank("sum of two numbers is off", baseline(failing={"sum": ()}, message=trace), tree)
    assert places(suspects)[0] == "lib/sum.js:3"
    assert suspects[0].symbol == "sum"
    assert "lib/sum.js:2" not in places(suspects)


def test_limit_and_order(tree: Tree) -> None:
    """At most `limit`, best first, scores in 0..1, each line once, the same every time."""
    found = rank("total price discount", baseline(), tree)
    assert rank("total price discount", baseline(), tree, limit=3) == found[:3]
    assert [suspect.score for suspect in found] == sorted((suspect.score for suspect in found), reverse=True)
    assert all(0 <= suspect.score <= 1 for suspect in found)
    assert len(set(places(found))) == len(found)


def test_unknown_and_unreadable_are_left_out(tmp_path: Path) -> None:
    """Coverage and traces of files that are binary, gone or not in the tree do no harm; nor do lines beyond the end."""
    tree = made(tmp_path, {"a.py": "x = f(1)\n", "b.py": "\0", "gone.py": ""})
    (tmp_path / "gone.py").unlink()
    frames = tuple(Frame(path=path, line=99, function="f") for path in ("a.py", "b.py", "gone.py", "other.py"))
    covered = {TOTAL: {"a.py": {1, 99}, "b.py": {1}, "gone.py": {1}, "other.py": {1}}}
    assert places(rank("other.py:3", baseline(failing={TOTAL: frames}, covered=covered), tree)) == ["a.py:1"]
    assert rank("anything", baseline(), Tree(root=tmp_path, files=frozenset())) == ()


def test_a_large_repository_is_quick(tmp_path: Path) -> None:
    """Two thousand files are not parsed one and all: only those that the issue's words point at."""
    body = "\n\n".join(f"def step_{number}(a, b):\n    return a * {number} + b\n" for number in range(40))
    files = {f"pkg{number % 40}/module{number}.py": body for number in range(2000)}
    tree = made(tmp_path, {**files, "pkg7/ledger.py": "def settle_account(entries):\n    return entries[1:]\n"})
    started = time.process_time()
    assert rank("`settle_account` loses the first entry", baseline(failing={}), tree)[0].path == "pkg7/ledger.py"
    assert time.process_time() - started < 10


@settings(max_examples=50, deadline=None)
@given(
    st.text(max_size=80),
    st.lists(st.sampled_from(["a.py", "b.js", "none.py"]), max_size=3),
    st.dictionaries(st.sampled_from(["a.py", "b.js"]), st.frozensets(st.integers(0, 12)), max_size=2),
)
def test_any_evidence(
    tmp_path_factory: pytest.TempPathFactory, issue: str, frames: list[str], ran: dict[str, frozenset[int]]
) -> None:
    """Whatever the signals say, suspects are lines of code of the tree, with scores in 0..1."""
    files = {"a.py": PRICE, "b.js": "function f() {\n  return 1;\n}\n"}
    tree = made(tmp_path_factory.getbasetemp() / "any", files)
    trace = tuple(Frame(path=path, line=len(issue) % 20, function="f") for path in frames)
    found = rank(issue, baseline(failing={TOTAL: trace}, covered={TOTAL: {p: set(n) for p, n in ran.items()}}), tree)
    for suspect in found:
        assert files[suspect.path].split("\n")[suspect.start - 1].strip()
        assert 0 <= suspect.score <= 1
        assert suspect.evidence
    assert found
