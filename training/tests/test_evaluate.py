"""The shares that evaluation reports, on answers that are known."""

import pytest

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (training/requirements.txt)")
pytest.importorskip("torch", reason="PyTorch is not installed (training/requirements.txt)")

from repairmodel.cases import Case
from repairmodel.evaluate import given_line, without_line
from repairmodel.proposer import Answer


class Scripted:
    """Answers from a table: (function, line) -> texts of the function, best first."""

    def __init__(self, table: dict[tuple[str, int], list[tuple[str, float]]]) -> None:
        self.table = table

    def answers(self, lines: list[str], line: int) -> list[Answer]:
        found = self.table.get(("\n".join(lines), line), [])
        return [Answer(text=text, score=score, tokens=4) for text, score in found]


def fault(kind: str, name: str) -> Case:
    return Case(kind=kind, lines=[name, "wrong"], line=1, wanted=f"{name}\nright", source=name)


def test_repair_at_k_counts_the_rank_of_the_original_text() -> None:
    """One fault repaired first, one third, one never: @1 a third, @10 two thirds; and so by class."""
    first, third, never = fault("a", "f"), fault("b", "g"), fault("b", "h")
    others = [("x", -2.0), ("y", -3.0)]
    table = {
        ("f\nwrong", 1): [("f\nright", -1.0), *others],
        ("g\nwrong", 1): [*others, ("g\nright", -4.0)],
        ("h\nwrong", 1): others,
    }
    result = given_line(Scripted(table), [first, third, never], samples=0)
    assert result["repair"] == pytest.approx({"@1": 1 / 3, "@10": 2 / 3, "@50": 2 / 3})
    assert result["by_class"]["a"] == {"faults": 1, "@1": 1.0, "@10": 1.0, "@50": 1.0}
    assert result["by_class"]["b"] == {"faults": 2, "@1": 0.0, "@10": 0.5, "@50": 0.5}
    assert result["tokens_per_answer"] == 4


def test_without_the_line_answers_of_all_lines_are_ranked_together() -> None:
    """A likelier edit of an innocent line comes before the repair, and costs it the first place."""
    case = fault("a", "f")
    table = {("f\nwrong", 0): [("g\nwrong", -0.5)], ("f\nwrong", 1): [("f\nright", -1.0)]}
    result = without_line(Scripted(table), [case], 100)
    assert (result["repair@1"], result["repair@100"]) == (0.0, 1.0)
    assert without_line(Scripted(table), [case], 1)["repair@1"] == 0.0
