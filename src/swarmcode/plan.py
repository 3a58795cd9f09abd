"""Issue, baseline and suspects -> a plan of file-scoped subtasks.

The deterministic planner works with every model: failing tests whose evidence points at different files become
different subtasks, and no two subtasks write one file. Where the model follows instructions, a planner agent may
propose a plan by JSON schema; what it says is checked, and a plan that does not hold falls back on the deterministic
one. Two patches that must share a file do half as well as one, so conflicts are prevented here, not repaired later.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swarmcode.flow import Mode, Plan, Subtask, Suspect
from swarmcode.localise.suspects import together
from swarmcode.route import ModeChoice, choose_mode, explorers, widths

FEW_LINES = 12
SHARP = 0.6
"""The evidence is sharp where at most so many lines have at least this share of the highest suspicion."""

SPREAD = 4
"""The evidence is weak where at least so many files are suspected nearly alike, or none is."""

EXPLAINS = 0.8
"""A file explains a failing test where its suspicion is at least this share of the highest that the test has."""

FILES_A_SUBTASK = 6
"""Most files that one subtask may write: scope is what keeps subtasks apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the planner goes by."""

    suspects: Mapping[str, tuple[Suspect, ...]]
    """Failing test -> where its fault may be, most suspicious first."""
    files: frozenset[str] = frozenset()
    """Every file that may be changed at all: the scope of an agent that looks around by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a plan may spend."""

    mode: ModeChoice = "auto"
    agents: int = 100
    """At once, for one subtask."""
    attempts: int = 1000
    """In all, for one subtask."""
    protocols: tuple[str, ...] = ("span",)
    """What the model speaks."""


@dataclass(slots=True)
class _Group:
    """Failing tests that one file explains."""

    tests: list[str] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    """File -> highest suspicion for any of the tests."""

    def join(self, other: "_Group") -> None:
        """Takes another's tests, and what they suspect."""
        self.tests += other.tests
        for path, score in other.scores.items():
            self.scores[path] = max(score, self.scores.get(path, 0.0))


def make_plan(evidence: Evidence, effort: Effort, *, first: int = 1) -> Plan:
    """The deterministic plan: every failing test is in exactly one subtask. Subtasks are numbered from `first`, so that
    a run that plans again has no id twice. Raises `UsageError` where the model cannot do what was asked."""
    groups = _groups(evidence.suspects)
    owned = _share_out(groups)
    while (number := _without_place(groups, owned)) is not None:
        lost = groups.pop(number)
        top = max(lost.scores, key=lost.scores.__getitem__)
        max(groups, key=lambda group: group.scores.get(top, 0.0)).join(lost)
        owned = _share_out(groups)
    subtasks = tuple(
        _subtask(str(number), group.tests, files, evidence.suspects)
        for number, (group, files) in enumerate(zip(groups, owned, strict=True), start=first)
    )
    return route(subtasks, effort, evidence.files)


def route(subtasks: tuple[Subtask, ...], effort: Effort, files: frozenset[str] = frozenset()) -> Plan:
    """Chooses mode and widths for subtasks, and says why in one line. An agent that explores, and is alone, may write
    all of `files`: what it has to find is not among the suspects, perhaps."""
    sharp = all(_is_sharp(subtask.suspects) for subtask in subtasks)
    weak = any(_is_weak(subtask.suspects) for subtask in subtasks)
    mode = choose_mode(effort.mode, protocols=effort.protocols, subtasks=len(subtasks), sharp=sharp, weak=weak)
    plan_widths = _widths(mode, effort)
    why = _why(subtasks, plan_widths, sharp=sharp)
    if mode == "agent":
        why += ", looking around with tools" + (" because the evidence is weak" if weak else "")
        if len(subtasks) == 1:
            subtasks = (replace(subtasks[0], writes=subtasks[0].writes | files),)
    return Plan(subtasks=subtasks, mode=mode, widths=plan_widths, why=why)


def _widths(mode: Mode, effort: Effort) -> tuple[int, ...]:
    if mode == "thinking":
        return (1,)
    return explorers(effort.agents) if mode == "agent" else widths(effort.agents, effort.attempts)


