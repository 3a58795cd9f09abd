"""What of the repository's files a model is shown, where not all of it fits."""

from collections.abc import Iterable, Sequence

from swarmcode.tree import Tree

AROUND = 30
"""Lines shown before and after a place in a file that is too long to be shown whole."""
BYTES_PER_TOKEN = 3
"""Low estimate for code, so that what is shown is sure to fit."""


def room_of(context: int) -> int:
    """Characters of files that are shown to a model with so many tokens of context: half of it."""
    return context // 2 * BYTES_PER_TOKEN


def shown(tree: Tree, paths: Iterable[str], places: Sequence[tuple[str, int]], room: int) -> list[tuple[str, str]]:
    """Path and text of these files, as far as `room` characters allow; of a file that is too long, what stands around
    its places (path and line, most important first). What is no text is passed over."""
    seen: list[tuple[str, str]] = []
    for path in dict.fromkeys(paths):
        text = tree.text(path) or ""
        if len(text) > room:
            text = excerpt(text, [line for place, line in places if place == path], room)
        if text:
            seen.append((path, text))
            room -= len(text)
    return seen


def excerpt(text: str, numbers: Sequence[int], room: int) -> str:
    """The lines around some line numbers (from 1, most important first) that fit into `room` characters, in the order
    of the file, with `...` where lines are left out; empty where none fit."""
    lines = text.split("\n")
    chosen: set[int] = set()
    for number in numbers:
        around = set(range(max(0, number - 1 - AROUND), min(len(lines), number + AROUND)))
        if sum(len(lines[row]) + 1 for row in chosen | around) > room:
            break
        chosen |= around
    pieces: list[str] = []
    for row in sorted(chosen):
        if row and row - 1 not in chosen:
            pieces.append("...")
        pieces.append(lines[row])
    return "\n".join(pieces)
