"""Search/replace blocks: tolerant of form, strict about meaning."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.agent.blocks import Block, MalformedAnswer, changes, parse
from swarmcode.tree import Tree

SCOPE = frozenset({"src/shop.py"})


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/shop.py").write_text("def total(a, b):\n    return a - b\n\n\ndef half(a):\n    return a / 2\n")
    (tmp_path / "other.py").write_text("x = 1\n")
    return Tree(root=tmp_path, files=frozenset({"src/shop.py", "other.py"}))


def answer(path: str, search: str, replace: str, fence: str = "") -> str:
    return f"{path}\n{fence}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n{fence and '```'}\n"


@pytest.mark.parametrize(
    "path", ["src/shop.py", "`src/shop.py`", "**src/shop.py**", "./src/shop.py", "shop.py", "### src/shop.py"]
)
@pytest.mark.parametrize("fence", ["", "```python"])
def test_usual_decorations_are_understood(tree: Tree, path: str, fence: str) -> None:
    """Backticks, fences, headings and shortened paths do not cost an attempt."""
    blocks = parse("I see the fault.\n\n" + answer(path, "    return a - b", "    return a + b", fence))
    new = changes(blocks, tree, SCOPE)
    assert new == {"src/shop.py": b"def total(a, b):\n    return a + b\n\n\ndef half(a):\n    return a / 2\n"}


def test_reasoning_is_left_out(tree: Tree) -> None:
    """A block that the model only thought about is no answer."""
    thought = answer("src/shop.py", "    return a - b", "    return 0")
    said = answer("src/shop.py", "    return a - b", "    return a + b")
    assert b"a + b" in (changes(parse(thought + "</think>" + said), tree, SCOPE)["src/shop.py"] or b"")


def test_several_blocks_apply_in_order(tree: Tree) -> None:
    """A later block sees what an earlier one made."""
    text = answer("src/shop.py", "    return a - b", "    return a + b") + answer(
        "", "    return a + b", "    return b + a"
    )
    assert b"b + a" in (changes(parse(text), tree, SCOPE)["src/shop.py"] or b"")


def test_trailing_space_does_not_matter(tree: Tree) -> None:
    """Models lose or add space at line ends."""
    new = changes((Block(path="src/shop.py", search="def half(a):  \n", replace="def half(b):\n"),), tree, SCOPE)
    assert b"def half(b):\n" in (new["src/shop.py"] or b"")


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        (Block(path="other.py", search="x = 1\n", replace="x = 2\n"), "files that may change: src/shop.py"),
        (Block(path="../src/shop.py", search="x = 1\n", replace="x = 2\n"), "files that may change"),
        (Block(path="/etc/passwd", search="x\n", replace="y\n"), "files that may change"),
        (Block(path="src/shop.py", search="nowhere\n", replace="y\n"), "do not stand in src/shop.py"),
        (Block(path="src/shop.py", search="\n", replace="y\n"), "SEARCH part is empty"),
    ],
)
def test_what_is_wrong_is_said(tree: Tree, block: Block, complaint: str) -> None:
    """The complaint is one that the model can act on, and nothing out of scope is changed."""
    with pytest.raises(MalformedAnswer, match=complaint):
        changes((block,), tree, SCOPE)


def test_an_ambiguous_search_is_refused(tree: Tree, tmp_path: Path) -> None:
    """Which of two equal places was meant is not guessed."""
    (tmp_path / "src/shop.py").write_text("a = 1\nb = 2\na = 1\n")
    with pytest.raises(MalformedAnswer, match="2 times"):
        changes((Block(path="src/shop.py", search="a = 1\n", replace="a = 3\n"),), tree, SCOPE)


def test_crlf_files_stay_crlf(tree: Tree, tmp_path: Path) -> None:
    """Line ends are the file's, not the model's."""
    (tmp_path / "src/shop.py").write_bytes(b"a = 1\r\nb = 2\r\n")
    new = changes((Block(path="src/shop.py", search="b = 2\n", replace="b = 3\n"),), tree, SCOPE)
    assert new["src/shop.py"] == b"a = 1\r\nb = 3\r\n"


def test_no_block_is_said(tree: Tree) -> None:
    """An answer in prose is answered with what was missing."""
    with pytest.raises(MalformedAnswer, match="no SEARCH/REPLACE block"):
        changes(parse("I would change the minus to a plus."), tree, SCOPE)


@given(st.text(alphabet=st.sampled_from("<>=SEARCHREPLACE \n`a./\t\r</think>"), max_size=400))
def test_any_text_parses(text: str) -> None:
    """Whatever a model says, parsing ends with blocks or without."""
    for block in parse(text):
        assert isinstance(block, Block)
