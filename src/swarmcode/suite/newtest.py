"""Where a new test belongs: beside the one that is nearest to what it is about, named as that is named. Pure."""

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from swarmcode.tree import Tree

LONGEST_EXAMPLE = 8_000
"""Characters of a test file that is shown as an example."""
_LONGEST_NAME = 40


def example(tests: Iterable[str], suspects: Collection[str], tree: Tree) -> str:
    """Path of the test file that speaks most of the suspected files' modules, the shortest of equals; empty where there
    is none. `tests`: ids of tests."""
    stems = [stem for path in suspects if (stem := _stem(path))]
    files = sorted({test.split("::", 1)[0] for test in tests if "::" in test})

    def rank(path: str) -> tuple[int, int, str]:
        text = tree.text(path) or ""
        near = sum(bool(re.search(rf"\b{re.escape(stem)}\b", text)) for stem in stems)
        return -near, len(text), path

    return min((path for path in files if tree.text(path)), key=rank, default="")


def _stem(path: str) -> str:
    """The name by which a file is imported."""
    place = PurePosixPath(path)
    return place.parent.name if place.stem == "__init__" else place.stem


def new_test(title: str, beside: str, files: Iterable[str]) -> str:
    """Path of a test file that is not there yet, named after an issue's title as the test file `beside` is named.

    It stands at the top where `beside` is empty. No file of the tree has its name: pytest takes equal names in
    different folders for one module.
    """
    names = {PurePosixPath(path).name for path in files}
    place = PurePosixPath(beside or "test.py")
    slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:_LONGEST_NAME].strip("_") or "issue"
    pattern = "{}_test.py" if place.name.endswith("_test.py") else "test_{}.py"
    slug = slug.removeprefix("test_")
    number = 1
    while (name := pattern.format(slug if number == 1 else f"{slug}_{number}")) in names:
        number += 1
    return str(place.with_name(name))
