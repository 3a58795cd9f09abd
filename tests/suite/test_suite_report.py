"""The reader of reports, on its own: a report counts only where every line of it is as the probe wrote it."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.flow import Frame
from swarmcode.suite.ask import Ask
from swarmcode.suite.probe import REPORT_BYTES, Request, read_report

KEY = b"k" * 32
ENDED = {"outcome": "passed", "seconds": 0.5, "message": "", "frames": [], "lines": None}


def session(*records: dict[str, Any], key: bytes = KEY, name: str = "0" * 16, **close: Any) -> list[bytes]:
    """Lines of a session as the probe writes them."""
    done = sum(record["kind"] == "test" for record in records)
    closing = {"kind": "close", "exit": 0, "planned": done, "done": done, "stopped": False, **close}
    lines = []
    seal = hashlib.blake2b(key=key, digest_size=16)
    for record in ({"kind": "open", "python": "3.11", "pytest": "9"}, *records, closing):
        lines.append(json.dumps({"session": name, **record}).encode() + b"\n")
        seal.update(lines[-1])
    lines.append(json.dumps({"session": name, "kind": "seal", "digest": seal.hexdigest()}).encode() + b"\n")
    return lines


def ended(name: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "test", "id": name, **ENDED, **fields}


WHOLE = session({"kind": "plan", "tests": 2, "unknown": []}, ended("a"), ended("b", outcome="failed"))


def test_a_whole_report() -> None:
    """What the probe wrote comes out as values."""
    reading = read_report(
        b"".join(
            session(
                {"kind": "collect", "id": "t.py", "outcome": "error", "message": "E: x", "frames": []},
                {"kind": "plan", "tests": 1, "unknown": ["c"]},
                {"kind": "start", "id": "a"},
                ended("a", frames=[["src/m.py", 3, "f"]], lines={"src/m.py": [[1, 2], [5, 5]]}),
                exit=1,
            )
        ),
        KEY,
    )
    assert (reading.opened, reading.flaw, reading.running) == (True, "", "")
    assert (reading.uncollected, reading.unknown) == (("t.py",), {"c"})
    assert reading.tests["a"].frames == (Frame(path="src/m.py", line=3, function="f"),)
    assert reading.covered == {"a": {"src/m.py": {1, 2, 5}}}


@pytest.mark.parametrize("report", [None, b"", b"no line end"])
def test_no_report(report: bytes | None) -> None:
    """Nothing at all is no flaw: pytest did not run."""
    reading = read_report(report, KEY)
    assert (reading.opened, reading.flaw, reading.tests) == (False, "", {})


@given(st.integers(0, len(WHOLE) - 1))
def test_a_missing_line(place: int) -> None:
    """No line can be taken away."""
    assert read_report(b"".join(WHOLE[:place] + WHOLE[place + 1 :]), KEY).flaw


@given(st.integers(0, len(b"".join(WHOLE)) - 1), st.integers(0, 255))
def test_a_changed_byte(place: int, byte: int) -> None:
    """No byte can be changed."""
    whole = b"".join(WHOLE)
    changed = whole[:place] + bytes([byte]) + whole[place + 1 :]
    assert changed == whole or read_report(changed, KEY).flaw


@given(st.integers(1, len(b"".join(WHOLE)) - 1))
def test_a_cut_report(length: int) -> None:
    """However little is cut off, the report is not whole; and it never speaks of a test that did not end."""
    reading = read_report(b"".join(WHOLE)[:length], KEY)
    assert reading.flaw or not reading.opened
    assert set(reading.tests) <= {"a", "b"}


@given(st.binary(max_size=400))
def test_any_bytes(noise: bytes) -> None:
    """Noise is never an error of the reader and never a whole report."""
    reading = read_report(noise + b"\n", KEY)
    assert reading.flaw
    assert not reading.tests


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(ENDED | {"id": 0, "kind": 0, "session": 0})), _JSON)
def test_any_field(name: str, value: object) -> None:
    """Whatever stands in a field, the reader takes it or calls it a flaw; it never fails."""
    record = {**ended("a"), name: value}
    lines = session({"kind": "plan", "tests": 1, "unknown": []}, record, done=1, planned=1)
    reading = read_report(b"".join(lines), KEY)
    assert reading.flaw or reading.tests


@pytest.mark.parametrize(
    ("lines", "flaw"),
    [
        (session(ended("a"), key=b"x" * 32), "wrong seal"),
        (WHOLE[:-2], "ended between tests"),
        (WHOLE[:1], "ended before any test"),
        ([*WHOLE[:2], b'{"session":"0000000000000000","kind":"start","id":"c"}\n'], "ended in c"),
        (WHOLE + WHOLE[2:3], "goes on after its end"),
        (WHOLE + WHOLE, "opens one twice"),
        ([*WHOLE, b'{"session":"1111111111111111","kind":"start","id":"c"}\n'], "belongs to no session"),
        (session(ended("a"), planned=2), "after 1 of 2 tests"),
        (session(ended("a"), done=3, planned=3), "after 1 of 3 tests"),
        (session(ended("a"), exit=2), "interrupted"),
        (session(ended("a"), exit=3), "internal error"),
        (session(ended("a"), exit=77), "status 77"),
        (session(ended("a", frames=[["/etc/passwd", 1, "f"]])), "malformed"),
        (session(ended("a", frames=[["a/../../b", 1, "f"]])), "malformed"),
        (session(ended("a", lines={"../b.py": [[1, 1]]})), "malformed"),
        (session(ended("a", lines={"b.py": [[2, 1]]})), "impossible lines"),
        (session(ended("a", lines={"b.py": [[1, 1_000_000]] * 21})), "impossible lines"),
        (session(ended("a", outcome="excellent")), "malformed"),
        (session(ended("a", seconds=float("nan"))), "malformed"),
        (session(ended("a", more=1)), "malformed"),
    ],
)
def test_flaws(lines: Sequence[bytes], flaw: str) -> None:
    """Each way in which a report can fail to be whole has its words."""
    assert flaw in read_report(b"".join(lines), KEY).flaw


def test_a_huge_report() -> None:
    """A report beyond all measure is not even looked at."""
    assert "larger than" in read_report(b"{" * (REPORT_BYTES + 1), KEY).flaw


def test_two_sessions() -> None:
    """Lines of two sessions may mingle; a test that is in both has its worse outcome."""
    one = session(ended("a"), ended("b"))
    two = session(ended("a", outcome="failed"), name="1" * 16, exit=1)
    mingled = [line for pair in zip(one, [*two, b""], strict=False) for line in pair] + one[len(two) + 1 :]
    reading = read_report(b"".join(mingled), KEY)
    assert reading.flaw == ""
    assert {name: test.outcome for name, test in reading.tests.items()} == {"a": "failed", "b": "passed"}


def test_one_of_two_sessions_is_cut() -> None:
    """One session that is not whole spoils the report."""
    assert read_report(b"".join(WHOLE + session(ended("c"), name="1" * 16)[:-1]), KEY).flaw


def test_requests_never_repeat_their_key() -> None:
    """Each run has a key of its own, which no representation shows."""
    one, two = (Request(ask=Ask(), report="r") for _ in range(2))
    assert one.key != two.key
    assert one.key.hex() not in repr(one)
    assert repr(one.key) not in repr(one)
