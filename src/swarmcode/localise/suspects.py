"""Where the fault behind each failing test may be, and what of it matters most. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from swarmcode.diff import is_test_file
from swarmcode.flow import Baseline, Suspect
from swarmcode.localise.rank import Localiser
from swarmcode.tree import Tree

SHARED = 0.8
"""Share of the mean over tests in a place's suspicion; the rest is the highest that one of them has. Most often tests
that fail together have one fault, which all of them reach; where they have two, the highest is right."""


def suspected(text: str, baseline: Baseline, tree: Tree, checks: frozenset[str]) -> dict[str, tuple[Suspect, ...]]:
    """Failing test -> where its fault may be, by an issue's text among others: nowhere in `checks`, the files that the
    test command itself runs."""
    localiser = Localiser(text, baseline, tree)
    ranked = {test: localiser.rank([test]) for test in baseline.failing}
    return {test: tuple(place for place in places if place.path not in checks) for test, places in ranked.items()}


def together(suspects: Iterable[Sequence[Suspect]]) -> tuple[Suspect, ...]:
    """Where the fault behind several tests may be, from where it may be for each: each place once, most suspicious
    first."""
    each = list(suspects)
    highest: dict[tuple[str, int], Suspect] = {}
    total: defaultdict[tuple[str, int], float] = defaultdict(float)
    for suspect in (suspect for places in each for suspect in places):
        place = (suspect.path, suspect.start)
        total[place] += suspect.score
        if place not in highest or highest[place].score < suspect.score:
            highest[place] = suspect
    found = [
        replace(suspect, score=SHARED * total[place] / len(each) + (1 - SHARED) * suspect.score)
        for place, suspect in highest.items()
    ]
    return tuple(sorted(found, key=lambda suspect: -suspect.score))


def out_of_reach(baseline: Baseline, tree: Tree) -> str:
    """Why nothing is suspected: what the failing tests run, if not themselves, may not be changed."""
    if not any(test in baseline.covered for test in baseline.failing):
        return "nothing points at code that may be changed"
    own = {test.split("::", 1)[0] for test in baseline.failing}
    ran = sorted({path for test in baseline.failing for path in baseline.covered.get(test, {})} - own)
    if not ran:
        return "the failing tests run no code but their own, and tests are not changed"
    path = next((path for path in ran if path not in tree.files or not is_test_file(path)), ran[0])
    if path not in tree.files:
        return f"the failing tests run {path}, which no patch can change: git ignores it, or it is no text"
    if is_test_file(path):
        return f"the failing tests run {path}, which by its name belongs to the tests, and those are not changed"
    return f"the failing tests run {path}, which is too large to be looked at, or no code that is known"
