"""Places in code that a text names: stack traces, compiler and test output, links to lines.

Formats: Python (`File "a.py", line 3, in f`), pytest, Go, Rust, C, Ruby and most compilers (`a.py:3`), Node and Java
(`at f (a.js:3:5)`, `at p.C.m(C.java:3)`), .NET (`in a.cs:line 3`), PHP (`a.php on line 3`, `a.php(3)`), links to lines
on forges (`a.py#L3`). A place counts only where its path ends like that of a file in the repository. Works in time
linear in the text.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from swarmcode.flow import Frame

_PYTHON: Final = re.compile(
    r'File "(?P<path>[^"\n]{1,400})", line (?P<line>\d{1,7})(?:, in (?P<function>[^\s]{1,200}))?'
)
_JAVA: Final = re.compile(
    r"\bat (?:[\w.$-]{1,100}/)?(?P<owner>[\w.$]{1,300})\.(?P<function>[\w$<>]{1,100})"
    r"\((?P<path>\w{1,100}\.\w{1,8}):(?P<line>\d{1,7})\)"
)
# A path begins where nothing that belongs to a path stands before it, so each run of characters is tried once.
_PLACE: Final = re.compile(
    r"(?:\bat (?:async )?(?P<function>[\w.$<>\[\] ]{1,100}?) \()?"
    r"(?<![\w./\\@+~-])(?:file://)?(?P<path>[\w./\\@+~-]{1,400}\.\w{1,8})"
    r"(?::line |:|\(|, line | on line | line |\#L)(?P<line>\d{1,7})\b"
)


class Files:
    """Finds the file of a repository that a path from elsewhere means."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
        for path in sorted(paths):
            parts = PurePosixPath(path).parts
            if parts:
                self._by_name[parts[-1]].append(parts)

    def find(self, path: str) -> str | None:
        """The file that agrees with `path` in most of its last parts; None where none does, or several do equally."""
        parts = PurePosixPath(path.replace("\\", "/")).parts
        if not parts:
            return None
        known = [(self._agreement(parts, candidate), candidate) for candidate in self._by_name.get(parts[-1], ())]
        best = max((agreement for agreement, _ in known), default=0)
        found = [candidate for agreement, candidate in known if agreement == best]
        whole = [candidate for candidate in found if len(candidate) == best]
        found = whole if len(whole) == 1 else found
        return "/".join(found[0]) if len(found) == 1 else None

    @staticmethod
    def _agreement(one: tuple[str, ...], other: tuple[str, ...]) -> int:
        count = 0
        for left, right in zip(reversed(one), reversed(other), strict=False):
            if left != right:
                break
            count += 1
        return count


def mentions(text: str, files: Files) -> tuple[Frame, ...]:
    """Places in the repository's files in the order in which the text names them; each once."""
    found: dict[tuple[str, int], Frame] = {}
    for _, path, line, function in sorted(_named(text)):
        resolved = files.find(path)
        if resolved is not None and line and (resolved, line) not in found:
            found[resolved, line] = Frame(path=resolved, line=line, function=function)
    return tuple(found.values())


def _named(text: str) -> Iterator[tuple[int, str, int, str]]:
    """Position, path, line and function of whatever looks like a place."""
    for match in _PYTHON.finditer(text):
        yield match.start(), match["path"], int(match["line"]), match["function"] or ""
    for match in _JAVA.finditer(text):
        # The package tells the folders; an inner class or a Kotlin file's class is part of no path.
        folders = match["owner"].replace(".", "/").rpartition("/")[0]
        yield match.start(), f"{folders}/{match['path']}", int(match["line"]), match["function"]
    for match in _PLACE.finditer(text):
        yield match.start(), match["path"], int(match["line"]), match["function"] or ""
