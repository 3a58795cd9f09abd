"""How well the search orders its proposals, and what its weights should be for a model.

    python -m repairmodel.cases --faults 600 --out cases.jsonl      # in training/
    python bench/calibrate.py cases.jsonl [--model NAME|PATH] [--sample N]

The cases are faults in functions of held-out projects. For each, the search proposes edits of all lines of the
function, each line as suspect as any other; the right edit's rank among the first of them is what counts. Printed: how
often it is among them at all, its rank by the model's probability alone, by the weights that the product has, and by
weights fitted here (each half of the projects by the other half's fit), and the fit of all, for `agent/place.py` and
`agent/sense.py`. The fit maximises the log-likelihood of the right edit in a conditional logit (McFadden 1973) by
Newton's method, with a little shrinkage.
"""

import argparse
import asyncio
import json
import random
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from search import LONGEST, WIDTH, Case, bare, case_of, search_of

from swarmcode.agent.flaws import FLAWS
from swarmcode.agent.place import FAVOUR, SORTS, STRANGE_WORD, Place, Sort, small_edits, strangeness
from swarmcode.agent.pointers import Answer, Speller
from swarmcode.agent.proposal import Edit
from swarmcode.agent.search import WORTH
from swarmcode.agent.sense import MOST, WEIGHTS
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import resolve
from swarmcode.engine.protocol import Engine

PROPOSALS = 120
"""That compete."""
BUDGETS = (1, 3, 10, 30, 100)
SHRINKAGE = 0.5
"""Weight of a squared weight, in nats of the likelihood of all."""
UNLISTED = "none of them"
NAMES = (
    *("probability", "strange word", *SORTS, UNLISTED),
    *(f"{flaw} made" for flaw in FLAWS),
    *(f"{flaw} mended" for flaw in FLAWS),
)
"""Features of a proposal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One fault: the proposals that compete, and which one is right."""

    project: str
    features: NDArray[np.float64]
    """Shape (proposals, features)."""
    right: int

    def rank(self, weights: NDArray[np.float64]) -> int:
        """Of the right proposal, from 1."""
        scores = self.features @ weights
        return int((scores > scores[self.right]).sum()) + 1


async def contest(engine: Engine, speller: Speller, case: Case) -> Contest | None:
    """None where the right edit is not among the first."""
    wanted = bare(case.file(case.wanted))
    search = search_of(engine, speller, case, range(len(case.lines)))
    sorts: dict[int, dict[Answer, Sort]] = {}
    rows: list[list[float]] = []
    right = -1
    while len(rows) < PROPOSALS and (proposal := await search.following()) is not None:
        if len(proposal.edits) == 1:
            right = len(rows) if right < 0 and bare(proposal.new) == wanted else right
            (edit,) = proposal.edits
            number = edit.place.suspect.start
            sorts[number] = sorts.get(number) or sorts_of(speller, edit.place)
            rows.append(features(edit, sort_of(speller, edit, sorts[number])))
    return Contest(project=case.source.split(":")[0], features=np.array(rows), right=right) if right >= 0 else None


def sorts_of(speller: Speller, place: Place) -> dict[Answer, Sort]:
    """Of the small edits of a line."""
    return small_edits(place.suspect.path, place.text, place.prompt, speller, place.sense)


def sort_of(speller: Speller, edit: Edit, sorts: Mapping[Answer, Sort]) -> str:
    answer = speller.answer(edit.place.prompt.line, edit.line)
    return sorts.get(answer, UNLISTED) if answer else UNLISTED


def features(edit: Edit, sort: str) -> list[float]:
    """One for each of `NAMES`."""
    place = edit.place
    changes = (place.sense.changes(place.prompt.window.lines(edit.line)) if place.sense else {}) or {}
    return [
        edit.logprob,
        strangeness(place.suspect.path, place.text, edit.line) / STRANGE_WORD,
        *(float(sort == each) for each in (*SORTS, UNLISTED)),
        *(min(MOST, max(0, changes.get(flaw, 0))) for flaw in FLAWS),
        *(min(MOST, max(0, -changes.get(flaw, 0))) for flaw in FLAWS),
    ]