def _groups(suspects: Mapping[str, tuple[Suspect, ...]]) -> list[_Group]:
    """Tests by the files that explain them: the one that explains most, then the one that explains most of what is
    left, and so on. One fault shows in tests of many kinds, some of which suspect another file a little more."""
    left = {test: _by_file(places) for test, places in suspects.items()}
    groups = []
    while left:
        explained = _explained(left)
        best = max(
            explained,
            key=lambda path: (len(explained[path]), sum(left[test].get(path, 0.0) for test in explained[path])),
        )
        group = _Group()
        for test in explained[best]:
            group.join(_Group(tests=[test], scores=left.pop(test)))
        groups.append(group)
    return groups


def _explained(tests: Mapping[str, Mapping[str, float]]) -> dict[str, list[str]]:
    """File -> the tests that it explains; those of which nothing is known are explained by no file, together."""
    explained: dict[str, list[str]] = {}
    for test, scores in tests.items():
        least = EXPLAINS * max(scores.values(), default=0.0)
        for path in [path for path, score in scores.items() if score >= least] or [""]:
            explained.setdefault(path, []).append(test)
    return explained


def _by_file(places: Sequence[Suspect]) -> dict[str, float]:
    scores: dict[str, float] = defaultdict(float)
    for suspect in places:
        scores[suspect.path] = max(scores[suspect.path], suspect.score)
    return scores


def _share_out(groups: list[_Group]) -> list[frozenset[str]]:
    """Each file to the group that suspects it most: the files that each group may write."""
    owner: dict[str, int] = {}
    for path in {path for group in groups for path in group.scores}:
        owner[path] = max(range(len(groups)), key=lambda number: groups[number].scores.get(path, 0.0))
    owned = []
    for number, group in enumerate(groups):
        own = sorted((path for path in group.scores if owner[path] == number), key=lambda path: -group.scores[path])
        owned.append(frozenset(own[:FILES_A_SUBTASK]))
    return owned


def _without_place(groups: Sequence[_Group], owned: Sequence[frozenset[str]]) -> int | None:
    """A group whose files are all suspected more by others, by index: alone it could try nothing, and whoever owns its
    most suspicious file would think half of a fix was whole."""
    return next((i for i, files in enumerate(owned) if groups[i].scores and not files), None)


def _subtask(
    name: str, tests: Sequence[str], files: frozenset[str], suspects: Mapping[str, tuple[Suspect, ...]]
) -> Subtask:
    ranked = together([suspect for suspect in suspects.get(test, ()) if suspect.path in files] for test in tests)
    others = {suspect.path for test in tests for suspect in suspects.get(test, ())} - files
    return Subtask(
        id=name,
        goal=_goal(tests),
        tests=tuple(tests),
        suspects=ranked,
        writes=files,
        reads=tuple(sorted(others)),
    )


def _goal(tests: Sequence[str]) -> str:
    return f"{tests[0]} passes" if len(tests) == 1 else f"{tests[0]} and {len(tests) - 1} more failing tests pass"


def _is_sharp(suspects: Sequence[Suspect]) -> bool:
    if not suspects:
        return False
    high = suspects[0].score * SHARP
    return sum(suspect.score >= high for suspect in suspects) <= FEW_LINES


def _is_weak(suspects: Sequence[Suspect]) -> bool:
    """Whether nothing is suspected, or many files are, nearly alike."""
    if not suspects:
        return True
    high = suspects[0].score * SHARP
    return len({suspect.path for suspect in suspects if suspect.score >= high}) >= SPREAD


def _why(subtasks: tuple[Subtask, ...], waves: tuple[int, ...], *, sharp: bool) -> str:
    tests = sum(len(subtask.tests) for subtask in subtasks)
    failing = f"{tests} failing test{'s' if tests > 1 else ''}"
    if not any(subtask.suspects for subtask in subtasks):
        return f"{failing}, and nothing that may be changed is suspicious"
    point = "point" if tests > 1 else "points"
    where = f"{len(subtasks)} separate files" if len(subtasks) > 1 else "one place"
    strength = "few lines are suspicious" if sharp else "many lines are suspicious"
    # What is left of the budget at its end is no news.
    ways = [str(width) for number, width in enumerate(waves) if width > max(waves[:number], default=0)]
    agents = f"{', then '.join(ways)} agents while nothing is proven" if len(ways) > 1 else f"{ways[0]} agents"
    return f"{failing} {point} at {where}, {strength}: {agents}"


