"""Evaluation draws what the catalogue says, and each case can be put right."""

import random
import textwrap
import zipfile
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (training/requirements.txt)")


LONG = """def merge(self, left, right, key=None, reverse=False):
    out = []
    i, j = 0, 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        if (a <= b) != reverse:
            out.append(left[i])
            i += 1
        else:
            out.append(right[j])
            j += 1
    out.extend(left[i:] or right[j:])
    self.size = max(len(out) - 1, 0)
    return out"""

from repairmodel.batches import SHORT, keep
from repairmodel.cases import Case, by_weight, cases, in_files, real_in_files
from repairmodel.faults import CATALOGUE, Code


def record(name: str, text: str) -> dict[str, str]:
    return {"project": "shop", "path": "a.py", "name": name, "text": text}


def test_operators_come_in_the_shares_of_their_weights() -> None:
    """Each operator as often as its weight says, up to one."""
    total = sum(operator.weight for operator in CATALOGUE)
    drawn = Counter(operator.name for operator in by_weight(CATALOGUE, 400, random.Random(3)))
    assert drawn.total() == 400
    assert all(abs(drawn[o.name] - 400 * o.weight / total) <= 1 for o in CATALOGUE)


def test_a_case_is_a_function_with_one_line_at_fault() -> None:
    """Outside of the suspect line nothing differs from what is wanted; each function is used once."""
    records = [record(f"merge{n}", LONG.replace("merge", f"merge{n}")) for n in range(40)]
    found = cases(records, 20, seed=1)
    assert len({case.source for case in found}) == len(found) > 10
    for case in found:
        wanted = case.wanted.split("\n")
        after = len(case.lines) - case.line - 1
        assert case.lines[: case.line] == wanted[: case.line]
        assert after == 0 or case.lines[-after:] == wanted[-after:]
        assert Code("\n".join(case.lines))


def test_a_case_knows_what_stands_around_it_in_its_file(tmp_path: Path) -> None:
    """So that whoever repairs it may look at the whole file; what is not found there is left out."""
    inside = textwrap.indent(LONG.replace("    out = []", '    """Doc."""\n\n    out = []  # why'), "    ")
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "shop-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("a.py", f"import os\n\n\nclass Shop:\n{inside}\n\n\nLIMIT = 3\n")
    found = cases([record("Shop.merge", LONG), record("gone", LONG.replace("merge", "gone"))], 30, seed=1)
    (case,) = in_files(found, tmp_path)
    assert (case.above, case.below, case.indent) == ("import os\n\n\nclass Shop:", "\n\nLIMIT = 3\n", 4)
    assert case.wanted == LONG


def test_a_real_fix_is_put_into_the_release_before_it(tmp_path: Path) -> None:
    """What is not there as it was, or whose release was not fetched, is left out."""
    faulty = LONG.replace("len(out) - 1", "len(out)")
    (tmp_path / "releases").mkdir()
    with zipfile.ZipFile(tmp_path / "releases" / "shop-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("a.py", f"import os\n\n{faulty}\n")
    sources = [f"shop {old} -> 1.2 a.py:{name}" for old, name in (("1.0", "merge"), ("1.0", "gone"), ("1.1", "merge"))]
    found = [Case(kind="real", lines=faulty.split("\n"), line=12, wanted=LONG, source=source) for source in sources]
    (case,) = real_in_files(found, tmp_path)
    assert (case.source, case.above, case.below) == (sources[0], "import os\n", "")


def test_the_same_seed_draws_the_same_cases() -> None:
    """Two files can be measured on identical faults."""
    records = [record(f"merge{n}", LONG.replace("merge", f"merge{n}")) for n in range(12)]
    assert cases(records, 8, seed=5) == cases(records, 8, seed=5)


def test_an_operator_that_no_function_offers_is_passed_over() -> None:
    """A corpus without `await` yields fewer cases, not an endless search."""
    assert cases([], 50, seed=0) == []
    assert len(cases([record("merge", LONG)], 50, seed=0)) == 1


def test_short_functions_are_kept_in_proportion_to_their_lines() -> None:
    """Two lines: a fifth; from ten lines on: all."""
    rng = random.Random(0)
    share = sum(keep("def f():\n    return 1", rng) for _ in range(4000)) / 4000
    assert abs(share - 2 / SHORT) < 0.02
    assert all(keep(LONG, rng) for _ in range(50))
