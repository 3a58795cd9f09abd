"""A patch taken apart by files, as git writes it: told from another folder, or with other line ends. Pure.

Only header lines are read as such: the counts of each hunk say what belongs to it, so a removed line `-- a/x` is none.
"""

import re
from collections.abc import Iterator
from typing import Final

from swarmcode.unified import lines_of, plain_name, quoted

_BEGIN: Final = "diff --git "
_SIDES: Final = {"--- ": "a/", "+++ ": "b/"}
_HUNK: Final = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


def rooted(diff: str, inside: str) -> str:
    """The diff of a folder as its repository's top sees it, where the folder lies at `inside`; empty: at the top.

    Names are prefixed and quoted as `git diff` does, so git applies it from the top and from the folder alike.
    """
    if not inside:
        return diff
    return "".join(_moved(line, inside) if heads else line for heads, line in _told(diff))


def sections(diff: str) -> Iterator[tuple[str, str]]:
    """Path and text of each file's part; together the parts are the whole diff."""
    path, part = "", ""
    for heads, line in _told(diff):
        if heads and line.startswith(_BEGIN) and part:
            yield path, part
            path, part = "", ""
        if heads and not path:
            path = _path(line)
        part += line
    if part:
        yield path, part


def with_line_feeds(diff: str) -> str:
    """The diff for a file that has LF wherever this one's has CRLF."""
    # A last line that ends in a lone CR has its line feed from the diff, and the mark for that below it.
    return re.sub(r"\r\n(?!\\ )", "\n", diff)


def _told(diff: str) -> Iterator[tuple[bool, str]]:
    """Each line with its end, and whether it stands outside of hunks."""
    old = new = 0
    for line in lines_of(diff):
        if old > 0 or new > 0:
            old -= line[0] in "- \r\n"
            new -= line[0] in "+ \r\n"
            yield False, line
        elif hunk := _HUNK.match(line):
            old, new = (int(count or 1) for count in hunk.groups())
            yield False, line
        else:
            yield True, line


def _path(line: str) -> str:
    if line.startswith(_BEGIN):
        return plain_name(_halves(line)[0], "a/") or ""
    for mark, side in _SIDES.items():
        if line.startswith(mark):
            return plain_name(_named(line), side) or ""
    return ""


def _moved(line: str, inside: str) -> str:
    if line.startswith(_BEGIN):
        one, other = _halves(line)
        return f"{_BEGIN}{_prefixed(one, 'a/', inside)} {_prefixed(other, 'b/', inside)}\n"
    for mark, side in _SIDES.items():
        if line.startswith(mark):
            name = _prefixed(_named(line), side, inside)
            # Git ends a name with a space so, that nothing takes the rest for a date.
            return f"{mark}{name}\t\n" if " " in name else f"{mark}{name}\n"
    return line


def _halves(line: str) -> tuple[str, str]:
    """The two names of `diff --git`: nothing is renamed, so they are equally long, whatever spaces they hold."""
    names = line.removeprefix(_BEGIN).rstrip("\n")
    return names[: len(names) // 2], names[len(names) // 2 + 1 :]


def _named(line: str) -> str:
    return line[4:].rstrip("\n").removesuffix("\t")


def _prefixed(name: str, side: str, inside: str) -> str:
    path = plain_name(name, side)
    return name if path is None else quoted(f"{side}{inside}/{path}", ascii_only=True)
