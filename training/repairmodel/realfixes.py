"""Real one-line fixes from consecutive releases of held-out packages.

    python -m repairmodel.realfixes fetch --data DIR      the releases listed in releases.txt
    python -m repairmodel.realfixes propose --data DIR    functions that differ in one line between two consecutive
                                                          releases -> DIR/real.jsonl

A release changes lines for many reasons. What `propose` finds is read by a person, and only what is a fix of behaviour
is kept, with its source and licence, in `training/real.jsonl`, which evaluation reads. No code of these projects is in
the training corpus.
"""

import argparse
import ast
import difflib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .functions import functions
from .packages import HERE, packages
from .sources import usable, wheel_sources

RELEASES = HERE / "releases.txt"


def releases() -> dict[str, list[str]]:
    """Package -> versions, oldest first."""
    rows = [line.split() for line in RELEASES.read_text().splitlines() if line and not line.startswith("#")]
    return {name: versions for name, *versions in rows}


def fetch(data: Path) -> None:
    """Download the wheels that are not there yet."""
    folder = data / "releases"
    folder.mkdir(parents=True, exist_ok=True)
    for name, versions in releases().items():
        for version in versions:
            if not wheel(folder, name, version):
                command = [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "-q",
                    "--no-deps",
                    "--only-binary",
                    ":all:",
                    "--ignore-requires-python",
                ]
                if subprocess.run([*command, "-d", folder, f"{name}=={version}"], check=False).returncode:
                    print(f"no wheel of {name} {version}", file=sys.stderr)


def wheel(folder: Path, name: str, version: str) -> Path | None:
    """The file of a release."""
    stem = re.sub(r"[-_.]+", "[-_.]+", name)
    return next(
        (p for p in folder.glob("*.whl") if re.match(rf"{stem}-{re.escape(version)}-", p.name, re.IGNORECASE)), None
    )


def read(path: Path) -> dict[str, str]:
    """`file:function` -> cleaned text."""
    found: dict[str, str] = {}
    for file, source in wheel_sources(path):
        if usable(file):
            try:
                found |= {f"{file}:{each.name}": each.text for each in functions(source)}
            except (SyntaxError, ValueError):
                continue
    return found


def one_line(before: str, after: str) -> int | None:
    """Index of the line of `before` that an edit of one line changes, inserts before, or removes; None for any other
    change.
    """
    old, new = before.split("\n"), after.split("\n")
    changes = [op for op in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if op[0] != "equal"]
    if len(changes) != 1:
        return None
    _, i1, i2, j1, j2 = changes[0]
    if (i2 - i1, j2 - j1) in ((1, 1), (1, 0)):
        return i1
    if (i2 - i1, j2 - j1) == (0, 1):
        return min(i1, len(old) - 1)
    return None


def propose(data: Path) -> Iterator[dict[str, str | int]]:
    """Pairs that differ in one line, and as programs."""
    licences = {p.name: p.licence for p in packages()}
    for name, versions in releases().items():
        known = [(version, read(path)) for version in versions if (path := wheel(data / "releases", name, version))]
        for (old, left), (new, right) in itertools.pairwise(known):
            for key in sorted(left.keys() & right.keys()):
                before, after = left[key], right[key]
                line = one_line(before, after) if before != after else None
                if line is not None and ast.dump(ast.parse(before)) != ast.dump(ast.parse(after)):
                    source = f"{name} {old} -> {new} {key}"
                    yield {"source": source, "licence": licences[name], "line": line, "before": before, "after": after}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("fetch", "propose"))
    parser.add_argument("--data", type=Path, default=HERE / "data")
    args = parser.parse_args()
    if args.command == "fetch":
        fetch(args.data)
        return
    with (args.data / "real.jsonl").open("w") as out:
        for number, row in enumerate(propose(args.data)):
            out.write(json.dumps(row) + "\n")
            changed = [
                d for d in difflib.ndiff(str(row["before"]).split("\n"), str(row["after"]).split("\n")) if d[0] in "+-"
            ]
            print(f"#{number} {row['source']}\n" + "\n".join(changed))


if __name__ == "__main__":
    main()
