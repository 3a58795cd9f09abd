"""What becomes of a submitted diff: a candidate that is worth a test run, or a reason why not."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.diff import (
    apply,
    check_scope,
    diff_text,
    is_test_file,
    key,
    line_edit,
    overlap,
    parse,
    render,
    to_candidate,
)
from swarmcode.errors import DiffError
from swarmcode.flow import Attempt, Candidate, Subtask
from swarmcode.tree import Tree

OLD = '''"""Prices."""

RATE = 19


def total(items):
    """Sum of price times count."""
    result = 0
    for price, count in items:
        result += price + count
    return result


def mean(items):
    return total(items) / len(items)
'''


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    files = {"price.py": OLD, "other.py": "x = 1\n", "broken.py": "def f(:\n    pass\n", "notes": "a  b\n\nc\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "test_price.py").write_text("def test(): pass\n")
    return Tree(root=tmp_path, files=frozenset({*files, "test_price.py"}))


def candidate(tree: Tree, diff: str, writes: tuple[str, ...] = ("price.py",)) -> Candidate:
    subtask = Subtask(id="1", goal="it passes", tests=("t",), suspects=(), writes=frozenset(writes))
    attempt = Attempt(id="1.0", subtask="1", seed=0, ending="submitted", diff=diff, score=-1.5)
    return to_candidate(attempt, subtask, tree)


def edited(old: str, new: str, text: str = OLD) -> str:
    assert old in text
    return diff_text("price.py", text, text.replace(old, new))


def test_a_fix_becomes_a_candidate(tree: Tree) -> None:
    """It carries whole new files, a canonical diff, its identity and its score."""
    found = candidate(tree, edited("price + count", "price * count"))
    assert found.changes == {"price.py": OLD.replace("price + count", "price * count").encode()}
    assert found.diff == (
        "diff --git a/price.py b/price.py\n--- a/price.py\n+++ b/price.py\n@@ -7,7 +7,7 @@\n"
        '     """Sum of price times count."""\n     result = 0\n     for price, count in items:\n'
        "-        result += price + count\n+        result += price * count\n     return result\n \n \n"
    )
    assert (found.attempt, found.subtask, found.score) == ("1.0", "1", -1.5)
    assert found.key


@pytest.mark.parametrize(
    "respelled",
    [
        ("price + count", "price * count  # multiply"),
        ("price + count", "(price * count)"),
        ("price + count", "price  *  count"),
        ("price + count\n", "price * count\n\n"),
        ("price + count", "(\n            price\n            * count\n        )"),
    ],
)
def test_equal_fixes_have_equal_keys(tree: Tree, respelled: tuple[str, str]) -> None:
    """Spacing, comments and redundant parentheses make no other candidate."""
    assert candidate(tree, edited(*respelled)).key == candidate(tree, edited("price + count", "price * count")).key


def test_unequal_fixes_have_unequal_keys(tree: Tree) -> None:
    """Whatever a parser tells apart is another candidate, and so is the same edit elsewhere."""
    edits = [
        ("price + count", "price * count"),
        ("price + count", "price - count"),
        ("price + count", "count + price"),
        ("price + count", '"price" + count'),
        ("return result", "return (result,)"),
        ("    return result", "        return result"),
        ("result = 0", "result = 1"),
        ('"""Prices."""', '"""Prizes."""'),
    ]
    assert len({candidate(tree, edited(*edit)).key for edit in edits}) == len(edits)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("price + count", "(price + count)"),
        ("result = 0", "result=0  # start"),
        ("total(items) / len(items)", "total(items,) / len(items)"),
        ("\n\n\ndef mean", "\n# mean of them\ndef mean"),
    ],
)
def test_identity_edits_are_no_candidates(tree: Tree, old: str, new: str) -> None:
    """A change that no parser sees cannot turn a test."""
    with pytest.raises(DiffError, match="nothing but spelling"):
        candidate(tree, edited(old, new))


@pytest.mark.parametrize(("old", "new"), [("price + count", "price +"), ("return result", "return (result")])
def test_broken_syntax_costs_no_test_run(tree: Tree, old: str, new: str) -> None:
    """A candidate that does not parse any more is refused with the place."""
    with pytest.raises(DiffError, match=r"price\.py:\d+: it breaks the syntax"):
        candidate(tree, edited(old, new))


def test_files_that_never_parsed_may_be_changed(tree: Tree) -> None:
    """Where the base does not parse, or nobody can tell, words and indentation decide what is a change."""
    broken = "def f(:\n    pass\n"
    with pytest.raises(DiffError, match="spelling"):
        candidate(tree, diff_text("broken.py", broken, "def  f(:\n\n    pass\n"), ("broken.py",))
    still = candidate(tree, diff_text("broken.py", broken, "def f(:\n    return\n"), ("broken.py",))
    fixed = candidate(tree, diff_text("broken.py", broken, "def f():\n    pass\n"), ("broken.py",))
    notes = candidate(tree, diff_text("notes", "a  b\n\nc\n", "a b\n  c\n"), ("notes",))
    assert len({still.key, fixed.key, notes.key}) == 3
    with pytest.raises(DiffError, match="spelling"):
        candidate(tree, diff_text("notes", "a  b\n\nc\n", "a b \nc"), ("notes",))


def test_an_edit_and_an_identity_edit_count_once(tree: Tree) -> None:
    """A file that only looks different is no part of a candidate's identity."""
    fix = edited("price + count", "price * count")
    both = candidate(tree, fix + diff_text("other.py", "x = 1\n", "x  =  1\n"), ("price.py", "other.py"))
    assert both.key == candidate(tree, fix).key


