"""Fuses what points at the fault (stack traces, coverage, the issue's places and words) into ranked lines.

Each signal gives a line 0..1; the score is their mean, weighted by `WEIGHTS`, over the signals that there are. Any of
them may be missing: without coverage or in another language the others carry on. Vendored and generated files are no
suspects, unless there is nothing else; tests, what steers them, and lines without code never are, as to change a test
is no way to pass it. Only files that a signal points at are parsed.
"""

import heapq
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal

from swarmcode.flow import Baseline, Frame, Suspect, TestResult
from swarmcode.localise.loading import before_tests
from swarmcode.localise.prior import prior
from swarmcode.localise.spectrum import Spectrum, Suspicion
from swarmcode.localise.symbols import innermost, lines, outline, rows, shares
from swarmcode.localise.text import Document, coarse, match, terms
from swarmcode.localise.traceback import Files, mentions
from swarmcode.roles import is_generated, is_test, is_vendored, steers_tests
from swarmcode.syntax import language_of
from swarmcode.tree import Tree

Signal = Literal["spectrum", "trace", "place", "words", "prior"]

WEIGHTS: Final[Mapping[Signal, float]] = {
    # The one signal that is measured and not told: a line that the failing test never ran is innocent.
    "spectrum": 0.6,
    # Where it crashed is often near the fault, seldom the fault itself: twice this weight found fewer at the first try.
    "trace": 0.12,
    # A line that a person wrote into the issue: mostly a pasted trace, sometimes a diagnosis.
    "place": 0.2,
    # Names and words: right about the function more often than about the line.
    "words": 0.12,
    # How faults are spread over kinds of lines; breaks the many ties of the spectrum.
    "prior": 0.1,
}
"""Share of each signal in the score; measured with `bench/localise.py`."""

NEAR: Final = 5
"""Lines before a crash that share its suspicion: a wrong value is made before it is used."""
FILES: Final = 40
"""Files that are looked at closely."""
SCANNED_BYTES: Final = 40_000_000
LARGEST_FILE: Final = 500_000
"""Bytes; longer files hold data or come from a generator."""
TOLD_BY_TESTS: Final = 0.6
"""What a word of the failing tests tells, against one of the issue."""
HEARSAY: Final = 0.5
"""Share of suspicion that what runs before any test takes from the suspicious lines that use it."""

_NAME: Final = re.compile(rb"[A-Za-z_]\w*")


@dataclass(slots=True)
class _Line:
    """What is known of one line."""

    signals: dict[Signal, float] = field(default_factory=dict)
    evidence: dict[str, None] = field(default_factory=dict)

    def add(self, signal: Signal, value: float, evidence: str = "") -> None:
        if value > self.signals.get(signal, 0.0):
            self.signals[signal] = value
        if evidence:
            self.evidence[evidence] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """Words to look for, with their weights."""

    issue: Mapping[str, float]
    tests: Mapping[str, float]

    @property
    def merged(self) -> Mapping[str, float]:
        weights = {term: TOLD_BY_TESTS * weight for term, weight in self.tests.items()}
        return weights | {term: max(weight, weights.get(term, 0.0)) for term, weight in self.issue.items()}


_Lines = defaultdict[tuple[str, int], _Line]


def rank(
    issue_text: str, baseline: Baseline, tree: Tree, tests: Iterable[str] | None = None, limit: int = 200
) -> tuple[Suspect, ...]:
    """Lines that may hold the fault, most suspicious first; at most `limit`.

    `tests`: the failing tests that it is to explain; None: all that fail. Suspects are single lines; scores are in 0..1
    and comparable between calls on one baseline.
    """
    return Localiser(issue_text, baseline, tree).rank(tests, limit)


