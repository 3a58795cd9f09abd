"""The report as JSON, against its reference."""

import json
from dataclasses import fields, replace
from pathlib import Path

from swarmcode.flow import Report, Reproduction
from swarmcode.report.jsonreport import SCHEMA_VERSION, render

REFERENCE = Path(__file__).parents[2] / "docs" / "report.md"


def test_it_has_the_fields_of_a_report_in_their_order(report: Report) -> None:
    """Version and outcome first, then every field of `Report`: the same run gives the same text."""
    data = json.loads(render(report))
    assert list(data) == ["schema_version", "fixed", *(each.name for each in fields(Report))]
    assert data["schema_version"] == SCHEMA_VERSION
    assert render(report) == render(replace(report))


def test_it_says_what_is_proven(report: Report) -> None:
    """A proven part is proven and not a fix."""
    data = json.loads(render(report))
    assert data["fixed"] is False
    assert data["merge"]["proven"] is True
    assert data["merge"]["accepted"][0]["files"] == ["shop/a.py"]
    assert json.loads(render(replace(report, unsolved=())))["fixed"] is True


def test_it_is_strict_json(report: Report) -> None:
    """Scores of attempts that gave nothing are null, never -Infinity; everything is ASCII, escape sequences escaped."""
    text = render(replace(report, why="\x1b[31m–"))
    data = json.loads(text, parse_constant=lambda name: name)
    assert data["attempts"][0]["score"] is None
    assert data["why"] == "\x1b[31m–"
    assert text.isascii()
    assert "\x1b" not in text
    assert text.endswith("}\n")


def test_it_leaves_out_whole_files_and_coverage(report: Report, written: Reproduction) -> None:
    """What is large and says nothing more is not there."""
    data = json.loads(render(replace(report, reproduction=written)))
    assert "covered" not in data["baseline"]
    assert "changes" not in data["merge"]["accepted"][0]
    assert "changes" not in data["reproduction"]


def test_a_run_that_ended_early_has_a_report(report: Report) -> None:
    """No baseline and no merge are null."""
    data = json.loads(render(replace(report, baseline=None, merge=None)))
    assert (data["baseline"], data["merge"]) == (None, None)


def test_the_reference_names_every_field(report: Report, written: Reproduction) -> None:
    """docs/report.md knows each key that a report has, wherever it stands."""
    reference = REFERENCE.read_text()
    unknown = [
        key for key in keys(json.loads(render(replace(report, reproduction=written)))) if f"`{key}`" not in reference
    ]
    assert not unknown


def keys(data: object) -> set[str]:
    """Every key of every object of fixed shape; `verdicts` and `tests` are keyed by what is in the run."""
    if isinstance(data, list):
        return set().union(*map(keys, data))
    if not isinstance(data, dict):
        return set()
    found = set(data)
    for key, value in data.items():
        keyed = key in ("verdicts", "tests") and isinstance(value, dict)
        found |= keys(list(value.values())) if keyed else keys(value)
    return found
