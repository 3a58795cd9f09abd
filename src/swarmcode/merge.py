"""Passing candidates -> one combination, proven on the whole suite.

Patches that pass one by one prove nothing together, so the combination is what is tested. Subtasks write different
files, so stacking cannot conflict; where the stack fails all the same, the patch that breaks it is found by group
testing (bisection over the stack; Dorfman 1943), gives way to the next best of its subtask, and all is proven anew.
Nothing that is unproven leaves here as accepted.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from swarmcode.flow import Candidate, Changes, Merge, Rejection, Verdict

Solution = tuple[Candidate, Verdict]
"""A candidate with the verdict that it got alone."""

Proof = Callable[[str, Changes, frozenset[str]], Awaitable[Verdict]]
"""Key, changes and the tests that must be turned -> the whole suite's verdict."""

DiffOf = Callable[[Changes], str]
"""The combined diff against the base tree. Raises `DiffError` where it would not apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What is laid over the base tree together."""

    ground: Changes
    """What was merged before; every candidate carries it."""
    solutions: tuple[Solution, ...]

    @property
    def changes(self) -> Changes:
        """The ground, and of each candidate what differs from it: subtasks write different files."""
        combined = dict(self.ground)
        for candidate, _ in self.solutions:
            own = candidate.changes.items()
            combined.update({path: new for path, new in own if path not in self.ground or self.ground[path] != new})
        return combined

    @property
    def expected(self) -> frozenset[str]:
        """Tests that its parts turned one by one."""
        return frozenset().union(*(verdict.turned for _, verdict in self.solutions))

    @property
    def key(self) -> str:
        """Identity of the combination: that of its parts."""
        if len(self.solutions) == 1:
            return self.solutions[0][0].key
        return hashlib.sha256("\n".join(sorted(candidate.key for candidate, _ in self.solutions)).encode()).hexdigest()


async def merge(found: Mapping[str, Sequence[Solution]], prove: Proof, diff_of: DiffOf, *, ground: Changes) -> Merge:
    """Combines the best candidate of each subtask, proves the combination, and repairs it where it fails.

    `found`: subtask -> passing candidates, best first; `ground`: what was merged before. Needs one run of the suite
    where all goes well, and about log2(subtasks) more for each candidate that does not fit. Raises `SandboxLost`.
    """
    choices = {subtask: list(solutions) for subtask, solutions in found.items() if solutions}
    rejected: list[Rejection] = []
    while choices:
        stack = Stack(ground=ground, solutions=tuple(solutions[0] for solutions in choices.values()))
        verdict = await prove(stack.key, stack.changes, stack.expected)
        if verdict.outcome == "passed":
            accepted = tuple(candidate for candidate, _ in stack.solutions)
            diff = diff_of(stack.changes)
            return Merge(accepted=accepted, rejected=tuple(rejected), diff=diff, changes=stack.changes, verdict=verdict)
        culprit = await _culprit(stack, prove)
        reason = _reason(verdict, alone=len(stack.solutions) == 1)
        rejected.append(Rejection(key=culprit.key, subtask=culprit.subtask, reason=reason))
        choices[culprit.subtask].pop(0)
        choices = {subtask: solutions for subtask, solutions in choices.items() if solutions}
    return Merge(accepted=(), rejected=tuple(rejected), diff="", verdict=None)


async def _culprit(stack: Stack, prove: Proof) -> Candidate:
    """The last candidate of the shortest prefix of the stack that fails."""
    good, bad = 0, len(stack.solutions)
    while bad - good > 1:
        middle = (good + bad) // 2
        part = Stack(ground=stack.ground, solutions=stack.solutions[:middle])
        verdict = await prove(part.key, part.changes, part.expected)
        good, bad = (middle, bad) if verdict.outcome == "passed" else (good, middle)
    return stack.solutions[bad - 1][0]


def _reason(verdict: Verdict, *, alone: bool) -> str:
    where = "on the whole suite" if alone else "in combination"
    if verdict.broke:
        return f"{where} it breaks {_some(verdict.broke)}"
    if verdict.still_failing:
        return f"{where} {_some(verdict.still_failing)} fails again"
    return f"{where} the run ends as {verdict.outcome}"


def _some(tests: frozenset[str]) -> str:
    first, *more = sorted(tests)
    return f"{first} and {len(more)} more" if more else first
