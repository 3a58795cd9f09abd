"""This side of the probe: the request that goes into the box, and the report that comes out.

A report is untrusted: sizes are bounded, every line is checked against its model, and it counts only where each session
in it is closed and sealed with the request's key. What a seal guards against, and what nothing can guard against inside
one process, is said in `sandboxes/probe/swarmcode_probe.py`.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from swarmcode import assets
from swarmcode.flow import Frame, TestOutcome, TestResult
from swarmcode.suite.ask import Ask

Spectrum = Mapping[str, Mapping[str, frozenset[int]]]
"""Test id -> path -> lines that ran."""

PLUGIN = "swarmcode_probe"
REPORT_BYTES = 64 * 1024 * 1024
SPECTRUM_LINES = 20_000_000
_WORST = ("passed", "skipped", "error", "failed")
_EXITS = {2: "pytest was interrupted", 3: "pytest met an internal error", 4: "pytest was called wrongly"}


def folder() -> Path:
    """The folder that a box must be able to read, at this very path, for the probe to load."""
    return assets.folder("sandboxes") / "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An `Ask` on its way to the probe."""

    ask: Ask
    report: str
    """Plain name of the report, which is written beside the request."""
    trace_seconds: float | None = None
    """Lines are recorded for tests that begin within this time; None: not at all."""
    test_seconds: float = 0.0
    """A phase of a test that takes longer fails; 0: no limit."""
    once: bool = True
    """Whether the command runs pytest a single time, so that the request may be removed as soon as it is read."""
    terse: bool = False
    """Whether pytest need not print how tests failed: the report says it."""
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Seals the report."""

    def encode(self) -> bytes:
        """JSON, as the probe reads it."""
        content = {
            "report": self.report,
            "key": self.key.hex(),
            "once": self.once,
            "terse": self.terse,
            "test_seconds": self.test_seconds,
            "select": list(self.ask.select),
            "first": list(self.ask.first),
            "deselect": sorted(self.ask.deselect),
            "stop_on": "any" if self.ask.stop_on == "any" else sorted(self.ask.stop_on),
            "trace": self.trace_seconds is not None,
            "trace_seconds": self.trace_seconds or 0.0,
        }
        return json.dumps(content).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a report says."""

    opened: bool
    """Whether pytest ran at all, with the probe in it."""
    flaw: str
    """Why the report is not whole; empty: it is."""
    tests: Mapping[str, TestResult]
    """By id; files that could not be collected, and files that were asked for, are among them."""
    uncollected: tuple[str, ...]
    """Ids of files that could not be collected."""
    unknown: frozenset[str]
    """Ids that were asked for and are not there."""
    running: str
    """The test that had begun and not ended; empty: none."""
    covered: Spectrum


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError("leaves the repository")
    return path


_Id = Annotated[str, Field(min_length=1)]  # parametrised ids may hold whole documents
_Text = Annotated[str, Field(max_length=8192)]
_Path = Annotated[str, Field(max_length=4096), AfterValidator(_inside)]
_Line = Annotated[int, Field(ge=1, le=1_000_000)]
_Count = Annotated[int, Field(ge=-1, le=10_000_000)]
_Frames = Annotated[tuple[tuple[_Path, _Line, _Text], ...], Field(max_length=256)]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    session: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class _Open(_Record):
    kind: Literal["open"]
    python: _Text
    pytest: _Text


class _Collect(_Record):
    kind: Literal["collect"]
    id: _Id
    outcome: Literal["passed", "error"]
    message: _Text
    frames: _Frames


class _Plan(_Record):
    kind: Literal["plan"]
    tests: _Count
    unknown: tuple[_Id, ...]


class _Start(_Record):
    kind: Literal["start"]
    id: _Id


class _Test(_Record):
    kind: Literal["test"]
    id: _Id
    outcome: TestOutcome
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    message: _Text
    frames: _Frames
    lines: dict[_Path, tuple[tuple[_Line, _Line], ...]] | None


class _Close(_Record):
    kind: Literal["close"]
    exit: int
    planned: _Count
    done: _Count
    stopped: bool


class _Seal(_Record):
    kind: Literal["seal"]
    digest: Annotated[str, Field(max_length=64)]


_AnyRecord = _Open | _Collect | _Plan | _Start | _Test | _Close | _Seal
_records: TypeAdapter[_AnyRecord] = TypeAdapter(Annotated[_AnyRecord, Field(discriminator="kind")])


