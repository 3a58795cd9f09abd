"""The corpus: functions of the listed packages and of the standard library, held-out projects apart.

    python -m repairmodel.corpus fetch --data DIR     pip download --no-deps of every line of packages.txt
    python -m repairmodel.corpus build --data DIR     wheels + standard library -> DIR/{train,held-out}.jsonl
    python -m repairmodel.corpus check --data DIR     exits 1 for what is not listed, not licensed so, or excluded

`check` proves what `exclusions.py` promises, that every project is in packages.txt for this use, and that every wheel
declares the licence that packages.txt gives it.
"""

import argparse
import json
import multiprocessing
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from .exclusions import BENCHMARKS, Examples, quixbugs
from .functions import fingerprint, functions
from .packages import HERE, Package, licence_problem, packages
from .sources import library_sources, normalised, wheel_sources, wheels

EXAMPLES = HERE.parent / "examples"
PER_PROJECT = 4000
"""Functions of one project at most, drawn at random, so that no project's habits prevail."""
USES = ("held-out", "train")
Record = dict[str, str]


def fetch(data: Path) -> None:
    """Download what is not there yet; nothing is installed and no code of a package runs."""
    folder = data / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    there = wheels(folder)
    missing = [f"{p.name}=={p.version}" for p in packages() if (normalised(p.name), p.version) not in there]
    if missing:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "-d", folder, *missing], check=True)


def read(job: tuple[str, Path | None]) -> tuple[str, list[Record]]:
    """The functions of a project (normalised name, wheel; None for the standard library), with their fingerprints."""
    name, wheel = job
    found = []
    for path, source in wheel_sources(wheel) if wheel else library_sources():
        try:
            usable = list(functions(source))
        except (SyntaxError, ValueError, RecursionError):
            continue
        found += [
            {"project": name, "path": path, "name": each.name, "text": each.text, "mark": fingerprint(each.text)}
            for each in usable
        ]
    return name, found


def fresh(records: Iterable[Record], seen: set[str], examples: Examples) -> Iterator[Record]:
    """Records of functions that were not seen before and that nothing forbids; `seen` grows."""
    for record in records:
        mark = record.pop("mark")
        if mark not in seen and not quixbugs(record["name"]) and not examples.near(record["text"]):
            seen.add(mark)
            yield record


def build(data: Path, seed: int = 0, processes: int = 2) -> dict[str, Counter[str]]:
    """Write train.jsonl and held-out.jsonl; held-out projects are read first, so that a copy in a training project is
    dropped. Raises KeyError for a listed package that was not fetched.
    """
    examples = Examples(EXAMPLES)
    seen = {fingerprint(text) for text in examples.texts}
    rng = random.Random(seed)
    there = wheels(data / "wheels")
    counts: dict[str, Counter[str]] = {use: Counter() for use in USES}
    with multiprocessing.Pool(processes) as pool:
        for use in USES:
            jobs: list[tuple[str, Path | None]] = sorted(
                (normalised(p.name), there[normalised(p.name), p.version]) for p in packages() if p.use == use
            )
            if use == "train":
                jobs.append(("python", None))
            with (data / f"{use}.jsonl").open("w") as out:
                for name, found in pool.imap(read, jobs):
                    records = list(fresh(found, seen, examples))
                    rng.shuffle(records)
                    counts[use][name] = len(records[:PER_PROJECT])
                    out.writelines(json.dumps(record) + "\n" for record in records[:PER_PROJECT])
    return counts


def load(path: Path) -> list[Record]:
    """Records of a built file."""
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def check(data: Path) -> list[str]:
    """What is wrong with the corpus, empty when nothing is."""
    listed = {normalised(p.name): p for p in packages()}
    examples = Examples(EXAMPLES)
    problems = licences(data, listed)
    for use in USES:
        for record in load(data / f"{use}.jsonl"):
            problems += [
                f"{record['project']} {record['path']} {record['name']}: {problem}"
                for problem in wrong(record, use, listed, examples)
            ]
    return problems


def licences(data: Path, listed: dict[str, Package]) -> list[str]:
    """What the wheels that are there say against packages.txt."""
    there = wheels(data / "wheels")
    found = [licence_problem(p, there[key]) for name, p in listed.items() if (key := (name, p.version)) in there]
    return [problem for problem in found if problem]


def wrong(record: Record, use: str, listed: dict[str, Package], examples: Examples) -> Iterator[str]:
    """What speaks against a function."""
    project = record["project"]
    if project in BENCHMARKS:
        yield "a benchmark's project"
    if project != "python" and (project not in listed or listed[project].use != use):
        yield f"not listed in packages.txt for {use}"
    if quixbugs(record["name"]):
        yield "has the name of a QuixBugs program"
    if examples.near(record["text"]):
        yield "more than half of a function of examples/"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("fetch", "build", "check"))
    parser.add_argument("--data", type=Path, default=HERE / "data")
    args = parser.parse_args()
    if args.command == "fetch":
        fetch(args.data)
    elif args.command == "build":
        for use, counts in build(args.data).items():
            print(f"{use}: {sum(counts.values())} functions of {len(counts)} projects; largest {counts.most_common(5)}")
    else:
        problems = check(args.data)
        print("\n".join(problems[:50]) or "clean: listed projects, their own licences, no benchmark, no example")
        sys.exit(bool(problems))


if __name__ == "__main__":
    main()
