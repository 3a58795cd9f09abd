"""How well the search orders its answers, and what its weights should be for a model.

    python -m repairmodel.cases --faults 600 --out cases.jsonl      # in training/
    python bench/calibrate.py cases.jsonl [--model NAME|PATH] [--sample N]

The cases are faults in functions of held-out projects. For each, the small edits of the faulty line and of three other
lines of its function get their exact probabilities; the right edit's rank among them is what counts. Printed: how often
the right edit is a small edit that the model reaches at all, its rank by the model's probability alone, by the weights
that the product has, and by weights fitted here (each half of the projects by the other half's fit), and the fit of all
as the table that `agent/place.py` holds. The fit maximises the log-likelihood of the right edit in a conditional logit
(McFadden 1973) by Newton's method, with a little shrinkage.
"""

import argparse
import asyncio
import heapq
import json
import math
import random
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmcode.agent.edits import KINDS, Kind
from swarmcode.agent.place import FAVOUR, Place, place_of, small_edits
from swarmcode.agent.pointers import Speller
from swarmcode.agent.search import WORTH, expansion
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import resolve
from swarmcode.engine.protocol import Engine
from swarmcode.flow import Suspect
from swarmcode.tree import Tree

OTHERS = 3
"""Lines of the function, beside the faulty one, whose edits compete."""
FAINTEST = -13.0
"""Log-probability of beginnings that are not followed: what is fainter is never tried by a search either."""
WIDTH = 100
BUDGETS = (1, 3, 10, 30, 100)
SHRINKAGE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One fault: the small edits that compete, and which one is right."""

    project: str
    features: NDArray[np.float64]
    """Shape (edits, 1 + kinds): log-probability, and one for the kind."""
    right: int

    def rank(self, weights: NDArray[np.float64]) -> int:
        """Of the right edit, from 1."""
        scores = self.features @ weights
        return int((scores > scores[self.right]).sum()) + 1


def lines_of(case: dict[str, Any], rng: random.Random) -> list[int]:
    """The faulty line, then the others, by index."""
    others = [number for number in range(len(case["lines"])) if number != case["line"]]
    return [case["line"], *rng.sample(others, min(OTHERS, len(others)))]


async def contest(engine: Engine, speller: Speller, case: dict[str, Any], rng: random.Random) -> Contest | None:
    """None where the right edit is no small edit, or too faint to be reached."""
    tree = Tree(root=Path(), files=frozenset(), changes={"m.py": "\n".join([*case["lines"], ""]).encode()})
    wanted = case["wanted"].split("\n")
    if len(wanted) != len(case["lines"]):
        return None
    rows: list[tuple[float, Kind]] = []
    right = -1
    for number in lines_of(case, rng):
        suspect = Suspect(path="m.py", symbol="", start=number + 1, end=number + 1, score=1.0, evidence=())
        place = place_of(suspect, tree, speller)
        kinds = small_edits("m.py", place.text, place.prompt, speller) if place else {}
        goal = speller.answer(place.prompt.line, wanted[number]) if place and number == case["line"] else None
        if number == case["line"] and goal not in kinds:
            return None
        for answer, chance in (await chances(engine, speller, place)).items() if place else ():
            right = len(rows) if answer == goal else right
            rows.append((chance, kinds[answer]))
    if right < 0:
        return None
    features = np.array([[chance, *(float(kind == each) for each in KINDS)] for chance, kind in rows])
    return Contest(project=case["source"].split(":")[0], features=features, right=right)


async def chances(engine: Engine, speller: Speller, place: Place) -> dict[tuple[int, ...], float]:
    """Natural log-probabilities of the small edits of a line, of those that are not too faint."""
    heap = [(0.0, (), place.small)]
    found: dict[tuple[int, ...], float] = {}
    while heap:
        nodes = [heapq.heappop(heap) for _ in range(min(WIDTH, len(heap)))]
        asked = (engine.complete(expansion(place, answer, speller.marks, top=256)) for _, answer, _ in nodes)
        for (cost, answer, trie), (completion,) in zip(nodes, await asyncio.gather(*asked), strict=True):
            told = dict(completion.tops[0])
            for token, following in trie.items():
                chance = told.get(token, -math.inf) - cost
                if token == speller.marks.end:
                    found[(*answer, token)] = chance
                elif chance > FAINTEST:
                    heapq.heappush(heap, (-chance, (*answer, token), following))
    return {answer: chance for answer, chance in found.items() if chance > 2 * FAINTEST}


def fit(contests: Sequence[Contest]) -> NDArray[np.float64]:
    """Weights of the log-probability and of each kind."""
    size = 1 + len(KINDS)
    weights = np.zeros(size)
    weights[0] = 0.5
    shrink = np.array([0.0] + [2 * SHRINKAGE] * len(KINDS)) * len(contests)
    for _ in range(20):
        gradient, curvature = -shrink * weights, np.diag(shrink + 1e-9)
        for each in contests:
            scores = each.features @ weights
            share = np.exp(scores - scores.max())
            share /= share.sum()
            mean = share @ each.features
            gradient += each.features[each.right] - mean
            curvature += (each.features * share[:, None]).T @ each.features - np.outer(mean, mean)
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < 1e-4:
            break
    return weights


def crossed(contests: Sequence[Contest]) -> list[int]:
    """Ranks by fits that have not seen the project."""
    projects = sorted({each.project for each in contests})
    halves = [[each for each in contests if projects.index(each.project) % 2 == half] for half in (0, 1)]
    return [each.rank(fit(halves[1 - half])) for half in (0, 1) for each in halves[half] if halves[1 - half]]


def report(contests: Sequence[Contest], faults: int) -> Iterator[str]:
    """The table."""
    product = np.array([WORTH.trust, *(FAVOUR[kind].bonus for kind in KINDS)])
    alone = np.array([1.0, *[0.0] * len(KINDS)])
    yield f"{len(contests)} of {faults} faults are mended by a small edit that the model reaches"
    yield f"{'rank of the right edit':24}" + "".join(f"{f'top {budget}':>9}" for budget in BUDGETS) + f"{'median':>9}"
    named = {"probability alone": [each.rank(alone) for each in contests]}
    named["weights of the product"] = [each.rank(product) for each in contests]
    named["fitted, crosswise"] = crossed(contests)
    for name, ranks in named.items():
        row = "".join(f"{sum(rank <= budget for rank in ranks) / len(ranks):9.0%}" for budget in BUDGETS)
        yield f"{name:24}{row}{statistics.median(ranks):9.0f}"
    weights = fit(contests)
    right = Counter(list(KINDS)[int(each.features[each.right][1:].argmax())] for each in contests)
    yield f"\ntrust {weights[0]:.2f}"
    for kind, weight in zip(KINDS, weights[1:], strict=True):
        yield f'    "{kind}": {weight:.1f},' + f"  # {right[kind]} faults"


async def study(options: argparse.Namespace) -> None:
    rng = random.Random(0)
    faults = [json.loads(line) for line in options.cases.read_text().splitlines()][: options.sample or None]
    engine = await open_engine(resolve(options.model), agents=WIDTH)
    try:
        speller = Speller(engine)
        made = [await contest(engine, speller, case, rng) for case in faults]
    finally:
        await engine.close()
    print("\n".join(report([each for each in made if each], len(faults))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("--model", default="repair")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only the first N faults")
    asyncio.run(study(parser.parse_args()))


if __name__ == "__main__":
    main()
