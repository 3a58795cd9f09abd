"""What an agent sees of a tree: files with line numbers, folders, lines that contain a text. Pure, and bounded.

A search text is no regular expression: a model's pattern could take for ever. Its pieces between `.*` are found one
after the other, which takes time linear in the line.
"""

from collections.abc import Iterable, Iterator

MOST_LINES = 250
"""Lines of a file that are shown at once."""
MOST_HITS = 60
MOST_ENTRIES = 200
LONGEST_SEARCH = 500
"""Characters of what is looked for; the rest is not."""
MOST_ALTERNATIVES = 16
LINE = 400
"""Characters of a line; longer ones are cut, with a mark."""
CUT = " …"


def lines(text: str, start: int = 1, end: int = 0) -> str:
    """Lines `start` to `end` (0: as many as are shown at once), numbered, and what is left out."""
    every = _split(text)
    first = max(1, start)
    last = min(len(every), end if end >= first else len(every))
    shown = min(last, first + MOST_LINES - 1)
    told = [f"{number:6}\t{short(every[number - 1])}" for number in range(first, shown + 1)]
    if not told:
        return f"There are no such lines: the file has {len(every)}."
    if shown < last:
        told.append(f"(lines {shown + 1} to {last} are left out; the file has {len(every)})")
    return "\n".join(told)


def _split(text: str) -> list[str]:
    """Lines as tracebacks count them: a form feed ends none."""
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n") if text else []


def short(line: str) -> str:
    """A line that is not too long."""
    return line if len(line) <= LINE else line[:LINE] + CUT


def entries(folder: str, files: Iterable[str]) -> str:
    """What is in a folder: folders first."""
    prefix = f"{folder}/" if folder else ""
    inside = {path[len(prefix) :] for path in files if path.startswith(prefix)}
    folders = sorted({f"{path.split('/', 1)[0]}/" for path in inside if "/" in path})
    every = [*folders, *sorted(path for path in inside if "/" not in path)]
    if not every:
        return f"There is no folder {folder!r}."
    left = len(every) - MOST_ENTRIES
    return "\n".join(every[:MOST_ENTRIES] + ([f"({left} more are left out)"] if left > 0 else []))


def search(wanted: str, texts: Iterable[tuple[str, str]]) -> str:
    """Lines of `texts` (path and content) that contain what is wanted; without regard to case where none does as it
    is written. The work ends when enough are found."""
    alternatives = _alternatives(wanted)
    if not alternatives:
        return "Say what to look for."
    folded = [[piece.casefold() for piece in pieces] for pieces in alternatives]
    exact: list[str] = []
    loose: list[str] = []
    for path, text in texts:
        for number, line in enumerate(_split(text), start=1):
            if any(_has(line, pieces) for pieces in alternatives):
                exact.append(f"{path}:{number}: {short(line.strip())}")
            elif not exact and len(loose) < MOST_HITS and any(_has(line.casefold(), pieces) for pieces in folded):
                loose.append(f"{path}:{number}: {short(line.strip())}")
            if len(exact) > MOST_HITS:
                return "\n".join([*exact[:MOST_HITS], "(there are more: look for something rarer)"])
    if exact:
        return "\n".join(exact)
    return "\n".join(["Only without regard to case:", *loose]) if loose else f"No line contains {wanted[:200]!r}."


def _alternatives(wanted: str) -> list[list[str]]:
    """Pieces of each alternative. Signs of regular expressions that models put in all the same are taken as meant."""
    plain = wanted[:LONGEST_SEARCH].replace("\\|", "|")
    found = []
    for alternative in plain.split("|")[:MOST_ALTERNATIVES]:
        pieces = [_unescaped(piece) for piece in alternative.split(".*")]
        if kept := [piece for piece in pieces if piece]:
            found.append(kept)
    return found


def _unescaped(piece: str) -> str:
    bare = piece.replace("\\b", "").replace("\\s+", " ").replace("\\s*", "")
    return "".join(_characters(bare))


def _characters(text: str) -> Iterator[str]:
    """Without the backslash before a sign."""
    waiting = False
    for character in text:
        if character == "\\" and not waiting:
            waiting = True
            continue
        if waiting and character.isalnum():
            yield "\\"
        waiting = False
        yield character


def _has(line: str, pieces: list[str]) -> bool:
    at = 0
    for piece in pieces:
        at = line.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True