class _Session:
    """One run of pytest, as its lines come in."""

    def __init__(self, key: bytes) -> None:
        self._digest = hashlib.blake2b(key=key, digest_size=16)
        self._close: _Close | None = None
        self._sealed = False
        self._done = 0
        self._planned = False
        self._running = ""

    def take(self, record: _AnyRecord, line: bytes) -> None:
        """Raises `ValueError` where the line cannot stand here."""
        if self._sealed or (self._close is not None and not isinstance(record, _Seal)):
            raise ValueError("goes on after its end")
        if isinstance(record, _Seal):
            self._sealed = self._close is not None and hmac.compare_digest(record.digest, self._digest.hexdigest())
            if not self._sealed:
                raise ValueError("has a wrong seal")
            return
        self._digest.update(line)
        if isinstance(record, _Plan):
            self._planned = True
        elif isinstance(record, _Start):
            self._running = record.id
        elif isinstance(record, _Test):
            self._running = ""
            self._done += 1
        elif isinstance(record, _Close):
            self._close = record

    @property
    def running(self) -> str:
        return self._running

    @property
    def flaw(self) -> str:
        close = self._close
        if close is None or not self._sealed:
            where = f"in {self._running}" if self._running else "between tests" if self._planned else "before any test"
            return f"the test process ended {where}"
        if close.exit not in (0, 1, 5):
            return _EXITS.get(close.exit, f"pytest ended with status {close.exit}")
        if self._done != close.done or (close.done != close.planned and not close.stopped):
            return f"the session ended after {self._done} of {close.planned} tests"
        return ""


def read_report(report: bytes | None, key: bytes) -> Reading:
    """What the report says; None or empty: pytest did not run, or did not get as far as its plugins. Never raises."""
    reader = _Reader(key)
    if report is not None and len(report) > REPORT_BYTES:
        reader.flaw = f"the report is larger than {REPORT_BYTES} bytes"
    else:
        reader.take_all((report or b"").split(b"\n"))
    return reader.reading()


class _Reader:
    def __init__(self, key: bytes) -> None:
        self._key = key
        self._sessions: dict[str, _Session] = {}
        self._tests: dict[str, TestResult] = {}
        self._uncollected: dict[str, None] = {}
        self._unknown: set[str] = set()
        self._covered: dict[str, dict[str, frozenset[int]]] = {}
        self._lines = 0
        self.flaw = ""

    def take_all(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines[:-1], 1):  # what follows the last line end was cut off while it was written
            try:
                self._take(_records.validate_json(line), line + b"\n")
            except ValidationError:
                self.flaw = f"line {number} of the report is malformed"
            except ValueError as error:
                self.flaw = f"line {number} of the report {error}"
            if self.flaw:
                return

    def _take(self, record: _AnyRecord, line: bytes) -> None:
        if isinstance(record, _Open) == (record.session in self._sessions):
            raise ValueError("belongs to no session, or opens one twice")
        self._sessions.setdefault(record.session, _Session(self._key)).take(record, line)
        if isinstance(record, _Collect):
            if record.outcome == "error":
                self._uncollected[record.id] = None
            self._note(record.id, record.outcome, 0.0, record.message, record.frames)
        elif isinstance(record, _Plan):
            self._unknown.update(record.unknown)
        elif isinstance(record, _Test):
            self._note(record.id, record.outcome, record.seconds, record.message, record.frames)
            if record.lines is not None:
                self._covered[record.id] = {path: self._expand(ranges) for path, ranges in record.lines.items()}

    def _note(
        self, name: str, outcome: TestOutcome, seconds: float, message: str, frames: Iterable[tuple[str, int, str]]
    ) -> None:
        before = self._tests.get(name)
        if before is not None and _WORST.index(before.outcome) >= _WORST.index(outcome):
            return  # an id that comes twice is as good as its worst
        stack = tuple(Frame(path=path, line=line, function=function) for path, line, function in frames)
        self._tests[name] = TestResult(id=name, outcome=outcome, seconds=seconds, message=message, frames=stack)

    def _expand(self, ranges: Iterable[tuple[int, int]]) -> frozenset[int]:
        ranges = tuple(ranges)
        self._lines += sum(last - first + 1 for first, last in ranges)
        if any(last < first for first, last in ranges) or self._lines > SPECTRUM_LINES:
            raise ValueError("claims impossible lines")
        return frozenset(line for first, last in ranges for line in range(first, last + 1))

    def reading(self) -> Reading:
        flaws = [session.flaw for session in self._sessions.values() if session.flaw]
        running = [session.running for session in self._sessions.values() if session.running]
        return Reading(
            opened=bool(self._sessions) or bool(self.flaw),
            flaw=self.flaw or (flaws[0] if flaws else ""),
            tests=self._tests,
            uncollected=tuple(self._uncollected),
            # In a command with several sessions, each knows only its own tests.
            unknown=frozenset(self._unknown - self._tests.keys()),
            running=running[-1] if running else "",
            covered=self._covered,
        )
