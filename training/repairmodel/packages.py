"""The committed list of packages, packages.txt, and whether it says of their licences what the packages say."""

import re
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from .exclusions import BENCHMARKS

HERE = Path(__file__).resolve().parent.parent
LIST = HERE / "packages.txt"

FAMILIES = {
    "MIT": r"\bMIT\b(?!-CMU)",
    "Apache": r"\bApache\b",
    "BSD": r"\bBSD\b|Redistribution and use in source and binary forms",
    "ISC": r"\bISC\b",
    "PSF": r"\bPSF\b|Python Software Foundation",
    "HPND": r"\bHPND\b|Historical Permission Notice|\bMIT-CMU\b",
    "Zlib": r"\bzlib\b",
    "copyleft": r"\b[AL]?GPL|\bMPL\b|Mozilla Public|General Public|\bEUPL\b|\bCDDL\b|\bEPL\b",
}
"""Words by which a licence is recognised in a package's metadata and in packages.txt."""
CLAUSES = {"2": r"BSD-2|2-clause|two-clause", "3": r"BSD-3|3-clause|three-clause"}
MIT_TEXT = re.compile(r"Permission is hereby granted, free of charge, to any person obtaining a copy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A line of packages.txt."""

    name: str
    version: str
    licence: str
    use: str
    """`train` or `held-out`."""


def packages() -> list[Package]:
    """The committed list. Raises ValueError for a benchmark's project."""
    found = []
    for line in LIST.read_text().splitlines():
        if line and not line.startswith("#"):
            pinned, licence, use = line.split()
            name, version = pinned.split("==")
            if name.lower() in BENCHMARKS:
                raise ValueError(f"packages.txt: {name} is a project of a public benchmark")
            found.append(Package(name=name, version=version, licence=licence, use=use))
    return found


def families(text: str) -> set[str]:
    """The kinds of licence that a text names."""
    found = {name for name, pattern in FAMILIES.items() if re.search(pattern, text, re.IGNORECASE)}
    return found | ({"MIT"} if MIT_TEXT.search(text) else set())


def clauses(text: str) -> set[str]:
    """How many clauses a BSD licence is said to have, empty where that is not said."""
    return {number for number, pattern in CLAUSES.items() if re.search(pattern, text, re.IGNORECASE)}


def declared(wheel: Path) -> str:
    """What a wheel says of its licence: its expression, else its licence field and its classifiers.

    Where those name none (a field may hold "UNKNOWN" or nothing), the text of its licence files.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if re.match(r"[^/]+\.dist-info/", name)]
        stated = _stated(message_from_bytes(archive.read(next(n for n in names if n.endswith("/METADATA")))))
        if families(stated):
            return stated
        texts = [archive.read(n) for n in names if re.search(r"/(LICEN[CS]E|COPYING)[^/]*$", n, re.IGNORECASE)]
        return "\n".join(text.decode("utf-8", errors="replace") for text in texts)


def _stated(metadata: Message) -> str:
    if expression := metadata.get("License-Expression"):
        return str(expression)
    field = str(metadata.get("License") or "")
    classifiers = [str(c) for c in metadata.get_all("Classifier", []) if str(c).startswith("License ::")]
    # A field that holds whole texts names the licences of bundled binaries too; the classifiers speak for the project.
    return "\n".join(classifiers if classifiers and "\n" in field else [field, *classifiers])


def licence_problem(package: Package, wheel: Path) -> str | None:
    """What is wrong with a line's licence: not what the package declares, or not permissive."""
    stated = declared(wheel)
    listed, theirs = families(package.licence), families(stated)
    if "copyleft" in theirs:
        return f"packages.txt: {package.name} declares a copyleft licence; drop it"
    if listed != theirs or (clauses(stated) and clauses(package.licence) != clauses(stated)):
        said = " ".join(stated.split())[:80] or "nothing"
        return f"packages.txt: {package.name} is listed as {package.licence}, but its metadata say {said}"
    return None
