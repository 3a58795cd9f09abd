"""How often the ranking finds a fault: injects faults into repositories with tests, and looks where they rank.

    python bench/localise.py [REPO ...] [--faults 20] [--seed 0]
    python bench/localise.py --packages [--faults 20]

Each fault changes one operator, number or boolean word of one source line; with `--packages` they are those of
`bench/faults/`, in packages of the index, of all kinds. The suite is measured exactly as a run does it (baseline,
failing tests traced, passing ones as far as time allows); a fault that turns no test is none. Printed is where the
faulty line ranks for the tests that it breaks, together as a plan takes them: with all signals, and with some left out;
and, as a peer, where it ranks if each place has the highest suspicion that any one of the tests has. There is no issue
text, so what words can add is underestimated; without `--packages` every fault sits in an operator, which is what the
prior bets on, so what the prior adds is overestimated. Tests run unisolated: use it on repositories that you trust.
"""

import argparse
import asyncio
import os
import random
import re
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import platformdirs
from faults import fault as lists
from faults.shelf import Package, Shelf, command, packages

from swarmcode.errors import SuiteError
from swarmcode.flow import Baseline, Changes, Suspect
from swarmcode.localise.suspects import suspected, together
from swarmcode.localise.symbols import statement_lines
from swarmcode.repo import Snapshot, take
from swarmcode.roles import is_test
from swarmcode.sandbox.pool import Pool
from swarmcode.sandbox.process import ProcessSandbox
from swarmcode.sandbox.protocol import Base, Limits
from swarmcode.sandbox.stacked import StackedBoxes
from swarmcode.sandbox.toolchain import discover
from swarmcode.suite import probe
from swarmcode.suite.baseline import measure
from swarmcode.suite.detect import detect
from swarmcode.syntax import first_error

EXAMPLES = Path(__file__).parent.parent / "examples"

FAULTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"(?<![<>=!-])<(?![<=])", ("<=", ">")),
    (r"(?<![<>=!-])>(?![>=])", (">=", "<")),
    (r"<=", ("<", ">=")),
    (r">=", (">", "<=")),
    (r"==", ("!=",)),
    (r"!=", ("==",)),
    (r"(?<=[\w)] )\+(?= )", ("-",)),
    (r"(?<=[\w)] )-(?= )", ("+",)),
    (r"(?<=[\w)] )\*(?= )", ("/", "+")),
    (r"(?<=[\w)] )//?(?= )", ("*",)),
    (r"\band\b", ("or",)),
    (r"\bor\b", ("and",)),
    (r"\bnot ", ("",)),
    (r"(?<![\w.\"'])\d+\b(?!\.)", ("{+}", "{-}")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One changed line."""

    path: str
    line: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Where a faulty line ranks among the suspects, from 1; None: nowhere."""

    ranks: dict[str, int | None]
    traced: bool
    """Whether the tracer saw the tests that the fault breaks: without, it says nothing of the spectrum."""
    lines: int
    """Lines of code that could have been suspected."""


def faults(snapshot: Snapshot) -> Iterator[Fault]:
    """Every fault that can be injected into the sources."""
    for path in snapshot.files:
        source = snapshot.reader.read(path)
        if not path.endswith(".py") or is_test(path) or source is None:
            continue
        lines = source.decode().split("\n")
        for number in sorted(statement_lines(path, source)):
            text = lines[number - 1]
            for pattern, replacements in FAULTS:
                for match in re.finditer(pattern, text):
                    for new in replacements:
                        value = {"{+}": lambda old: str(int(old) + 1), "{-}": lambda old: str(int(old) - 1)}
                        changed = value.get(new, lambda old, new=new: new)(match[0])
                        line = text[: match.start()] + changed + text[match.end() :]
                        content = "\n".join([*lines[: number - 1], line, *lines[number:]]).encode()
                        if first_error(path, content) is None:
                            yield Fault(path=path, line=number, content=content)


def committed(package: Package, snapshot: Snapshot) -> Iterator[Fault]:
    """Those of the package that `bench/faults/` lists."""
    for fault in lists.read_all():
        source = snapshot.reader.read(fault.path) if fault.package == package.name else None
        if source is not None:
            rows = source.decode().split("\n")
            rows[fault.line - 1] = fault.new
            yield Fault(path=fault.path, line=fault.line, content="\n".join(rows).encode())


async def study(
    repo: Path, argv: Sequence[str], faults: Callable[[Snapshot], Iterable[Fault]], count: int, seed: int, folder: Path
) -> list[Finding]:
    """Injects faults until `count` of them were noticed by the tests, or none is left."""
    snapshot = await asyncio.to_thread(take, repo, folder)
    toolchain, argv = discover(repo, tuple(argv), os.environ)
    toolchain = replace(toolchain, mounts=(*toolchain.mounts, probe.folder()))
    base = Base(root=snapshot.root, home=repo)
    code = sum(
        len(statement_lines(path, snapshot.reader.read(path) or b""))
        for path in snapshot.files
        if path.endswith(".py") and not is_test(path)
    )
    sandbox = ProcessSandbox(run="bench")
    pool = Pool(sandbox, base, toolchain, Limits())
    findings: list[Finding] = []
    try:
        before = await measure(pool, argv, Limits(), trace_seconds=0)
        candidates = list(faults(snapshot))
        random.Random(seed).shuffle(candidates)
        for fault in candidates:
            if len(findings) == count:
                break
            changes: Changes = {fault.path: fault.content}
            try:
                baseline = await measure(StackedBoxes(pool, changes), argv, Limits())
            except SuiteError:
                continue  # nothing can be collected: no fault that a run could start from
            if broken := set(baseline.failing) & before.passing:
                found = ranks(fault, snapshot, baseline, broken)
                traced = all(baseline.covered.get(test) for test in broken)
                findings.append(Finding(ranks=found, traced=traced, lines=code))
    finally:
        await pool.close()
        await sandbox.close()
    return findings


def ranks(fault: Fault, snapshot: Snapshot, baseline: Baseline, broken: Iterable[str]) -> dict[str, int | None]:
    """The faulty line's place, with all signals and with each left out."""
    tree = snapshot.reader.stacked({fault.path: fault.content})
    baseline = replace(baseline, failing=tuple(sorted(broken)))
    tests = {name: replace(test, frames=(), message="") for name, test in baseline.run.tests.items()}
    first_passing = {name: ran for name, ran in baseline.covered.items() if name not in baseline.passing}
    views = {
        "all signals": baseline,
        "no traces": replace(baseline, run=replace(baseline.run, tests=tests)),
        "no passing coverage": replace(baseline, covered=first_passing),
        "no coverage": replace(baseline, covered={}),
    }
    suspects = {name: suspected("", view, tree, frozenset()) for name, view in views.items()}
    found = {name: _place(fault, together(each.values())) for name, each in suspects.items()}
    return found | {"highest of any test": _place(fault, _highest(suspects["all signals"]))}


def _highest(suspects: Mapping[str, Sequence[Suspect]]) -> list[Suspect]:
    every = (suspect for places in suspects.values() for suspect in places)
    best: dict[tuple[str, int], Suspect] = {}
    for suspect in sorted(every, key=lambda suspect: -suspect.score):
        best.setdefault((suspect.path, suspect.start), suspect)
    return list(best.values())


def _place(fault: Fault, suspects: Sequence[Suspect]) -> int | None:
    """From 1; None where it is not among them."""
    places = [(suspect.path, suspect.start) for suspect in suspects]
    return places.index((fault.path, fault.line)) + 1 if (fault.path, fault.line) in places else None


def table(findings: list[Finding]) -> Iterator[str]:
    """One row for each view."""
    yield f"{'':22}{'top 1':>8}{'top 3':>8}{'top 5':>8}{'top 10':>8}{'median':>8}{'missed':>8}{'MRR':>8}"
    for name in findings[0].ranks:
        places = [finding.ranks[name] for finding in findings]
        known = [place for place in places if place is not None]
        shares = [sum(place <= top for place in known) / len(places) for top in (1, 3, 5, 10)]
        middle = statistics.median(place or 10**6 for place in places)
        reciprocal = sum(1 / place for place in known) / len(places)
        row = "".join(f"{share:8.0%}" for share in shares)
        yield f"{name:22}{row}{middle:8.0f}{len(places) - len(known):8d}{reciprocal:8.2f}"


Study = tuple[str, Path, Sequence[str], Callable[[Snapshot], Iterable[Fault]]]
"""Name, repository, test command, and the faults that are put in."""


def _repositories(repos: Iterable[Path]) -> Iterator[Study]:
    for repo in repos:
        yield repo.name, repo, detect(repo, None).argv, faults


def _packages() -> Iterator[Study]:
    shelf = Shelf(platformdirs.user_cache_path("swarmcode-bench"))
    shelf.environment()
    with shelf.shown() as python:
        for package in packages():
            argv = command(python, package, shelf.failing(package, python))
            yield package.name, shelf.tree(package), argv, partial(committed, package)


def main(show: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "repos", nargs="*", type=Path, default=sorted(place for place in EXAMPLES.iterdir() if place.is_dir())
    )
    parser.add_argument("--faults", type=int, default=20, help="for each repository (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--packages", action="store_true", help="faults of bench/faults/ in their packages")
    options = parser.parse_args()
    findings: list[Finding] = []
    for name, repo, argv, drawn in _packages() if options.packages else _repositories(options.repos):
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(study(repo.resolve(), argv, drawn, options.faults, options.seed, Path(folder)))
        show(f"{name}: {len(found)} faults, {found[0].lines if found else 0} lines of code")
        findings += found
    if findings:
        untraced = sum(not finding.traced for finding in findings)
        if untraced:
            show(
                f"for {untraced} of {len(findings)} faults a broken test was not traced: coverage could not help there"
            )
        show("\n".join(table(findings)))


if __name__ == "__main__":
    main()
