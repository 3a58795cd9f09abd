"""Where the fault behind each failing test may be, and what of it matters most. Pure."""

from collections.abc import Mapping

from swarmcode.flow import Baseline, Suspect
from swarmcode.localise.rank import Localiser
from swarmcode.tree import Tree


def suspected(text: str, baseline: Baseline, tree: Tree, checks: frozenset[str]) -> dict[str, tuple[Suspect, ...]]:
    """Failing test -> where its fault may be, by an issue's text among others: nowhere in `checks`, the files that the
    test command itself runs."""
    localiser = Localiser(text, baseline, tree)
    ranked = {test: localiser.rank([test]) for test in baseline.failing}
    return {test: tuple(place for place in places if place.path not in checks) for test, places in ranked.items()}


def foremost(suspects: Mapping[str, tuple[Suspect, ...]]) -> tuple[Suspect, ...]:
    """All suspects, each place once, most suspicious first."""
    best: dict[tuple[str, int], Suspect] = {}
    for suspect in (suspect for places in suspects.values() for suspect in places):
        place = (suspect.path, suspect.start)
        if place not in best or best[place].score < suspect.score:
            best[place] = suspect
    return tuple(sorted(best.values(), key=lambda suspect: -suspect.score))
