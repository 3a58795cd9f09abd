"""How many faults `swarmcode fix` repairs in packages of the Python package index, judged by their own tests.

    python bench/faults.py [--sandbox bwrap] [--seconds 60] [--only PACKAGE] [--sample N --seed S] [--json FILE]
    python bench/faults.py ... --again FILE      only what that FILE has as unsolved, with more --seconds, say
    python bench/faults.py --check | --draw

The committed list (`bench/faults/`) has one-line faults of two kinds: drawn by operators with a fixed seed, and
written by hand. Each was kept because the package's own tests notice it; none was chosen by what the model can do. For
each, the package is copied, the fault goes in, an issue is made of nothing but the failing tests' names and messages,
and `swarmcode fix` runs on it in a process of its own. Solved is what ends with exit code 0: a patch that the whole
suite proves; whether it is also what the authors wrote is counted beside that.

What it is no picture of: every fault is one line, and one that tests notice at once. Source distributions, and one
environment with pytest, are fetched into `--cache` with pip. `--draw` makes the list of drawn faults anew, `--check`
proves of every fault that the tests still notice it. The packages' tests run unisolated, beside the sandbox too.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import platformdirs
from faults import fault as lists
from faults.draw import draw, objection
from faults.fault import Fault
from faults.shelf import BenchError, Package, Shelf, packages
from faults.table import tables
from faults.trial import Given, Trial, attempt


def measure(
    shelf: Shelf, chosen: Sequence[Fault], given: Given, show: Callable[[str], None], done: Callable[[Trial], None]
) -> None:
    """Every fault in turn; `done` hears of each as it ends."""
    listed = {package.name: package for package in packages()}
    skips: dict[str, tuple[str, ...] | None] = {}
    for number, fault in enumerate(chosen, start=1):
        package = listed[fault.package]
        if package.name not in skips:
            skips[package.name] = _ground(shelf, package, given, show)
        skip = skips[package.name]
        if skip is None:
            continue
        trial = attempt(shelf, package, fault, given, skip)
        done(trial)
        show(f"{number:3}/{len(chosen)} {_line(trial)}")


def _ground(shelf: Shelf, package: Package, given: Given, show: Callable[[str], None]) -> tuple[str, ...] | None:
    """What is skipped of a package's tests, with nothing injected; None where they do not pass."""
    try:
        skip = shelf.failing(package, given.python)
    except BenchError as error:
        show(f"left out: {error}")
        return None
    but = f", without {len(skip)} that fail here: {', '.join(skip)}" if skip else ""
    show(f"{package.name} {package.version}, {package.use}, {package.licence}: its tests pass as they are{but}")
    return skip


def _line(trial: Trial) -> str:
    if not trial.counts:
        return f"{trial.package:12} {trial.kind:18} not counted: {trial.said}"
    how = "solved" if trial.solved else "-"
    if trial.restored:
        how = "restored"
    if trial.exit_code not in (0, 1):
        how = f"exit {trial.exit_code}: {trial.said}"
    return f"{trial.package:12} {trial.kind:18} {trial.seconds:6.1f} s {trial.tried:4} tried  {how}"


def choose(options: argparse.Namespace, only: str = "") -> list[Fault]:
    """The part of the list that was asked for, package by package; `only`: of this one."""
    faults = [
        fault
        for fault in lists.read_all()
        if (only or options.only) in ("", fault.package) and options.by in ("", fault.by)
    ]
    if options.sample:
        faults = random.Random(options.seed).sample(faults, min(options.sample, len(faults)))
    return sorted(faults, key=lambda fault: (fault.package, fault.path, fault.line))


