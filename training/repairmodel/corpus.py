"""The corpus: fetch the listed packages, read the functions of their wheels and of the standard library, keep projects
apart.

    python -m repairmodel.corpus fetch --data DIR     pip download --no-deps of every line of packages.txt python -m
    repairmodel.corpus build --data DIR     wheels + standard library -> DIR/{train,held-out}.jsonl python -m
    repairmodel.corpus check --data DIR     proves that no benchmark and no example of this repository is in it

`check` covers whole projects (the names below), the program names of QuixBugs, and near-copies of functions in
examples/. It does not compare with the text of PyPIBugs, which is published as links to commits only.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .functions import fingerprint, functions

HERE = Path(__file__).resolve().parent.parent
LIST = HERE / "packages.txt"
EXAMPLES = HERE.parent / "examples"

# Whole projects of public repair benchmarks are never read, whatever packages.txt says.
SWE_BENCH = frozenset(
    [
        "astropy",
        "django",
        "flask",
        "matplotlib",
        "pylint",
        "pytest",
        "requests",
        "scikit-learn",
        "seaborn",
        "sphinx",
        "sympy",
        "xarray",
    ]
)
BUGSINPY = frozenset(
    [
        "ansible",
        "ansible-core",
        "black",
        "cookiecutter",
        "fastapi",
        "httpie",
        "keras",
        "luigi",
        "matplotlib",
        "pandas",
        "pysnooper",
        "sanic",
        "scrapy",
        "spacy",
        "thefuck",
        "tornado",
        "tqdm",
        "youtube-dl",
    ]
)
QUIXBUGS = frozenset(
    [
        "bitcount",
        "breadth_first_search",
        "bucketsort",
        "depth_first_search",
        "detect_cycle",
        "find_first_in_sorted",
        "find_in_sorted",
        "flatten",
        "gcd",
        "get_factors",
        "hanoi",
        "is_valid_parenthesization",
        "kheapsort",
        "knapsack",
        "kth",
        "lcs_length",
        "levenshtein",
        "lis",
        "longest_common_subsequence",
        "max_sublist_sum",
        "mergesort",
        "minimum_spanning_tree",
        "next_palindrome",
        "next_permutation",
        "pascal",
        "possible_change",
        "powerset",
        "quicksort",
        "reverse_linked_list",
        "rpn_eval",
        "shortest_path_length",
        "shortest_path_lengths",
        "shortest_paths",
        "shunting_yard",
        "sieve",
        "sqrt",
        "subsequences",
        "to_base",
        "topological_ordering",
        "wrap",
    ]
)
SKIPPED_PARTS = frozenset(
    """
    test tests testing _vendor vendor vendored _vendored_packages third_party thirdparty extern externals idlelib
    lib2to3 turtledemo docs examples ensurepip _distutils_hack site-packages dist-packages
    """.split()
)
PER_PROJECT = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A line of packages.txt."""

    name: str
    version: str
    licence: str
    use: str


def packages() -> list[Package]:
    """The committed list. Raises ValueError for a benchmark's project."""
    found = []
    for line in LIST.read_text().splitlines():
        if line and not line.startswith("#"):
            pinned, licence, use = line.split()
            name, version = pinned.split("==")
            if name.lower() in SWE_BENCH | BUGSINPY:
                raise ValueError(f"packages.txt: {name} is a project of a public benchmark")
            found.append(Package(name=name, version=version, licence=licence, use=use))
    return found


def fetch(data: Path) -> None:
    """Download what is not there yet; nothing is installed and no code of a package runs."""
    wheels = data / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for package in packages():
        stem = re.sub(r"[-_.]+", "[-_.]+", package.name)
        if not any(
            re.match(rf"{stem}-{re.escape(package.version)}-", wheel.name, re.IGNORECASE)
            for wheel in wheels.glob("*.whl")
        ):
            pinned = f"{package.name}=={package.version}"
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "-q",
                    "--no-deps",
                    "--only-binary",
                    ":all:",
                    "-d",
                    wheels,
                    pinned,
                ],
                check=True,
            )


def wheel_sources(wheel: Path) -> Iterator[tuple[str, str]]:
    """(path, text) of the Python files of a wheel that are neither tests nor vendored."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if usable(name):
                yield name, archive.read(name).decode("utf-8", errors="replace")


def library_sources() -> Iterator[tuple[str, str]]:
    """The same for the standard library of the running Python."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if usable(path.relative_to(root).as_posix()):
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8", errors="replace")


