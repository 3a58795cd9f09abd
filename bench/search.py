"""After how many proposals the search comes to the right one, on faults in functions of held-out projects.

    python -m repairmodel.cases --faults 300 --seed 7 --out cases.jsonl      # in training/
    python bench/search.py cases.jsonl [--model NAME|PATH] [--functions 100]

Given the line: the search is asked about the faulty line alone. Without it: about all lines of the function (of up to
30), each as suspect as any other. The search sees the whole file. Right is its exact text as it was before the fault,
blank lines aside, so these are lower bounds on what tests would accept; nothing is run. What localisation adds is
measured by `bench/faults.py`.
"""

import argparse
import asyncio
import json
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from swarmcode.agent.pointers import Speller
from swarmcode.agent.search import DESCENT, SHARPNESS, Search
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import resolve
from swarmcode.engine.protocol import Engine
from swarmcode.flow import Suspect
from swarmcode.tree import Tree

PATH = "m.py"
WIDTH = 48
LONGEST = 30
"""Lines of a function that is searched as a whole."""
GIVEN, WITHOUT = (1, 10, 50), (1, 10, 30, 100)
"""Proposals."""
LEAST = 8
"""Faults of a class, for it to have a line of its own."""
NEVER = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is read of a function with a fault that `repairmodel.cases` wrote."""

    kind: str
    lines: list[str]
    line: int
    """Of the fault, from 0."""
    wanted: str
    source: str
    """`project:path:function`."""
    above: str
    """The file above the function."""
    below: str
    indent: int
    """Of the function in its file."""

    @property
    def first(self) -> int:
        """Row of the function in its file, from 0."""
        return self.above.count("\n") + 1 if self.above else 0

    def file(self, function: str) -> str:
        """With such a function in it."""
        inside = textwrap.indent(function, self.indent * " ")
        return "\n".join(filter(None, (self.above, inside, self.below))) + "\n"


def case_of(written: Mapping[str, Any]) -> Case:
    """One that `repairmodel.cases` wrote."""
    return Case(**{field.name: written[field.name] for field in fields(Case)})


def search_of(engine: Engine, speller: Speller, case: Case, lines: Iterable[int]) -> Search:
    """About some lines of the function, each as suspect as any other."""
    tree = Tree(root=Path("/nowhere"), files=frozenset(), changes={PATH: case.file("\n".join(case.lines)).encode()})
    # A line counts less the further down the list it stands; here none is to.
    scores = {case.first + line + 1: place ** (DESCENT / SHARPNESS) for place, line in enumerate(lines, 1)}
    suspects = [
        Suspect(path=PATH, symbol="", start=line, end=line, score=score, evidence=()) for line, score in scores.items()
    ]
    return Search(engine, tree, speller, suspects, WIDTH)


async def rank(engine: Engine, speller: Speller, case: Case, lines: Iterable[int], limit: int) -> int:
    """Of the right proposal among those about some lines, from 1; `NEVER` where it is not among so many."""
    wanted = bare(case.file(case.wanted))
    search = search_of(engine, speller, case, lines)
    for number in range(1, limit + 1):
        proposal = await search.following()
        if proposal is None:
            break
        if bare(proposal.new) == wanted:
            return number
    return NEVER


def bare(text: str) -> list[str]:
    """A file without what does not matter."""
    return [line.rstrip() for line in text.split("\n") if line.strip()]


def shares(ranks: Sequence[int], budgets: Sequence[int]) -> str:
    """In percent, of what is found within each budget."""
    return " / ".join(f"{100 * sum(found <= budget for found in ranks) / max(1, len(ranks)):.0f}" for budget in budgets)


async def measure(engine: Engine, cases: Sequence[Case], functions: int) -> None:
    """Prints as it goes."""
    speller = Speller(engine)
    kinds: dict[str, list[int]] = defaultdict(list)
    for case in cases:
        kinds[case.kind].append(await rank(engine, speller, case, [case.line], GIVEN[-1]))
    every = [found for ranks in kinds.values() for found in ranks]
    print(f"given the line, {len(every)} faults: {shares(every, GIVEN)} % within {GIVEN}", flush=True)
    for kind, ranks in sorted(kinds.items()):
        if len(ranks) >= LEAST:
            print(f"  {kind:20} {len(ranks):3}  {shares(ranks, GIVEN)}")
    short = [case for case in cases if len(case.lines) <= LONGEST][:functions]
    whole = [await rank(engine, speller, case, range(len(case.lines)), WITHOUT[-1]) for case in short]
    mean = sum(len(case.lines) for case in short) / max(1, len(short))
    print(f"without it, {len(whole)} functions of {mean:.0f} lines: {shares(whole, WITHOUT)} % within {WITHOUT}")


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("--model", default="repair")
    parser.add_argument("--functions", type=int, default=100)
    options = parser.parse_args()
    cases = [case_of(json.loads(line)) for line in options.cases.read_text(encoding="utf-8").splitlines()]
    engine = await open_engine(resolve(options.model), agents=100, exact=False)
    try:
        await measure(engine, cases, options.functions)
    finally:
        await engine.close()


if __name__ == "__main__":
    asyncio.run(main())