class _ProposedSubtask(BaseModel):
    """One subtask as a planner agent writes it."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[A-Za-z0-9_-]+$")]
    goal: Annotated[str, Field(min_length=1, max_length=500)]
    writes: Annotated[list[str], Field(min_length=1, max_length=FILES_A_SUBTASK)]
    reads: Annotated[list[str], Field(max_length=20)] = []
    tests: Annotated[list[str], Field(min_length=1)]
    depends_on: Annotated[list[str], Field(max_length=20)] = []


class _ProposedPlan(BaseModel):
    """A plan as a planner agent writes it."""

    model_config = ConfigDict(extra="forbid")

    subtasks: Annotated[list[_ProposedSubtask], Field(min_length=1, max_length=100)]


def plan_schema() -> str:
    """JSON schema that a planner agent's answer must follow."""
    return json.dumps(_ProposedPlan.model_json_schema())


def check_proposal(
    answer: str, evidence: Evidence, files: frozenset[str], forbidden: frozenset[str], *, first: int = 1
) -> tuple[Subtask, ...]:
    """The subtasks of a planner agent's answer, numbered from `first`.

    Checked: the JSON follows the schema, files exist, none of them is `forbidden` (tests), no two subtasks write one
    file, every failing test is in exactly one subtask, dependencies exist and have no cycle. Raises `ValueError` with
    what does not hold.
    """
    try:
        proposal = _ProposedPlan.model_validate_json(answer)
    except ValidationError as error:
        flaw = error.errors()[0]
        raise ValueError(f"{'.'.join(str(part) for part in flaw['loc']) or 'answer'}: {flaw['msg']}") from error
    _check_names(proposal, evidence)
    _check_files(proposal, files, forbidden)
    numbers = {proposed.id: str(number) for number, proposed in enumerate(proposal.subtasks, start=first)}
    return tuple(_accepted(proposed, numbers, evidence, files) for proposed in proposal.subtasks)


def _accepted(
    proposed: _ProposedSubtask, numbers: Mapping[str, str], evidence: Evidence, files: frozenset[str]
) -> Subtask:
    subtask = _subtask(numbers[proposed.id], proposed.tests, frozenset(proposed.writes), evidence.suspects)
    return replace(
        subtask,
        goal=proposed.goal,
        reads=tuple(path for path in proposed.reads if path in files),
        depends_on=tuple(numbers[name] for name in proposed.depends_on),
    )


def _check_names(proposal: _ProposedPlan, evidence: Evidence) -> None:
    names = [subtask.id for subtask in proposal.subtasks]
    if len(set(names)) < len(names):
        raise ValueError("two subtasks have one id")
    tests = [test for subtask in proposal.subtasks for test in subtask.tests]
    if sorted(tests) != sorted(evidence.suspects):
        raise ValueError("the failing tests are not shared out one to one")
    for subtask in proposal.subtasks:
        if unknown := set(subtask.depends_on) - set(names):
            raise ValueError(f"subtask {subtask.id} depends on {', '.join(sorted(unknown))}, which is not there")
    try:
        TopologicalSorter({subtask.id: subtask.depends_on for subtask in proposal.subtasks}).prepare()
    except CycleError as error:
        raise ValueError(f"subtasks wait for each other: {' -> '.join(error.args[1])}") from error


def _check_files(proposal: _ProposedPlan, files: frozenset[str], forbidden: frozenset[str]) -> None:
    written: set[str] = set()
    for subtask in proposal.subtasks:
        for path in subtask.writes:
            if path not in files:
                raise ValueError(f"subtask {subtask.id} writes {path}, which is not there")
            if path in forbidden:
                raise ValueError(f"subtask {subtask.id} writes {path}, which is a test")
            if path in written:
                raise ValueError(f"two subtasks write {path}")
            written.add(path)