def test_a_hidden_header_does_not_travel(tree: Tree) -> None:
    """The candidate's diff is written anew: what else stood in the submitted text is gone."""
    fix = edited("price + count", "price * count")
    found = candidate(tree, "Subject: a fix\n\nX-Evil: yes\n" + fix.replace("--- a", "index 111..222 100644\n--- a"))
    assert found.diff == candidate(tree, fix).diff


def test_a_stacked_tree_is_part_of_the_candidate(tree: Tree) -> None:
    """On a tree with accepted changes, the candidate is told against the base, and carries them."""
    first = candidate(tree, diff_text("other.py", "x = 1\n", "x = 2\n"), ("other.py",))
    stacked = tree.stacked(first.changes)
    second = candidate(stacked, edited("price + count", "price * count"))
    assert second.changes.keys() == {"price.py", "other.py"}
    assert second.diff == render(second.changes, tree.read)
    assert second.key not in ("", first.key, candidate(tree, edited("price + count", "price * count")).key)
    with pytest.raises(DiffError, match="takes back"):
        candidate(stacked, diff_text("other.py", "x = 2\n", "x = 1\n"), ("other.py",))


NEW_FILE = "diff --git a/{0} b/{0}\nnew file mode {1}\n--- /dev/null\n+++ b/{0}\n@@ -0,0 +1 @@\n+x\n"


@pytest.mark.parametrize(
    ("diff", "reason"),
    [
        ("", "no readable diff"),
        ("I would change line 3.\n", "names no file"),
        ("--- a/price.py\n+++ b/price.py\n@@ -1,9 +1,9 @@\n-x\n", "no readable diff"),
        (diff_text("other.py", "x = 1\n", "x = 2\n"), "not among the files"),
        (diff_text("test_price.py", "def test(): pass\n", ""), "belongs to the tests"),
        (NEW_FILE.format("conftest.py", "100644"), "belongs to the tests"),
        (NEW_FILE.format("pkg/sitecustomize.py", "100644"), "steers how the tests run"),
        (NEW_FILE.format("evil.pth", "100644"), "steers how the tests run"),
        (NEW_FILE.format("pyproject.toml", "100644"), "steers how the tests run"),
        (NEW_FILE.format("../x.py", "100644"), "no plain path"),
        (NEW_FILE.format(".git/hooks/pre-commit", "100644"), "no plain path"),
        (NEW_FILE.format("sub/.GIT/config", "100644"), "no plain path"),
        ("--- /dev/null\n+++ /etc/passwd\n@@ -0,0 +1 @@\n+x\n", "no plain path"),
        ("--- a/price.py\n+++ b/other.py\n@@ -3 +3 @@\n-RATE = 19\n+RATE = 7\n", "not among the files"),
        (NEW_FILE.format("price.py", "120000"), "a link or submodule"),
        (NEW_FILE.format("price.py", "160000"), "a link or submodule"),
        (NEW_FILE.format("price.py", "100755"), "mode"),
        ("diff --git a/price.py b/price.py\nold mode 100644\nnew mode 100755\n", "mode"),
        ("diff --git a/price.py b/price.py\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKc$|\n\n", "binary"),
        ("Binary files a/price.py and b/price.py differ\n", "binary"),
        (
            "diff --git a/price.py b/q.py\nsimilarity index 90%\nrename from price.py\nrename to q.py\n",
            "not among the files|renamed",
        ),
        (edited("RATE = 19", "RATE = 7", OLD.replace("Prices", "Nothing like it")), "does not fit"),
        (NEW_FILE.format("price.py", "100644"), "there already"),
    ],
)
def test_what_is_no_candidate_is_told_why(tree: Tree, diff: str, reason: str) -> None:
    """Each way of leaving the scope, or of making no sense, has its reason."""
    with pytest.raises(DiffError, match=reason) as raised:
        candidate(tree, diff)
    assert "\n" not in raised.value.message


