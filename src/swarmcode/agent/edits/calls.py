"""Edits of calls: one that is missing or too much, and its arguments."""

from collections.abc import Iterator

from swarmcode.agent.edits.words import Line, Sight

MOST_CALLS = 6
"""Functions and methods that are tried in one place."""
MOST_ARGUMENTS = 6
_PLAIN = ("len", "list", "str", "int", "sorted", "set", "tuple", "dict", "iter", "reversed", "abs", "next")


def calls(line: Line, sight: Sight) -> Iterator[str]:
    """A call put around a value, behind it, or taken away."""
    for place, word in line:
        before, after = line.near(place, -1).text, line.near(place, 1).text
        if word.is_variable and after == "(":
            opened = line.beside(place, 1)
            closed = line.closing(opened)
            inside = line.text(opened + 1, closed)
            if closed > 0 and before == ".":
                yield line.put(place - 1, "", closed + 1)
                yield line.put(opened, "", closed + 1)
            elif closed > 0:
                if inside.strip():
                    yield line.put(place, inside, closed + 1)
                yield line.put(opened, "", closed + 1)
        elif word.is_variable and after != "." and not _is_keyword_argument(line, place):
            yield line.put(place, f"{word.text}()")
            for method in sight.behind(word.text, called=True)[:MOST_CALLS]:
                yield line.put(place, f"{word.text}.{method}()")
            if before != ".":
                for function in dict.fromkeys((*sight.functions[:MOST_CALLS], *_PLAIN)):
                    yield line.put(place, f"{function}({word.text})")


def arguments(line: Line, sight: Sight) -> Iterator[str]:
    """An argument left out, or one more, at the end or at the beginning."""
    for place, word in line:
        if word.text != "(" or not (place and line.words[place - 1].is_variable):
            continue
        parts = line.arguments(place)
        yield from _fewer(line, parts)
        closed = line.closing(place)
        for name in (*sight.names[:MOST_ARGUMENTS], "None", "True", "False", "1") if closed > 0 else ():
            yield line.put(closed, f", {name})" if parts else f"{name})")
            if parts:
                yield line.put(place, f"({name}, ")


def _fewer(line: Line, parts: list[tuple[int, int]]) -> Iterator[str]:
    """Each of at least two arguments left out, with one comma."""
    for number, (start, end) in enumerate(parts if len(parts) > 1 else ()):
        if number:
            yield line.put(start - 1, "", end)
        else:
            following = end + 1 + (line.words[end + 1].kind == "space")
            yield line.put(start, "", following)


def _is_keyword_argument(line: Line, place: int) -> bool:
    return line.near(place, 1).text == "=" and line.near(place, -1).text in ("(", ",")