def fit(contests: Sequence[Contest]) -> NDArray[np.float64]:
    """Weights of the features."""
    weights = np.zeros(len(NAMES))
    weights[0] = 0.5
    shrink = np.array([0.0] + [2 * SHRINKAGE] * (len(NAMES) - 1))
    for _ in range(30):
        gradient, curvature = -shrink * weights, np.diag(shrink + 1e-9)
        for each in contests:
            scores = each.features @ weights
            share = np.exp(scores - scores.max())
            share /= share.sum()
            mean = share @ each.features
            gradient += each.features[each.right] - mean
            curvature += (each.features * share[:, None]).T @ each.features - np.outer(mean, mean)
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 2.0 / np.abs(step).max())
        weights += step
        if np.abs(step).max() < 1e-4:
            break
    return weights


def product() -> NDArray[np.float64]:
    """What the product has, but for the floors of sorts."""
    sorts = (*(FAVOUR[sort].bonus for sort in SORTS), WORTH.unlisted)
    made, mended = (-WEIGHTS[flaw].made for flaw in FLAWS), (WEIGHTS[flaw].mended for flaw in FLAWS)
    return np.array([WORTH.trust, -STRANGE_WORD, *sorts, *made, *mended])


def crossed(contests: Sequence[Contest]) -> list[int]:
    """Ranks by fits that have not seen the project."""
    projects = sorted({each.project for each in contests})
    halves = [[each for each in contests if projects.index(each.project) % 2 == half] for half in (0, 1)]
    return [each.rank(fit(halves[1 - half])) for half in (0, 1) for each in halves[half] if halves[1 - half]]


def report(contests: Sequence[Contest], faults: int) -> Iterator[str]:
    """The table."""
    alone = np.array([1.0, *[0.0] * (len(NAMES) - 1)])
    yield f"the right edit is among the first {PROPOSALS} for {len(contests)} of {faults} faults"
    yield f"{'its rank':24}" + "".join(f"{f'top {budget}':>9}" for budget in BUDGETS) + f"{'median':>9}"
    named = {"probability alone": [each.rank(alone) for each in contests]}
    named["weights of the product"] = [each.rank(product()) for each in contests]
    named["fitted, crosswise"] = crossed(contests)
    for name, ranks in named.items():
        row = "".join(f"{sum(rank <= budget for rank in ranks) / len(ranks):9.0%}" for budget in BUDGETS)
        yield f"{name:24}{row}{statistics.median(ranks):9.0f}"
    weights = fit(contests)
    right = Counter(
        name for each in contests for name, there in zip(NAMES, each.features[each.right], strict=True) if there
    )
    yield f"\nfitted, for a trust of {WORTH.trust} (and by how many right edits)"
    for name, weight in list(zip(NAMES, weights * WORTH.trust / weights[0], strict=True))[1:]:
        yield f"    {name:24}{weight:6.2f}  ({right[name]})"


async def study(options: argparse.Namespace) -> None:
    found = [case_of(json.loads(line)) for line in options.cases.read_text(encoding="utf-8").splitlines()]
    cases = [case for case in found if len(case.lines) <= LONGEST]
    random.Random(0).shuffle(cases)
    cases = cases[: options.sample or None]
    engine = await open_engine(resolve(options.model), agents=WIDTH, exact=False)
    try:
        speller = Speller(engine)
        made = [await contest(engine, speller, case) for case in cases]
    finally:
        await engine.close()
    print("\n".join(report([each for each in made if each], len(cases))))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("--model", default="repair")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N faults")
    asyncio.run(study(parser.parse_args()))


if __name__ == "__main__":
    main()
