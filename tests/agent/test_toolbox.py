"""An agent's tools do what they say on its own copy of the tree, and nothing that a model says leads out of it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.agent.overlay import LARGEST, Overlay
from swarmcode.agent.toolbox import MOST_CHARACTERS, Toolbox
from swarmcode.agent.tools import TOOLS
from swarmcode.dialect.messages import Call
from swarmcode.flow import Changes, Frame, SuiteRun, TestResult
from swarmcode.tree import Tree

SHOP = "def total(prices):\n    return sum(prices) - 1\n\n\ndef half(a):\n    return a / 2\n"
TEST = "test_shop.py::test_total"


class Suite:
    """Runs that a test looks at: the failing test passes where the fault is gone."""

    def __init__(self) -> None:
        self.asked: list[tuple[Changes, Sequence[str]]] = []
        self.noise = ""

    async def __call__(self, changes: Changes, tests: Sequence[str]) -> SuiteRun:
        self.asked.append((changes, tests))
        right = b"- 1" not in (changes.get("shop.py") or b"- 1")
        frame = Frame(path="shop.py", line=2, function="total")
        test = TestResult(
            id=TEST,
            outcome="passed" if right else "failed",
            message="" if right else "assert 2 == 3" + self.noise,
            frames=() if right else (frame,),
        )
        return SuiteRun(outcome="finished", exit_code=0, tests={TEST: test}, output="", seconds=0.1)


class Desk:
    """A toolbox over a small tree."""

    def __init__(self, root: Path, text: str = SHOP) -> None:
        for path, content in {"shop.py": text, "test_shop.py": "x", "pkg/tax.py": "RATE = 2\n"}.items():
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_bytes(content.encode())
        (root / "secret.txt").write_text("not listed")
        (root / "link.py").symlink_to("/etc/passwd")
        files = frozenset({"shop.py", "test_shop.py", "pkg/tax.py", "link.py", "gone.py"})
        self.tree = Tree(root=root, files=files, changes={"gone.py": None})
        self.overlay = Overlay(self.tree, frozenset({"shop.py", "new.py"}), Path("/work/shop"))
        self.suite = Suite()
        self.box = Toolbox(self.overlay, self.suite, (TEST,))

    def __call__(self, tool: str, **arguments: Any) -> str:
        return asyncio.run(self.box.use(Call(id="0", name=tool, arguments=arguments)))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_way_to_a_fix(desk: Desk) -> None:
    """Looks, edits, runs the tests, submits: the diff is what was edited, and the tree on disk is as it was."""
    assert "shop.py:2: return sum(prices) - 1" in desk("search", text="sum(")
    assert desk("view", path="/work/shop/shop.py", start=2, end=2) == "     2\t    return sum(prices) - 1"
    failing = desk("run_tests")
    assert "0 passed, 1 failed" in failing
    assert "shop.py:2 in total" in failing
    assert not desk.box.proven
    done = desk("strreplace", path="./shop.py", old="sum(prices) - 1", new="sum(prices)")
    assert "     2\t    return sum(prices)\n" in done
    assert "sum(prices) - 1" not in desk("view", path="shop.py")
    assert desk("run_tests") == "1 passed, 0 failed."
    assert desk.box.proven
    assert desk("submit") == "Submitted."
    assert desk.box.submitted
    assert "-    return sum(prices) - 1\n+    return sum(prices)\n" in desk.overlay.diff
    assert (desk.tree.root / "shop.py").read_text() == SHOP
    assert desk.suite.asked[-1] == ({"gone.py": None, "shop.py": SHOP.replace(" - 1", "").encode()}, (TEST,))


def test_an_edit_after_the_tests_proves_nothing(desk: Desk) -> None:
    """What passed is the tree as it was then."""
    desk("strreplace", path="shop.py", old=" - 1", new="")
    desk("run_tests", all=True)
    assert desk.suite.asked[-1][1] == ()
    assert desk.box.proven
    desk("insert", path="shop.py", line=0, text="import os")
    assert not desk.box.proven


def test_lines_are_inserted_and_files_made(desk: Desk) -> None:
    """Behind a line, at the top, at the end; a new file only where one may be."""
    desk("insert", path="shop.py", line=0, text="import os")
    desk("insert", path="shop.py", line=7, text="\n\ndef third(a):\n    return a / 3\n")
    assert desk.overlay.text("shop.py") == "import os\n" + SHOP + "\n\ndef third(a):\n    return a / 3\n"
    assert "has 11 lines" in desk("insert", path="shop.py", line=99, text="x")
    assert desk("createfile", path="new.py", text="x = 1\n").startswith("Done. new.py now:")
    assert "there already" in desk("createfile", path="shop.py", text="")
    assert "new.py" in desk("list")
    assert "+x = 1" in desk.overlay.diff


def test_line_ends_are_kept(tmp_path: Path) -> None:
    """A file with the line ends of Windows keeps them, whatever the model writes."""
    desk = Desk(tmp_path, SHOP.replace("\n", "\r\n"))
    desk(
        "strreplace",
        path="shop.py",
        old="(prices):\n    return sum(prices) - 1",
        new="(prices):\n    return sum(prices)",
    )
    desk("insert", path="shop.py", line=1, text="    # all\n    # of them")
    text = desk.overlay.text("shop.py")
    assert text.count("\r\n") == text.count("\n") == SHOP.count("\n") + 2


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("strreplace", {"path": "shop.py", "old": "return", "new": "x"}, "stands 2 times"),
        ("strreplace", {"path": "shop.py", "old": "return x", "new": "x"}, "does not stand"),
        ("strreplace", {"path": "shop.py", "old": " ", "new": "x"}, "empty"),
        ("strreplace", {"path": "shop.py", "old": "def half(a):  \n", "new": "def half(b):"}, "def half(b):\n"),
        ("strreplace", {"path": "shop.py", "old": "return a / 2", "new": "return (a"}, "breaks the syntax"),
        ("view", {"path": "tax.py"}, "Files of that name: pkg/tax.py."),
        ("view", {"path": "shop.py", "start": "x"}, "must be of type integer"),
        ("bash", {"command": "rm -rf /"}, "There is no tool 'bash'"),
        ("submit", {}, "nothing to submit"),
        ("search", {"text": "RATE", "path": "pkg"}, "pkg/tax.py:1: RATE = 2"),
        ("search", {"text": "RATE", "path": "shop.py"}, "No line contains"),
        ("list", {"path": "pkg"}, "tax.py"),
    ],
)
def test_what_a_call_gives(desk: Desk, tool: str, arguments: dict[str, Any], told: str) -> None:
    """A sentence that helps, where it cannot be done."""
    assert told in desk(tool, **arguments)


@pytest.mark.parametrize(
    "path",
    [
        *("../etc/passwd", "/etc/passwd", "pkg/../../x", ".git/config", "link.py", "secret.txt", "gone.py", "a\0b"),
        *("/work/shop2/x", "/work/shop/../x", "test_shop.py", "conftest.py", "pkg/tax.py", "shop.py/x", "", "."),
        *("~/x", "C:\\x", "link.py/.."),
    ],
)
def test_no_path_leads_out_of_the_scope(desk: Desk, path: str) -> None:
    """Nothing is written but what the subtask may write, and nothing is read that is not listed."""
    for tool, arguments in (
        ("createfile", {"text": "x"}),
        ("insert", {"line": 0, "text": "x"}),
        ("strreplace", {"old": "x", "new": "y"}),
    ):
        assert not desk(tool, path=path, **arguments).startswith("Done")
    assert desk.overlay.changes == {"gone.py": None}
    seen = desk("view", path=path)
    assert "root:" not in seen
    assert "not listed" not in seen


def test_results_are_bounded(tmp_path: Path) -> None:
    """Long lines, long files, long messages; a file that is too large is not made."""
    desk = Desk(tmp_path, ("x" * 300 + "\n") * 2000)
    assert len(desk("view", path="shop.py")) < MOST_CHARACTERS + 100
    desk.suite.noise = "y" * 100_000
    assert len(desk("run_tests")) < 3000
    assert "too large" in desk("createfile", path="new.py", text="x" * (LARGEST + 1))
    assert "too large" not in desk("view", path="shop.py")


def test_a_call_that_was_made_before_is_not_made_again(desk: Desk) -> None:
    """Unless something has changed since; how often it happens in a row is counted."""
    desk("run_tests")
    for times in (1, 2):
        assert "made this very call before" in desk("run_tests")
        assert desk.box.repeats == times
    assert len(desk.suite.asked) == 1
    desk("strreplace", path="shop.py", old=" - 1", new="")
    assert desk.box.repeats == 0
    assert desk("run_tests") == "1 passed, 0 failed."


WORDS = st.sampled_from(["shop.py", "new.py", "../x", "", "return", "0", "a", "x\n"]) | st.text(max_size=8)


@settings(max_examples=80, deadline=None)
@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from([tool.name for tool in TOOLS if tool.name != "run_tests"]),
            st.dictionaries(
                st.sampled_from(["path", "text", "old", "new", "line", "start", "end", "all"]),
                WORDS | st.integers(-5, 50) | st.booleans(),
            ),
        ),
        max_size=6,
    )
)
def test_any_calls_at_all(calls: list[tuple[str, dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each gives a text; nothing but the scope is ever changed."""
    desk = Desk(tmp_path_factory.mktemp("tree"))
    for name, arguments in calls:
        assert desk(name, **arguments)
    assert set(desk.overlay.changes) <= {"shop.py", "new.py", "gone.py"}
