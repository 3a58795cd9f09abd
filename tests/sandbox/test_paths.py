"""No path that is let through leaves the tree or touches git's own files."""

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.errors import DiffError
from swarmcode.sandbox.paths import check

PARTS = st.sampled_from(["..", ".", "", "a", "b.py", ".git", ".GIT", ".git ", ".git.", ".gitignore", "\0", "...", "é"])


@given(st.one_of(st.text(), st.lists(PARTS).map("/".join)))
def test_what_is_let_through_stays_inside(path: str) -> None:
    """Whatever the text: it is refused, or it is in simplest form, inside, and no part of it is git's."""
    try:
        check([path])
    except DiffError:
        return
    assert os.path.normpath(os.path.join("/tree", path)) == f"/tree/{path}"
    assert path
    assert "\0" not in path
    assert ".git" not in [part.lower() for part in path.split("/")]


@pytest.mark.parametrize("path", ["a", "src/pkg/mod.py", ".gitignore", ".github/x", "a b/ü.py", "...", "-rf", "git"])
def test_ordinary_paths_pass(path: str) -> None:
    """Names that only look dangerous are fine."""
    check([path])


def test_file_and_folder_of_one_name_clash() -> None:
    """A change set cannot write a file and something below it."""
    with pytest.raises(DiffError, match="lies below"):
        check(["a/b/c", "x", "a/b"])
