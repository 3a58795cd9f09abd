"""Where a new test goes, and which it is like."""

from pathlib import Path

import pytest

from swarmcode.suite.newtest import example, new_test
from swarmcode.tree import Tree

TESTS = {
    "tests/test_total.py": "from shop.total import total\n" + "x = 1\n" * 20,
    "tests/unit/rate_test.py": "from shop import rate\n",
    "tests/test_a.py": "import shop\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for path, text in TESTS.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return Tree(root=tmp_path, files=frozenset({*TESTS, "shop/__init__.py", "shop/total.py", "shop/rate.py"}))


def ids(*paths: str) -> list[str]:
    return [f"{path}::test_x" for path in paths or TESTS]


def test_the_example_speaks_of_what_is_suspected(tree: Tree) -> None:
    """The shortest of those that speak of it alike; any test is better than none."""
    assert example(ids(), ["shop/total.py"], tree) == "tests/test_total.py"
    assert example(ids(), ["shop/rate.py"], tree) == "tests/unit/rate_test.py"
    assert example(ids(), ["shop/__init__.py"], tree) == "tests/test_a.py"
    assert example(ids("tests/test_total.py"), [], tree) == "tests/test_total.py"
    assert example(["make test"], [], tree) == ""


@pytest.mark.parametrize(
    ("title", "beside", "path"),
    [
        ("Totals are too low!", "tests/test_a.py", "tests/test_totals_are_too_low.py"),
        ("Totals are too low!", "tests/unit/rate_test.py", "tests/unit/totals_are_too_low_test.py"),
        ("Totals", "test_a.py", "test_totals.py"),
        ("Totals", "", "test_totals.py"),
        ("test_total fails", "tests/test_a.py", "tests/test_total_fails.py"),
        ("Total", "tests/test_a.py", "tests/test_total_2.py"),
        ("合計が違う", "tests/test_a.py", "tests/test_issue.py"),
        ("../../etc/passwd\0", "tests/test_a.py", "tests/test_etc_passwd.py"),
        ("word " * 30, "tests/test_a.py", "tests/test_word_word_word_word_word_word_word_word.py"),
    ],
)
def test_a_new_test_stands_beside_its_example_under_a_name_of_its_own(title: str, beside: str, path: str) -> None:
    """Named after the issue, whose title is any text; never the name of a file anywhere in the tree."""
    assert new_test(title, beside, TESTS) == path