def usable(path: str) -> bool:
    """Whether a file is a project's own code."""
    parts = path.split("/")
    name = parts[-1]
    return (
        name.endswith(".py")
        and not SKIPPED_PARTS & set(parts)
        and not name.startswith(("test_", "conftest"))
        and not name.endswith("_test.py")
    )


def read(project: str, sources: Iterable[tuple[str, str]], seen: set[str]) -> Iterator[dict[str, str]]:
    """Records of functions not seen before."""
    for path, source in sources:
        try:
            found = list(functions(source))
        except (SyntaxError, ValueError, RecursionError):
            continue
        for name, text in found:
            mark = fingerprint(text)
            if mark not in seen and name.rsplit(".", 1)[-1] not in QUIXBUGS:
                seen.add(mark)
                yield {"project": project, "path": path, "name": name, "text": text}


def build(data: Path, seed: int = 0) -> dict[str, Counter[str]]:
    """Write train.jsonl and held-out.jsonl; held-out projects are read first, so that a copy in a training project is
    dropped.
    """
    listed = {re.sub(r"[-_.]+", "-", p.name).lower(): p for p in packages()}
    seen = {fingerprint(text) for text in example_functions()}
    rng = random.Random(seed)
    counts: dict[str, Counter[str]] = {}
    wheels = {
        re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower(): wheel
        for wheel in sorted((data / "wheels").glob("*.whl"))
    }
    for use in ("held-out", "train"):
        counts[use] = Counter()
        projects = [
            (name, wheel_sources(wheels[name])) for name, p in sorted(listed.items()) if p.use == use and name in wheels
        ]
        if use == "train":
            projects.append(("python", library_sources()))
        with (data / f"{use}.jsonl").open("w") as out:
            for name, sources in projects:
                records = list(read(name, sources, seen))
                rng.shuffle(records)
                for record in records[:PER_PROJECT]:
                    counts[use][name] += 1
                    out.write(json.dumps(record) + "\n")
    return counts


def load(path: Path) -> list[dict[str, str]]:
    """Records of a built file."""
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def example_functions() -> list[str]:
    """Functions of examples/, in this repository."""
    found: list[str] = []
    for path in sorted(EXAMPLES.rglob("*.py")) if EXAMPLES.is_dir() else []:
        try:
            found += [text for _, text in functions(path.read_text())]
        except (SyntaxError, ValueError):
            continue
    return found


def shingles(text: str, size: int = 8) -> set[tuple[str, ...]]:
    """Runs of `size` code tokens."""
    tokens = re.findall(r"\w+|[^\w\s]", text)
    return {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}


def words(text: str) -> set[str]:
    """Names of five letters or more."""
    return set(re.findall(r"[A-Za-z_]\w{4,}", text))


def check(data: Path) -> list[str]:
    """What is wrong with the corpus, empty when nothing is."""
    listed = {re.sub(r"[-_.]+", "-", p.name).lower(): p.use for p in packages()}
    problems: list[str] = []
    examples = [(words(text), shingles(text)) for text in example_functions()]
    examples = [(used, theirs) for used, theirs in examples if len(theirs) >= 10]
    for use in ("train", "held-out"):
        for record in load(data / f"{use}.jsonl"):
            project, where = record["project"], f"{record['project']} {record['path']} {record['name']}"
            if project in SWE_BENCH | BUGSINPY:
                problems.append(f"{where}: a benchmark's project")
            if project != "python" and listed.get(project) != use:
                problems.append(f"{where}: not listed in packages.txt for {use}")
            if record["name"].rsplit(".", 1)[-1] in QUIXBUGS:
                problems.append(f"{where}: has the name of a QuixBugs program")
            used = words(record["text"])
            near = [
                theirs for known, theirs in examples if 3 * len(known & used) >= len(known)
            ]  # cheap, and rules most out
            own = shingles(record["text"]) if near else set()
            if any(2 * len(own & theirs) > len(theirs) for theirs in near):
                problems.append(f"{where}: more than half of a function of examples/")
    return problems


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
        print("\n".join(problems[:50]) or "clean: listed projects only, no benchmark, no example")
        sys.exit(bool(problems))


if __name__ == "__main__":
    main()