def test_no_scope_lets_tests_be_changed(tree: Tree) -> None:
    """Nor what steers them, though a subtask names them: a weaker test proves nothing."""
    diff = diff_text("test_price.py", "def test(): pass\n", "def test(): return\n")
    with pytest.raises(DiffError, match="belongs to the tests"):
        candidate(tree, diff, ("test_price.py",))
    with pytest.raises(DiffError, match="steers how the tests run"):
        check_scope(parse(NEW_FILE.format("setup.cfg", "100644")), ["setup.cfg"])


@pytest.mark.parametrize(
    ("path", "guarded"),
    [
        ("tests/test_a.py", True),
        ("src/pkg/conftest.py", True),
        ("setup.cfg", True),
        ("pkg/tests/data/x.json", True),
        ("src/test/java/App.java", True),
        ("web/app.spec.ts", True),
        ("go/x_test.go", True),
        ("django/test/client.py", False),
        ("src/contest.py", False),
        ("src/latest/testing.py", False),
        ("setup/config.py", False),
    ],
)
def test_which_files_are_guarded(path: str, guarded: bool) -> None:
    """Tests are told by the names that test runners go by; a library about testing is none."""
    assert is_test_file(path) is guarded


def test_line_edit() -> None:
    """A line gives way to one or several; its own end stays, also where the file has none."""
    assert apply(parse(line_edit("f", "a\r\nb\r\n", 2, "c")), {"f": b"a\r\nb\r\n"}.get) == {"f": b"a\r\nc\r\n"}
    assert apply(parse(line_edit("f", "a\nb", 2, ["c", "d"])), {"f": b"a\nb"}.get) == {"f": b"a\nc\nd"}
    assert apply(parse(line_edit("f", "a\nb\n", 1, [])), {"f": b"a\nb\n"}.get) == {"f": b"b\n"}
    assert line_edit("f", "a\nb\n", 1, "a") == ""
    with pytest.raises(DiffError, match="no line 3"):
        line_edit("f", "a\nb\n", 3, "c")


def test_patches_may_make_and_delete_files(tree: Tree) -> None:
    """New, empty and deleted files are part of a diff; a patch that only adds makes a file that is not there."""
    made = diff_text("n.py", None, "") + diff_text("m.py", None, "m\n") + diff_text("price.py", OLD, None)
    assert apply(parse(made), tree.read) == {"n.py": b"", "m.py": b"m\n", "price.py": None}
    assert apply(parse(diff_text("new.py", "", "x\n")), tree.read) == {"new.py": b"x\n"}
    with pytest.raises(DiffError, match="no such file"):
        apply(parse(diff_text("gone.py", "a\n", "b\n")), tree.read)
    with pytest.raises(DiffError, match="leaves lines"):
        apply(parse("--- a/price.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-" + OLD.split("\n")[0] + "\n"), tree.read)


