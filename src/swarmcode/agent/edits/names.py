"""Edits of names: the wrong one of those in sight, and whose it is."""

from collections.abc import Iterator

from swarmcode.agent.edits.words import Line, Sight

MOST_NAMES = 10
"""Of a sort, tried in one place."""
_COMMON_ERRORS = ("ValueError", "TypeError", "KeyError", "IndexError", "AttributeError", "RuntimeError", "OSError")


def renames(line: Line, sight: Sight) -> Iterator[str]:
    """A name by another of its sort."""
    for place, word in line:
        if word.is_variable:
            for other in _others(line, place, word.text, sight):
                if other != word.text:
                    yield line.put(place, other)


def _others(line: Line, place: int, text: str, sight: Sight) -> tuple[str, ...]:
    if text in sight.errors or text in _COMMON_ERRORS:
        return tuple(dict.fromkeys((*sight.errors[:MOST_NAMES], *_COMMON_ERRORS)))
    called = line.near(place, 1).text == "("
    if line.near(place, -1).text == ".":
        return sight.behind(line.owner(place), called=called)[:MOST_NAMES]
    return tuple((sight.functions if called else sight.names)[:MOST_NAMES])


def owners(line: Line, sight: Sight) -> Iterator[str]:
    """`self.` put before a name or taken away, and an attribute put behind a name or taken away."""
    known = {*sight.attributes, *sight.methods}
    for place, word in line:
        if not word.is_variable or (line.near(place, 1).text in ("(", "=") and line.near(place, -1).text in ("(", ",")):
            continue
        before, after = line.near(place, -1).text, line.near(place, 1).text
        if word.text == "self" and after == "." and place + 2 < len(line.words):
            yield line.put(place, "", place + 2)
        elif before != "." and word.text in known and word.text != "self":
            yield line.put(place, f"self.{word.text}")
        if before == "." and after != "(" and place >= 2:
            yield line.put(place - 1, "", place + 1)
        if before != "." and after not in (".", "("):
            for attribute in sight.behind(word.text, called=False)[: MOST_NAMES // 2]:
                yield line.put(place, f"{word.text}.{attribute}")
