"""Which lines failing tests run and passing ones do not: spectrum-based fault localisation. Pure.

Ochiai's coefficient (Abreu, Zoeteweij, van Gemund, "An Evaluation of Similarity Coefficients for Software Fault
Localization", 2006): failed(l) / sqrt(failing * (failed(l) + passed(l))), where failed(l) and passed(l) count the
failing and the passing tests that run line l.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

Coverage = Mapping[str, Mapping[str, frozenset[int]]]
"""Test id -> path -> lines that ran."""

Suspicion = Mapping[str, Mapping[int, float]]
"""Path -> line -> 0..1, only lines that a failing test ran."""


class Spectrum:
    """Coverage of a baseline, counted so that it can be asked for one failing test after another."""

    def __init__(self, covered: Coverage, passing: Iterable[str]) -> None:
        self._covered = covered
        self._passing = [covered[test] for test in passing if test in covered]
        self._passed: dict[str, Counter[int]] = {}

    def ochiai(self, failing: Iterable[str]) -> Suspicion:
        """Suspicion of each line that one of the `failing` tests ran; empty where none of them was traced."""
        traced = [self._covered[test] for test in failing if self._covered.get(test)]
        failed: dict[str, Counter[int]] = {}
        for test in traced:
            for path, lines in test.items():
                failed.setdefault(path, Counter()).update(lines)
        suspicion: dict[str, dict[int, float]] = {}
        for path, counts in failed.items():
            passed = self._passed_lines(path)
            suspicion[path] = {
                line: count / math.sqrt(len(traced) * (count + passed[line])) for line, count in counts.items()
            }
        return suspicion

    def _passed_lines(self, path: str) -> Counter[int]:
        if path not in self._passed:
            counts: Counter[int] = Counter()
            for test in self._passing:
                counts.update(test.get(path, ()))
            self._passed[path] = counts
        return self._passed[path]