def test_diffs_of_models_are_read(tree: Tree) -> None:
    """No prefixes, dates behind names, hunks in a row and blank context lines without their space are understood."""
    diff = "--- price.py\t2024-01-01\n+++ price.py\t2024-01-02\n@@ -2,2 +2,2 @@\n\n-RATE = 19\n+RATE = 7\n"
    diff += (
        "@@ -14,2 +14,2 @@ def mean(items):\n def mean(items):\n-    return total(items) / len(items)\n+    return 0\n"
    )
    changed = OLD.replace("RATE = 19", "RATE = 7").replace("total(items) / len(items)", "0")
    assert candidate(tree, diff).changes == {"price.py": changed.encode()}


def test_overlap(tree: Tree) -> None:
    """Two candidates are in each other's way where they change the same or adjacent lines of one file."""
    fix = candidate(tree, edited("price + count", "price * count"))
    same = candidate(tree, edited("price + count", "price - count"))
    next_line = candidate(tree, edited("return result", "return -result"))
    inserted = candidate(tree, edited("    return result", "    result += 1\n    return result"))
    far = candidate(tree, edited("len(items)", "len(items or [1])"))
    deletes = candidate(tree, diff_text("price.py", OLD, None))
    other = candidate(tree, diff_text("other.py", "x = 1\n", "x = 2\n"), ("other.py",))
    assert [overlap(fix, another) for another in (same, next_line, inserted, deletes)] == [True] * 4
    assert [overlap(fix, another) for another in (far, other)] == [False] * 2
    assert overlap(far, deletes)


def test_many_candidates_are_quick(tree: Tree) -> None:
    """A file of 500 lines is not digested anew for every candidate: the way from the root to the edit is enough."""
    text = OLD + "".join(f"\n\ndef f{number}(a, b):\n    return a + b * {number}\n" for number in range(100))
    (tree.root / "price.py").write_text(text)
    keys = {candidate(tree, edited(f"b * {number}\n", f"b - {number}\n", text)).key for number in range(100)}
    assert len(keys) == 100


LINES = st.lists(
    st.sampled_from(["a", "b", "", "\tc", "d\r", "-", "+", "@@ -1 +1 @@", "--- a/f", "\\ No newline", "é", "\x0c"])
)


@settings(max_examples=300, deadline=None)
@given(LINES, LINES, st.booleans(), st.booleans(), st.sampled_from(["f.py", "a b/c.py", 'q"u\\o.py', "ü.py", "t\tab"]))
def test_any_edit_survives_its_diff(old: list[str], new: list[str], open_old: bool, open_new: bool, path: str) -> None:
    """Applying the diff of two texts to the first gives the second, whatever they hold and are called."""
    before, after = ("\n".join(lines) + "\n" * (not is_open) for lines, is_open in ((old, open_old), (new, open_new)))
    diff = diff_text(path, before, after)
    assert (diff == "") == (before == after)
    if diff:
        assert diff.endswith("\n")
        assert apply(parse(diff), {path: before.encode()}.get) == {path: after.encode()}


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | LINES.map("\n".join).map("--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n".__add__))
def test_any_text_is_a_diff_or_a_clear_refusal(text: str) -> None:
    """No text makes the parser fail otherwise than with `DiffError`."""
    try:
        patches = parse(text)
        check_scope(patches, ["f"])
        apply(patches, {"f": b"a\nb\n"}.get)
    except DiffError as error:
        refused = error.message
    else:
        refused = ""
    assert "\n" not in refused.strip()


PATHS = st.sampled_from(["a.py", "a.js", "a.go", "a.c", "a.rb", "a.txt"])


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=100), PATHS)
def test_keys_of_any_text(text: str, path: str) -> None:
    """Whatever the content, a file is equal to itself."""
    content = text.encode(errors="replace")
    assert key({path: content}, {path: content}.get) == ""


@settings(max_examples=100, deadline=None)
@given(st.text("ab1=+-(),: \n", max_size=100), PATHS)
def test_spaces_at_the_end_of_code_mean_nothing(text: str, path: str) -> None:
    """Nor where it is malformed. What may open a string is left out: a space within one does mean something."""
    content = text.encode()
    assert key({path: content + b"x = 1"}, {path: content}.get) == key({path: content + b"x = 1 "}, {path: content}.get)