def run(options: argparse.Namespace, shelf: Shelf) -> int:
    """The measuring mode. 0; 1 where a package was left out; 130 where it was interrupted."""
    asked = {_key(fault): fault for fault in choose(options)}
    solved = {_key(trial): trial for trial in _before(options.again) if trial.solved}
    trials = [solved[key] for key in asked if key in solved]
    chosen = [fault for key, fault in asked.items() if key not in solved]

    def done(trial: Trial) -> None:
        trials.append(trial)
        if options.json:  # each time: what was measured outlives however this ends
            options.json.write_text(json.dumps([asdict(each) for each in trials], indent=1) + "\n", encoding="utf-8")

    with shelf.shown() as python:
        given = Given(sandbox=options.sandbox, agents=options.agents, seconds=options.seconds, python=python)
        try:
            measure(shelf, chosen, given, _show, done)
            code = 0 if len(trials) == len(asked) else 1
        except KeyboardInterrupt:
            code = 130
            _show(f"\ninterrupted: {len(trials)} of {len(asked)} faults were measured")
    _show("\n".join(tables(trials)))
    return code


def _key(of: Fault | Trial) -> tuple[str, str, int, str]:
    """What tells a fault from all others."""
    return of.package, of.path, of.line, of.kind


def _before(path: Path | None) -> list[Trial]:
    """The trials of an earlier run."""
    if path is None:
        return []
    try:
        return [Trial(**trial) for trial in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, ValueError) as error:
        raise BenchError(f"{path} was not written by --json: {error}") from error


def redraw(options: argparse.Namespace, shelf: Shelf, wanted: Sequence[Package]) -> int:
    """The drawing mode: drawn faults of these packages are replaced, those of others stay."""
    names = {package.name for package in wanted}
    kept = [fault for fault in lists.read(lists.DRAWN) if fault.package not in names]
    for package in wanted:
        if shelf.failing(package, shelf.python):
            raise BenchError(f"{package.name}: some of its tests fail here, and a list is drawn where all pass")
        kept += draw(shelf, package, options.count, options.seed, _show)
        lists.write(lists.DRAWN, sorted(kept, key=lambda fault: (fault.package, fault.path, fault.line)))
    return 0


def check(options: argparse.Namespace, shelf: Shelf, wanted: Sequence[Package]) -> int:
    """The checking mode: whether every fault is one."""
    bad = 0
    for package in wanted:
        if skip := shelf.failing(package, shelf.python):
            _show(f"{package.name}: skipped, as they fail here: {', '.join(skip)}")
            package = replace(package, options=(*package.options, *(f"--deselect={test}" for test in skip)))
        for fault in choose(options, package.name):
            reason = objection(shelf, package, fault)
            bad += bool(reason)
            _show(f"{fault.name}: {fault.kind}: {reason or 'noticed'}")
    return 1 if bad else 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _arguments(arguments)
    shelf = Shelf(options.cache)
    try:
        wanted = _wanted(options.only)
        shelf.environment()
        for package in wanted:
            shelf.tree(package)
        if options.draw:
            return redraw(options, shelf, wanted)
        return check(options, shelf, wanted) if options.check else run(options, shelf)
    except (BenchError, OSError, ValueError) as error:
        print(f"faults: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


def _wanted(only: str) -> list[Package]:
    listed = packages()
    if only and only not in {package.name for package in listed}:
        raise BenchError(f"{only} is no package of the list: {', '.join(package.name for package in listed)}")
    return [package for package in listed if only in ("", package.name)]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--draw", action="store_true", help="make the list of drawn faults anew")
    mode.add_argument("--check", action="store_true", help="prove that the tests notice every fault")
    parser.add_argument("--only", default="", metavar="PACKAGE")
    parser.add_argument("--by", choices=("operator", "hand"), default="", help="only faults made so")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only so many faults, drawn with --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=6, help="faults that --draw makes for a package (default: 6)")
    parser.add_argument("--sandbox", choices=("bwrap", "docker", "process"), default="bwrap")
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit of one fault (default: 60)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="keep what this --json file has as solved")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every trial there")
    parser.add_argument(
        "--cache", type=Path, default=platformdirs.user_cache_path("swarmcode-bench"), help="default: %(default)s"
    )
    return parser.parse_args(arguments)


def _show(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
