"""What is evaluated on: faults put into functions of held-out projects, and real one-line fixes.

    python -m repairmodel.cases --data DIR [--faults 600] [--seed 0] --out FILE      the faults, a line of JSON each
    python -m repairmodel.cases --data DIR --real real.jsonl --out FILE              the real fixes

Written down with what stands above and below the function in its file: the model sees none of it, whoever asks it does.

Operators are drawn by their weights in the catalogue, then a function that offers the drawn one. (The other way round,
a function and then one of its faults, gives common operators several times their weight and rare ones almost none.)
"""

import argparse
import json
import random
import zipfile
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path

from .batches import keep
from .corpus import Record, load
from .faults import CATALOGUE, Code, Fault, Operator
from .faults.catalogue import BY_NAME, find
from .functions import functions
from .packages import HERE
from .realfixes import wheel
from .sources import wheels

TRIES = 3000
"""Functions that are looked through for one that offers an operator, before the operator is passed over."""


@dataclass(slots=True, kw_only=True)
class Case:
    """A faulty function: its lines, which one is at fault, and what the whole should be."""

    kind: str
    """Class of the operator, by which results are reported."""
    lines: list[str]
    line: int
    wanted: str
    source: str
    """`project:path:function`, of a function of the corpus."""
    above: str = ""
    """The file as it stands above the function."""
    below: str = ""
    indent: int = 0
    """Columns that the function is indented by in its file."""


def by_weight(operators: Sequence[Operator], count: int, rng: random.Random) -> list[Operator]:
    """`count` operators, each as often as its weight says, up to one (systematic sampling), in random order."""
    bounds = list(accumulate(operator.weight for operator in operators))
    step, offset = bounds[-1] / count, rng.random()
    drawn = [operators[min(bisect(bounds, (number + offset) * step), len(operators) - 1)] for number in range(count)]
    rng.shuffle(drawn)
    return drawn


def cases(records: Sequence[Record], count: int, seed: int) -> list[Case]:
    """Faults of as many functions, drawn as training draws them: short functions in proportion to their lines."""
    rng = random.Random(seed)
    order = [record for record in rng.sample(records, len(records)) if keep(record["text"], rng)]
    parsed: dict[int, Code | None] = {}
    used: set[int] = set()
    found: list[Case] = []
    for operator in by_weight(CATALOGUE, count, rng):
        start = rng.randrange(max(1, len(order)))
        for step in range(min(TRIES, len(order))):
            at = (start + step) % len(order)
            if at not in parsed:
                parsed[at] = _parse(order[at]["text"])
            code = parsed[at]
            offers = [f for f in find(operator, code, rng) if code.valid(f)] if code and at not in used else []
            if code and offers:
                used.add(at)
                found.append(
                    case(code, rng.choice(offers), ":".join(order[at][part] for part in ("project", "path", "name")))
                )
                break
    return found


def _parse(text: str) -> Code | None:
    try:
        return Code(text)
    except (SyntaxError, ValueError):
        return None


def case(code: Code, fault: Fault, source: str) -> Case:
    """The fault as something to repair."""
    lines = code.faulty(fault).split("\n")
    return Case(
        kind=BY_NAME[fault.operator].kind, lines=lines, line=fault.head, wanted="\n".join(code.lines), source=source
    )


def in_files(found: Sequence[Case], data: Path) -> Iterator[Case]:
    """The cases with what stands around them in the wheels; those whose function is not found there are left out."""
    paths = {name: path for (name, _), path in wheels(data / "wheels").items()}
    for each in found:
        project, path, name = each.source.split(":")
        yield from _in_file(each, paths[project], path, name, each.wanted)


def real_in_files(found: Sequence[Case], data: Path) -> Iterator[Case]:
    """The same of real fixes, in the releases before them (`realfixes fetch`)."""
    for each in found:
        package, version, _, _, place = each.source.split(" ")
        path, name = place.split(":")
        release = wheel(data / "releases", package, version)
        if release is not None:
            yield from _in_file(each, release, path, name, "\n".join(each.lines))


def _in_file(case: Case, archive: Path, path: str, name: str, text: str) -> Iterator[Case]:
    """The case in a file of a wheel, where that has a function of this name and text."""
    with zipfile.ZipFile(archive) as files:
        source = files.read(path).decode("utf-8", errors="replace")
    for function in functions(source):
        if function.name == name and function.text == text:
            lines = source.split("\n")
            above, below = "\n".join(lines[: function.start]), "\n".join(lines[function.end :])
            yield replace(case, above=above, below=below, indent=function.indent)
            return


def real_cases(path: Path) -> list[Case]:
    """Lines of JSON with `before` (the function, cleaned), `after`, `line` and `source`."""
    return [
        Case(kind="real", lines=r["before"].split("\n"), line=r["line"], wanted=r["after"], source=r["source"])
        for r in (json.loads(row) for row in path.read_text().splitlines())
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--faults", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path, help="real fixes in place of faults, such as real.jsonl")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.real:
        found = list(real_in_files(real_cases(args.real), args.data))
    else:
        found = list(in_files(cases(load(args.data / "held-out.jsonl"), args.faults, args.seed), args.data))
    args.out.write_text("".join(json.dumps(asdict(each)) + "\n" for each in found))


if __name__ == "__main__":
    main()