class Localiser:
    """One issue and one baseline on one tree, to be asked for one failing test after another."""

    def __init__(self, issue_text: str, baseline: Baseline, tree: Tree) -> None:
        self._issue = issue_text
        self._baseline = baseline
        self._tree = tree
        self._files = Files(tree.files)
        self._places = mentions(issue_text, self._files)
        self._spectrum = Spectrum(baseline.covered, baseline.passing)
        self._sources: dict[str, bytes | None] = {}
        self._eligible: dict[str, bool] = {}
        self._told: dict[str, list[tuple[list[int], Document]]] = {}
        self._said: dict[tuple[str, ...], list[float]] = {}
        """Files -> how well each of their symbols answers the issue."""

    def rank(self, tests: Iterable[str] | None = None, limit: int = 200) -> tuple[Suspect, ...]:
        """As the function `rank`."""
        failing = tuple(self._baseline.failing if tests is None else tests)
        own = {path for path in self._tree.files if self._is_own(path)}
        code = {path for path in self._tree.files if not (is_test(path) or steers_tests(path))}
        return self._ranked(failing, own, limit, own=True) or self._ranked(failing, code, limit, own=False)

    def _ranked(
        self, failing: Sequence[str], allowed: Collection[str], limit: int, *, own: bool
    ) -> tuple[Suspect, ...]:
        results = [self._baseline.run.tests[test] for test in failing if test in self._baseline.run.tests]
        suspicion = {path: found for path, found in self._spectrum.ochiai(failing).items() if path in allowed}
        traces = [(result.id, self._frames(result, allowed)) for result in results]
        places = [frame for frame in self._places if frame.path in allowed]
        query = self._query(failing, results)
        named = [*(frame for _, frames in traces for frame in frames), *places]
        chosen = self._chosen(suspicion, named, query, allowed, own=own)
        known: _Lines = defaultdict(_Line)
        self._add_spectrum(known, suspicion, chosen)
        for test, frames in traces:
            for depth, frame in enumerate(frame for frame in reversed(frames) if frame.path in chosen):
                self._add_place(known, frame, "trace", 0.7**depth, f"in the trace of {test}")
        for frame in (frame for frame in places if frame.path in chosen):
            self._add_place(known, frame, "place", 1.0, f"{frame.path}:{frame.line} is named in the issue")
        self._add_words(known, query, chosen, only_known=bool(suspicion))
        if not known:
            for path in chosen:
                for line in lines(path, self._read(path)).code:
                    known[path, line].add("prior", 0.0, "nothing points anywhere in particular")
        return self._scored(known, limit)

    def _is_own(self, path: str) -> bool:
        """Whether somebody wrote the file for this project, and not as a test."""
        if path not in self._eligible:
            self._eligible[path] = not (is_test(path) or is_vendored(path) or is_generated(path))
        return self._eligible[path]

    def _source(self, path: str) -> bytes | None:
        if path not in self._sources:
            source = self._tree.read(path)
            readable = source is not None and len(source) <= LARGEST_FILE and b"\0" not in source[:8000]
            self._sources[path] = source if readable else None
        return self._sources[path]

    def _read(self, path: str) -> bytes:
        source = self._source(path)
        assert source is not None, "only readable files are looked at closely"
        return source

    def _frames(self, result: TestResult, allowed: Collection[str]) -> list[Frame]:
        """The stack inside the code under test, outermost first; from the message where the runner gave none."""
        frames = result.frames or mentions(result.message, self._files)
        return [frame for frame in frames if frame.path in allowed]

    def _query(self, failing: Sequence[str], results: Sequence[TestResult]) -> _Query:
        """What the issue says; and what the failing tests are called, say and call."""
        told = [*failing, *(result.message for result in results), *(self._body(test) for test in failing)]
        return _Query(issue=terms(self._issue), tests=terms("\n".join(told)))

    def _body(self, test: str) -> str:
        """The test's own code, found by a pytest node id; else nothing."""
        path, *names = test.partition("[")[0].split("::")
        source = self._source(path) if path in self._tree.files else None
        if source is None or not names:
            return ""
        wanted = ".".join(names)
        symbol = next((symbol for symbol in outline(path, source) if symbol.name == wanted), None)
        return _text(source, range(symbol.start, symbol.end + 1)) if symbol else ""

    def _chosen(
        self,
        suspicion: Suspicion,
        frames: Iterable[Frame],
        query: _Query,
        allowed: Collection[str],
        *,
        own: bool,
    ) -> list[str]:
        """The files worth a closer look, most promising first."""
        chosen = dict.fromkeys(frame.path for frame in frames)
        chosen |= dict.fromkeys(sorted(suspicion, key=lambda path: -max(suspicion[path].values(), default=0.0)))
        if not suspicion:
            scores = coarse(query.merged, self._contents(allowed, own=own))
            chosen |= dict.fromkeys(sorted(scores, key=lambda path: (-scores[path], path)))
            if not scores:
                chosen |= dict.fromkeys(sorted(path for path in allowed if language_of(path)))
        fit = (
            path
            for path in chosen
            if (source := self._source(path)) is not None and not (own and is_generated(path, source))
        )
        return list(islice(fit, FILES))

    def _contents(self, allowed: Collection[str], *, own: bool) -> dict[str, bytes]:
        contents: dict[str, bytes] = {}
        total = 0
        for path in sorted(allowed):
            source = self._source(path) if language_of(path) else None
            if source is not None and not (own and is_generated(path, source)):
                contents[path] = source
                total += len(source)
            if total > SCANNED_BYTES:
                break
        return contents

    def _add_spectrum(self, known: _Lines, suspicion: Suspicion, chosen: Iterable[str]) -> None:
        used: dict[bytes, float] = {}
        ran = [path for path in chosen if path in suspicion]
        for path in ran:
            source = self._read(path)
            texts, facts = rows(source), lines(path, source)
            for line in facts.code:
                value = suspicion[path].get(line) or suspicion[path].get(facts.statement.get(line, 0), 0.0)
                if value:
                    known[path, line].add("spectrum", value, f"spectrum {value:.2f}")
                    for name in _NAME.findall(texts[line - 1]):
                        used[name] = max(value, used.get(name, 0.0))
        for path in ran:
            for line, value in before_tests(path, self._read(path), used, suspicion[path]).items():
                if (path, line) not in known:
                    known[path, line].add("spectrum", value * HEARSAY, "defines what suspicious lines use")

    def _add_place(self, known: _Lines, frame: Frame, signal: Signal, value: float, evidence: str) -> None:
        """A line, those shortly before it, and a little of the function around it."""
        source = self._read(frame.path)
        facts = lines(frame.path, source)
        symbol = innermost(frame.path, source, frame.line)
        start, end = (symbol.start, symbol.end) if symbol else (frame.line, frame.line)
        for line in facts.code:
            before = frame.line - line
            if line == frame.line or facts.statement.get(line) == facts.statement.get(frame.line, frame.line):
                known[frame.path, line].add(signal, value, evidence)
            elif start <= line <= end:
                near = 0.6 * 0.85**before if 0 < before <= NEAR else 0.0
                known[frame.path, line].add(signal, value * max(near, 0.25), f"in a function {evidence}")

    def _add_words(self, known: _Lines, query: _Query, chosen: Iterable[str], *, only_known: bool) -> None:
        homes = [(path, inside, document) for path in chosen for inside, document in self._documents(path)]
        documents = [document for _, _, document in homes]
        if (said := self._said.get(tuple(chosen))) is None:
            said = self._said[tuple(chosen)] = match(query.issue, documents)
        called = match(query.tests, documents)
        for (path, inside, document), by_issue, by_tests in zip(homes, said, called, strict=True):
            value = 1 - (1 - by_issue) * (1 - TOLD_BY_TESTS * by_tests)
            speaker = "issue" if by_issue >= TOLD_BY_TESTS * by_tests else "failing test"
            evidence = f"words of the {speaker} fit {document.name or path}" if value else ""
            for line in inside:
                if (path, line) in known or (value and not only_known):
                    known[path, line].add("words", value, evidence)

    def _documents(self, path: str) -> list[tuple[list[int], Document]]:
        """The file's symbols, and what stands in none: their code lines, and their words."""
        if path not in self._told:
            source = self._read(path)
            self._told[path] = [
                (inside, Document.of(name=symbol.name if symbol else "", path=path, body=_text(source, inside)))
                for symbol, inside in shares(path, source)
            ]
        return self._told[path]

    def _scored(self, known: _Lines, limit: int) -> tuple[Suspect, ...]:
        there = {signal for line in known.values() for signal in line.signals} | {"prior"}
        whole = sum(weight for signal, weight in WEIGHTS.items() if signal in there)
        scores: dict[tuple[str, int], float] = {}
        for (path, number), line in known.items():
            line.add("prior", prior(_text(self._read(path), (number,))))
            scores[path, number] = sum(WEIGHTS[signal] * value for signal, value in line.signals.items()) / whole
        best = heapq.nsmallest(limit, scores, key=lambda place: (-scores[place], place))
        return tuple(self._suspect(path, number, scores[path, number], known[path, number]) for path, number in best)

    def _suspect(self, path: str, number: int, score: float, line: _Line) -> Suspect:
        symbol = innermost(path, self._read(path), number)
        return Suspect(
            path=path,
            symbol=symbol.name if symbol else "",
            start=number,
            end=number,
            score=min(max(score, 0.0), 1.0),
            evidence=tuple(line.evidence),
        )


def _text(source: bytes, numbers: Iterable[int]) -> str:
    texts = rows(source)
    return b"\n".join(texts[number - 1] for number in numbers).decode(errors="replace")
