"""The bench of faults: what its operators inject, how a line is replaced, what an issue says, what the shares are."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"
SOURCE = '''
class Box:
    def __init__(self, size=0):
        self.size = size
        self.rest = []

    def cut(self, items, n):
        """Cuts 3 < 4."""
        for item in items[1:]:
            if not item and len(items) <= n:
                break
            try:
                self.rest.append(max(item, n + 1))
            except KeyError:
                return f"{n < 2}", n
        return self.size
'''


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.syspath_prepend(str(BENCH))
    return lambda name: importlib.import_module(f"faults.{name}")


def test_every_operator_finds_its_place_and_edits_change_one_line_that_still_parses(part: Callable[[str], Any]) -> None:
    operators = part("operators")
    found = list(operators.edits(SOURCE))
    assert {edit.kind for edit in found} == set(operators.OPERATORS)
    lines = SOURCE.split("\n")
    assert all(lines[edit.line - 1] == edit.old != edit.new for edit in found)
    assert all(operators.parses(SOURCE, edit) for edit in found)
    assert len({(edit.line, edit.new) for edit in found}) == len(found)


def test_words_and_formatted_text_are_left_alone(part: Callable[[str], Any]) -> None:
    changed = [edit.old for edit in part("operators").edits(SOURCE)]
    assert not any("Cuts" in line for line in changed)
    assert all("n > 2" not in edit.new and "n <= 2" not in edit.new for edit in part("operators").edits(SOURCE))


def test_characters_of_several_bytes_do_not_shift_an_edit(part: Callable[[str], Any]) -> None:
    text = 'def f(a, b):\n    é = "ü" if a < b else "ß"\n    return é\n'
    assert '    é = "ü" if a <= b else "ß"' in [edit.new for edit in part("operators").edits(text)]


def test_a_fault_goes_in_only_where_the_line_is_what_the_list_says(part: Callable[[str], Any], tmp_path: Path) -> None:
    lists = part("fault")
    (tmp_path / "a.py").write_bytes(b"x = 1\r\ny = 2\r\n")
    fault = lists.Fault(package="p", path="a.py", line=2, old="y = 2", new="y = 3", kind="k", by="hand")
    lists.inject(fault, tmp_path)
    assert (tmp_path / "a.py").read_bytes() == b"x = 1\r\ny = 3\r\n"
    with pytest.raises(ValueError, match="another version"):
        lists.inject(fault, tmp_path)


def test_the_committed_list_is_of_listed_packages_and_large_enough(part: Callable[[str], Any]) -> None:
    faults, packages = part("fault").read_all(), part("shelf").packages()
    assert {fault.package for fault in faults} == {package.name for package in packages}
    assert len(packages) >= 7
    assert len(faults) >= 8 * len(packages)
    assert len({(fault.package, fault.path, fault.line, fault.new) for fault in faults}) == len(faults)


def test_an_issue_names_few_tests_and_nothing_of_the_fault(part: Callable[[str], Any]) -> None:
    failing = {f"t.py::test_{number}": "assert 1 == 2" for number in range(7)}
    assert part("trial").issue(failing).endswith("t.py::test_4 (assert 1 == 2), and 2 more.")


def test_a_report_tells_the_place_of_the_accepted_candidate(part: Callable[[str], Any]) -> None:
    report = b'{"why": "w", "merge": {"accepted": [{"attempt": "2.3"}], "diff": "d"}, "verdicts": {"a": {}, "b": {}}}'
    assert part("trial").told(report, b"") == {"tried": 2, "rank": 4, "said": "w", "diff": "d"}
    assert part("trial").told(b"", b"swarmcode: no\n") == {"said": "swarmcode: no"}


def test_wilson_holds_the_known_interval(part: Callable[[str], Any]) -> None:
    low, high = part("table").wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert part("table").wilson(0, 0) == (0.0, 1.0)
