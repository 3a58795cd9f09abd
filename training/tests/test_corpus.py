"""What may be in the corpus, and what a function looks like once it is there."""

import ast
import json
import zipfile
from pathlib import Path

import pytest

from repairmodel import corpus, packages
from repairmodel.exclusions import BENCHMARKS, Examples
from repairmodel.functions import Function, clean, fingerprint, functions
from repairmodel.packages import Package, licence_problem
from repairmodel.sources import usable


def test_packages_are_pinned_licensed_and_no_benchmark() -> None:
    """Every line of packages.txt names a version, a licence and a use; none is a benchmark's project."""
    listed = packages.packages()
    assert len({p.name for p in listed}) == len(listed)
    assert {p.use for p in listed} == {"train", "held-out"}
    assert not {p.name.lower() for p in listed} & BENCHMARKS
    assert not [p for p in listed if "GPL" in p.licence or "MPL" in p.licence]


def test_a_benchmark_project_in_the_list_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding a benchmark's project stops every command."""
    path = tmp_path / "packages.txt"
    path.write_text("django==5.0 BSD-3-Clause train\n")
    monkeypatch.setattr(packages, "LIST", path)
    with pytest.raises(ValueError, match="django"):
        packages.packages()


def test_docstrings_comments_and_blank_lines_go() -> None:
    """What is left is the code, dedented, in its own formatting."""
    source = (
        'class A:\n    def f(self, a):\n        """Doc."""\n        # why\n\n        b = a  # what\n        return  b\n'
    )
    assert list(functions(source)) == [
        Function(name="A.f", text="def f(self, a):\n    b = a\n    return  b", start=1, end=7, indent=4)
    ]


def test_functions_that_can_not_be_cleaned_are_left_out() -> None:
    """A multi-line string would be torn apart; a function of a docstring alone has nothing to learn from."""
    source = 'def f():\n    return """a\n    b"""\n\n\ndef g():\n    """Doc."""\n'
    assert list(functions(source)) == []
    node = ast.parse("def f():\n\treturn 1\n").body[0]
    assert isinstance(node, ast.FunctionDef)
    assert clean("def f():\n\treturn 1\n", node) is None


def test_copies_that_differ_in_literals_are_one_function() -> None:
    """Deduplication sees through spaces, numbers and strings."""
    assert fingerprint("def f():\n    return 'a' + 1") == fingerprint("def f():\n  return  'b' + 22")
    assert fingerprint("def f(): return a") != fingerprint("def f(): return b")


def test_tests_and_vendored_code_are_not_read() -> None:
    """Only a project's own code is used."""
    assert usable("a/b.py")
    assert not any(usable(p) for p in ("a/tests/b.py", "a/test_b.py", "a/_vendor/b.py", "a/b.txt", "conftest.py"))


def test_check_finds_a_stranger_a_benchmark_name_and_an_example(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails for an unlisted project, a QuixBugs program, and a copy of an example."""
    example = (
        "def price(items, tax):\n    total = 0\n    for item in items:\n"
        "        total += item.cost * item.count\n    return total * (1 + tax)"
    )
    examples = tmp_path / "examples"
    examples.mkdir()
    (examples / "shop.py").write_text(example + "\n")
    monkeypatch.setattr(corpus, "EXAMPLES", examples)
    rows = [
        {"project": "stranger", "path": "a.py", "name": "f", "text": "def f():\n    a = 1\n    return a"},
        {
            "project": "python",
            "path": "b.py",
            "name": "A.quicksort",
            "text": "def quicksort():\n    a = 1\n    return a",
        },
        {"project": "python", "path": "c.py", "name": "cost", "text": example.replace("price", "cost")},
        {"project": "python", "path": "d.py", "name": "fine", "text": "def fine():\n    a = 1\n    return a"},
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "held-out.jsonl").write_text("")
    problems = corpus.check(tmp_path)
    assert [problem.split()[0] for problem in problems] == ["stranger", "python", "python"]
    assert "QuixBugs" in problems[1]
    assert "examples/" in problems[2]


def test_tiny_functions_are_read_but_not_those_of_the_examples(tmp_path: Path) -> None:
    """A method of two lines is read like any other; one that an example has nearly so is left out."""
    tiny = "def __hash__(self):\n    return hash((self.left, self.right, self.size))"
    (tmp_path / "pair.py").write_text(tiny + "\n")
    assert [each.text for each in functions(tiny)] == [tiny]
    examples = Examples(tmp_path)
    rows = [
        {"name": "__hash__", "text": tiny.replace("size", "height"), "mark": "a"},
        {"name": "area", "text": "def area(self):\n    return self.width * self.height", "mark": "b"},
    ]
    assert [row["name"] for row in corpus.fresh(rows, set(), examples)] == ["area"]


def wheel(folder: Path, metadata: str, licence: str = "") -> Path:
    """A wheel that says this of itself."""
    path = folder / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing-1.0.dist-info/METADATA", f"Name: thing\n{metadata}\n")
        archive.writestr("thing-1.0.dist-info/LICENSE", licence)
    return path


@pytest.mark.parametrize(
    ("listed", "metadata", "problem"),
    [
        ("MIT", "License-Expression: MIT", None),
        ("Apache-2.0/BSD-3-Clause", "License-Expression: Apache-2.0 OR BSD-3-Clause", None),
        ("BSD-2-Clause", "Classifier: License :: OSI Approved :: BSD License", None),
        ("BSD-2-Clause", "License-Expression: BSD-3-Clause", "BSD-3-Clause"),
        ("BSD-3-Clause", "License: MIT License", "MIT License"),
        ("MIT", "License-Expression: MIT AND LGPL-2.1-only", "copyleft"),
        ("MIT", "License: UNKNOWN", "say nothing"),
    ],
)
def test_a_licence_that_the_package_does_not_declare_is_found(
    tmp_path: Path, listed: str, metadata: str, problem: str | None
) -> None:
    """packages.txt is compared with what the wheel says of itself."""
    package = Package(name="thing", version="1.0", licence=listed, use="train")
    found = licence_problem(package, wheel(tmp_path, metadata))
    assert (found is None) if problem is None else (found is not None and problem in found)


def test_a_licence_is_read_from_its_text_where_the_metadata_name_none(tmp_path: Path) -> None:
    """Some packages declare nothing and ship a LICENSE file."""
    text = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"
    package = Package(name="thing", version="1.0", licence="MIT", use="train")
    assert licence_problem(package, wheel(tmp_path, "License: UNKNOWN", text)) is None
