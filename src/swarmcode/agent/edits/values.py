"""Edits of values: constants, what is returned, parts of conditions, bounds of slices, whole statements."""

from collections.abc import Iterator

from swarmcode.agent.edits.words import Line, Sight

MOST_VALUES = 8
_EMPTY = ("None", "True", "False", "0", "1", '""', "[]", "{}")


def constants(line: Line, sight: Sight) -> Iterator[str]:
    """A literal by another that is in sight, or by an empty value."""
    for place, word in line:
        if word.kind == "string":
            for other in sight.strings[:MOST_VALUES]:
                if other != word.text:
                    yield line.put(place, other)
            inside = word.text.strip("\"'")
            if inside.isalpha() and word.text[0] in "\"'":
                for other in (inside.lower(), inside.upper()):
                    yield line.put(place, word.text[0] + other + word.text[-1])
        if word.kind == "number":
            for other in sight.numbers[:MOST_VALUES]:
                if other != word.text:
                    yield line.put(place, other)
        if word.text in ("None", "True", "False") and line.near(place, -1).text in ("=", "return", ",", "(", ":"):
            for other in (*_EMPTY, *sight.names[:MOST_VALUES]):
                if other != word.text:
                    yield line.put(place, other)


def results(line: Line, sight: Sight) -> Iterator[str]:
    """Another value is returned or assigned; an assignment or a return put in or taken away."""
    words = [place for place, word in line if word.kind != "space"]
    if not words:
        return
    first = line.words[words[0]]
    if first.text in ("return", "yield"):
        for other in (*sight.names[:MOST_VALUES], *_EMPTY):
            yield line.put(words[0], f"{first.text} {other}", len(line.words))
        if len(words) > 1:
            yield line.put(words[0], "", words[1])
    elif first.is_variable and not any(line.words[place].text == "=" for place in words):
        yield line.put(words[0], f"return {first.text}")
        for name in sight.names[:MOST_VALUES]:
            yield line.put(words[0], f"{name} = {first.text}")
    elif len(words) > 2 and first.is_variable and line.words[words[1]].text == "=":
        yield line.put(words[0], "", words[2])
        yield line.put(words[0], f"return {line.words[words[2]].text}", words[2] + 1)
        for other in (*sight.names[:MOST_VALUES], *_EMPTY):
            yield line.put(words[2], other, len(line.words))
    if first.text in ("break", "continue", "pass", "return") and len(words) == 1:
        for other in ("break", "continue", "pass", "return", "return None", "return True", "return False"):
            yield line.put(words[0], other)


def conditions(line: Line, sight: Sight) -> Iterator[str]:
    """One side of `and` or `or` left out; a value held against None, or not any more."""
    for place, word in line:
        if word.text in ("and", "or", "&&", "||"):
            start, end = _side(line, place, -1), _side(line, place, 1)
            yield line.put(start, line.text(line.beside(place, 1), end), end)
            yield line.put(start, line.text(start, place).rstrip(), end)
        if word.text in ("if", "while", "elif") and place + 2 < len(line.words):
            end = _side(line, place + 1, 1)
            asked = line.text(place + 2, end)
            yield line.put(end, f" is not None{line.text(end, end + 1)}", end + 1)
            yield line.put(end, f" is None{line.text(end, end + 1)}", end + 1)
            for stop in (" is not None", " is None", " == 0", " > 0"):
                if asked.endswith(stop):
                    yield line.put(place + 2, asked.removesuffix(stop), end)
            for name in sight.names[: MOST_VALUES // 2]:
                yield line.put(end, f" and {name}{line.text(end, end + 1)}", end + 1)


def _side(line: Line, place: int, step: int) -> int:
    """Where the operand beside a boolean word begins (step -1) or ends, exclusive (step 1)."""
    depth, at = 0, place + step
    while 0 <= at < len(line.words):
        text = line.words[at].text
        if len(text) == 1:
            depth += step * ((text in "([{") - (text in ")]}"))
        if depth < 0 or (
            not depth and text in ("and", "or", "&&", "||", "if", "elif", "while", "return", ":", ",", "=", "else")
        ):
            break
        at += step
    if step > 0:
        return at
    at += 1
    while at < place and line.words[at].kind == "space":
        at += 1
    return at


def slices(line: Line) -> Iterator[str]:
    """A bound of a slice left out, given, or on the other side; the first for the last; a subscript too much or too
    little."""
    for place, word in line:
        if word.text == "[" and place and line.words[place - 1].is_operand and (closed := line.closing(place)) > 0:
            yield line.put(place, "", closed + 1)
            for other in _subscripts(line.text(place + 1, closed)):
                yield line.put(place, f"[{other}]", closed + 1)
        if word.is_variable and line.near(place, 1).text not in ("(", "[", ".", "="):
            yield line.put(place, f"{word.text}[0]")
            yield line.put(place, f"{word.text}[-1]")
            yield line.put(place, f"{word.text}[1:]")


def _subscripts(inside: str) -> Iterator[str]:
    """What could stand in brackets instead."""
    start, colon, rest = inside.partition(":")
    if not colon:
        yield from (f"{inside}:", f":{inside}", "-1", "0", "1", f"-{inside}")
        return
    end, step = rest.partition(":")[0], "".join(rest.partition(":")[1:])
    yield from (f"{end}:{start}{step}", f":{end}{step}", f"{start}:{step}")
