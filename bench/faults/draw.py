"""Draws faults by operator: a kind, then any place for it, kept only where the package's own tests notice and still
run.

What the model can repair plays no part: it is not asked.
"""

import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from faults.fault import Fault, inject
from faults.operators import OPERATORS, Edit, edits, parses
from faults.shelf import UNFIT, Package, Shelf, command, copied, run_suite
from swarmcode.roles import is_generated, is_test, is_vendored

APART = 10
"""Lines between two faults of one file, at least."""
TRIES = 6
"""Of one kind, before the next one's turn."""


def draw(shelf: Shelf, package: Package, count: int, seed: int, show: Callable[[str], None]) -> list[Fault]:
    """`count` faults, or as many as there are, of as many kinds as possible."""
    tree = shelf.tree(package)
    found = _found(tree, package)
    order = random.Random(f"{seed} {package.name}")
    for faults in found.values():
        order.shuffle(faults)
    kinds = [kind for kind in OPERATORS if kind in found]
    order.shuffle(kinds)
    kept: list[Fault] = []
    while len(kept) < count and any(found.values()):
        for kind in kinds:
            if len(kept) < count and (fault := _first_noticed(shelf, package, found[kind], kept)):
                kept.append(fault)
                show(f"{fault.name}: {fault.kind}: {fault.old.strip()} -> {fault.new.strip()}")
    return sorted(kept, key=lambda fault: (fault.path, fault.line))


def _found(tree: Path, package: Package) -> dict[str, list[Fault]]:
    found: dict[str, list[Fault]] = defaultdict(list)
    for file in sorted((tree / package.code).rglob("*.py")):
        path = file.relative_to(tree).as_posix()
        source = file.read_bytes()
        if is_test(path) or is_vendored(path) or is_generated(path, source):
            continue
        for edit in edits(source.decode().replace("\r\n", "\n")):
            found[edit.kind].append(Fault(package=package.name, path=path, by="operator", **asdict(edit)))
    return found


def _first_noticed(shelf: Shelf, package: Package, waiting: list[Fault], kept: list[Fault]) -> Fault | None:
    """The next that is far from what is kept, and that the tests notice; what was looked at is gone from the list."""
    for _ in range(TRIES):
        fault = next(_usable(shelf.tree(package), waiting, kept), None)
        if fault is None:
            return None
        if not objection(shelf, package, fault):
            return fault
    return None


def _usable(tree: Path, waiting: list[Fault], kept: list[Fault]) -> Iterator[Fault]:
    while waiting:
        fault = waiting.pop()
        near = (abs(fault.line - other.line) < APART for other in kept if other.path == fault.path)
        if not any(near) and _parses(tree, fault):
            yield fault


def _parses(tree: Path, fault: Fault) -> bool:
    text = (tree / fault.path).read_bytes().decode().replace("\r\n", "\n")
    return parses(text, Edit(kind=fault.kind, line=fault.line, old=fault.old, new=fault.new))


def objection(shelf: Shelf, package: Package, fault: Fault) -> str:
    """Why a fault is none; empty where the tests notice it and otherwise run as before, and where a test that failed
    fails again when its file runs once more."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = copied(shelf.tree(package), Path(scratch) / package.name)
        inject(fault, tree)
        argv = command(shelf.python, package)
        ran = run_suite(argv, tree, shelf.patience(package))
        if reason := UNFIT.get(ran.outcome):
            return reason
        first = next(iter(ran.failing)).split("::")[0]
        again = run_suite([*argv, first], tree, shelf.patience(package))
    return "" if set(ran.failing) & set(again.failing) else f"what fails in {first} does not fail again"
