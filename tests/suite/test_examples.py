"""The examples that ship with the repository are what their README says."""

import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

FAILING = {
    "invoicing": {"tests/test_invoice.py::test_paid_after_a_return"},
    "roombook": {"tests/test_planner.py::test_last_hour_of_the_day"},
    "tabkit": {
        "tests/test_config.py::test_settings_override_defaults",
        "tests/test_table.py::test_cell_as_wide_as_the_column",
        "tests/test_units.py::test_parse_compound_duration",
    },
    "throttle": {
        "tests/test_window.py::test_never_more_than_the_limit_in_any_stretch",
        "tests/test_window.py::test_retry_after_is_when_a_call_is_possible",
    },
}


@pytest.mark.parametrize("name", sorted(FAILING))
def test_exactly_the_named_tests_fail(project, name: str) -> None:
    """Each example's suite runs with nothing but pytest; only the tests of its issue fail, and it takes no time."""
    shutil.copytree(EXAMPLES / name, project.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (project.root / "pytest.ini").unlink()
    run = project.run()
    assert (run.outcome, run.complaint) == ("finished", "")
    assert run.failing == FAILING[name]
    assert len(run.passing) >= 15
    assert sum(test.seconds for test in run.tests.values()) < 1
    counts = f"{len(run.failing)} of {len(run.tests)}"
    assert counts in next(line for line in (EXAMPLES / "README.md").read_text().splitlines() if f"`{name}`" in line)


def test_every_example_is_looked_at() -> None:
    """No example goes unchecked."""
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == set(FAILING)
    assert all((EXAMPLES / name / "ISSUE.md").read_text().strip() for name in FAILING)
