"""The report as JSON: for scripts, CI and later analysis. `docs/report.md` is its reference.

It has the fields of `flow.Report`, in their order. Left out: whole files (the diff says the same, and `files` their
names) and the coverage, which is large and means nothing outside the run.
"""

import json
from typing import Any

from swarmcode.codec import encode
from swarmcode.flow import Report

SCHEMA_VERSION = 1
"""Rises when a field changes its meaning or goes; not when one is added."""


def as_data(report: Report) -> dict[str, Any]:
    """What is written, before it is written."""
    data: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "fixed": report.fixed, **encode(report)}
    if data["baseline"] is not None:
        del data["baseline"]["covered"]
    for attempt in data["attempts"]:
        attempt["score"] = _finite(attempt["score"])
    if data["merge"] is not None:
        data["merge"]["proven"] = report.merge is not None and report.merge.proven
        data["merge"]["files"] = sorted(data["merge"].pop("changes"))
        for candidate in data["merge"]["accepted"]:
            candidate["files"] = sorted(candidate.pop("changes"))
            candidate["score"] = _finite(candidate["score"])
    if data["reproduction"] is not None:
        del data["reproduction"]["changes"]
    return data


def render(report: Report) -> str:
    """The report as text in JSON (ASCII only, so no terminal obeys it), with a final newline."""
    return json.dumps(as_data(report), indent=2, allow_nan=False) + "\n"


def _finite(score: float | str) -> float | None:
    """The codec writes numbers that JSON does not know as text; a reader of the report is better served by null."""
    return None if isinstance(score, str) else score
