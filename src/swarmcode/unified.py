"""The unified diff format, read and written, git's extensions included. Pure.

Parsed with unidiff; what a patch does beyond changing text (modes, links, renames, binary content) is kept as a
complaint instead of being obeyed. Text stands for bytes by UTF-8 with surrogate escapes, so files in other encodings
come through unharmed; print such a diff with `errors="surrogateescape"`.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from typing import AnyStr, Final

from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk as ParsedHunk
from unidiff.patch import PatchedFile, PatchSet

from swarmcode.errors import DiffError

LARGEST: Final = 1_000_000
"""Characters of a diff; no fix is longer, and parsing costs time."""

_CONTEXT: Final = 3
_NULL: Final = "/dev/null"
_NO_NEWLINE: Final = "\\ No newline at end of file\n"
_ORDINARY_MODES: Final = (None, "100644", "100755")
_ESCAPES: Final = {"n": 10, "t": 9, "r": 13, '"': 34, "\\": 92, "a": 7, "b": 8, "f": 12, "v": 11}
_LARGE: Final = 2_000
"""Changed lines from which on the difference may be longer than need be, because finding the shortest takes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """Consecutive lines that give way to others."""

    start: int
    """Index of the first old line, from 0."""
    old: tuple[bytes, ...]
    """Lines with their ends, context included."""
    new: tuple[bytes, ...]
    touched: tuple[int, int]
    """First and last old line (from 1) that is removed; where lines are only added, the two that they come between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePatch:
    """What a diff does to one file."""

    old: str | None
    """None: the file is new."""
    new: str | None
    """None: the file is deleted."""
    hunks: tuple[Hunk, ...]
    complaint: str = ""
    """Why it is no ordinary change of text: a mode, a link, a binary patch, a rename."""

    @property
    def path(self) -> str:
        """The file that it is about; where it moves, the new name."""
        return self.new or self.old or ""


def parse(text: str) -> tuple[FilePatch, ...]:
    """The files of a unified diff, git's extensions included. Raises `DiffError` where it is none or is empty."""
    if len(text) > LARGEST:
        raise DiffError(f"the diff has {len(text):,} characters; at most {LARGEST:,} are read")
    if not text.endswith("\n"):
        text += "\n"
    try:
        # `newline` keeps CRLF and lone CR inside lines.
        parsed = PatchSet(StringIO(text, newline="\n"))
        patches = tuple(_file_patch(file) for file in parsed)
    except (UnidiffParseError, ValueError) as error:
        raise DiffError(f"no readable diff: {str(error).strip() or type(error).__name__}") from error
    if not patches:
        raise DiffError("no readable diff: it names no file")
    return patches


def diff_text(path: str, old: str | None, new: str | None) -> str:
    """Unified diff of one file from its whole texts; None: there is no such file. Empty where nothing changes.

    Git's form: `a/` and `b/`, three lines of context, `\\ No newline at end of file` where the last line has none.
    """
    if old == new:
        return ""
    before, after = quoted(f"a/{path}"), quoted(f"b/{path}")
    head = f"diff --git {before} {after}\n"
    if old is None:
        head, before = f"{head}new file mode 100644\n", _NULL
    if new is None:
        head, after = f"{head}deleted file mode 100644\n", _NULL
    body = "".join(_hunk_texts(lines_of(old or ""), lines_of(new or "")))
    if not body:
        return head
    # unidiff takes what follows the last ` b/` of the header for the new name; without a header it reads on.
    head = "" if " b/" in path else head
    return f"{head}--- {_ended(before)}\n+++ {_ended(after)}\n{body}"


def _file_patch(file: PatchedFile) -> FilePatch:
    old, new = plain_name(file.source_file, "a/"), plain_name(file.target_file, "b/")
    info = "".join(file.patch_info or ())
    complaint = ""
    if file.is_binary_file:
        complaint = "a binary patch"
    elif re.search(r"^(rename|copy) (from|to) ", info, re.MULTILINE) or (old and new and old != new):
        complaint = "the file is renamed or copied"
    elif file.source_mode not in _ORDINARY_MODES or file.target_mode not in _ORDINARY_MODES:
        complaint = "a link or submodule"
    elif (old and new and file.source_mode != file.target_mode) or (old is None and file.target_mode == "100755"):
        complaint = "the file's mode is changed"
    return FilePatch(old=old, new=new, hunks=tuple(_hunk(hunk) for hunk in file), complaint=complaint)


def plain_name(name: str | None, prefix: str) -> str | None:
    """The path behind a name in a header: unquoted, without `a/` or `b/`; None for /dev/null. Raises `DiffError` where
    there is none."""
    if not name:
        raise DiffError("no readable diff: a file has no name")
    if name.startswith('"') and name.endswith('"') and len(name) > 1:
        name = _unquoted(name[1:-1])
    return None if name == _NULL else name.removeprefix(prefix)


def _unquoted(name: str) -> str:
    """A name as git quotes it, in the manner of C: what is escaped are bytes."""

    def plain(match: re.Match[str]) -> str:
        escape = match[1]
        return chr(int(escape, 8) & 255) if escape.isdigit() else chr(_ESCAPES.get(escape, ord(escape)))

    octets = name.encode(errors="surrogateescape").decode("latin-1")
    octets = re.sub(r"\\([0-7]{1,3}|.)", plain, octets)
    return octets.encode("latin-1").decode(errors="surrogateescape")


def quoted(name: str, *, ascii_only: bool = False) -> str:
    """A name as git writes it: quoted where it holds a quote, a backslash or a control character; with `ascii_only`,
    which is git's default (`core.quotePath`), also where a byte of it is none of ASCII."""
    if not re.search(r'["\\\x00-\x1f\x7f]', name) and (name.isascii() or not ascii_only):
        return name
    escapes = {code: f"\\{letter}" for letter, code in _ESCAPES.items()}
    others = (*range(32), *range(127, 256 if ascii_only else 128))
    escapes |= {code: f"\\{code:03o}" for code in others if code not in escapes}
    if ascii_only:
        name = name.encode(errors="surrogateescape").decode("latin-1")
    return f'"{name.translate(escapes)}"'


def _ended(name: str) -> str:
    """A name with a space ends in a tab, so that nothing takes the rest for a date."""
    return f"{name}\t" if " " in name and not name.startswith('"') else name


def _hunk(hunk: ParsedHunk) -> Hunk:
    old: list[bytes] = []
    new: list[bytes] = []
    removed: list[int] = []
    added: list[int] = []
    start = hunk.source_start - 1 if hunk.source_length else hunk.source_start
    sides: tuple[list[bytes], ...] = ()
    for line in hunk:
        value = line.value.encode(errors="surrogateescape")
        if line.line_type == "\\":
            for side in sides:
                side[-1] = side[-1].removesuffix(b"\n")
        elif line.line_type in ("-", "+", " "):
            if line.line_type == "-":
                removed.append(start + len(old) + 1)
            elif line.line_type == "+":
                added.append(start + len(old))
            sides = {"-": (old,), "+": (new,), " ": (old, new)}[line.line_type]
            for side in sides:
                side.append(value)
    lines = removed or [line for place in added for line in (place, place + 1)] or [start + 1]
    return Hunk(start=start, old=tuple(old), new=tuple(new), touched=(min(lines), max(lines)))


def lines_of(text: AnyStr) -> list[AnyStr]:
    """Lines with their ends; only a line feed ends one, as for git."""
    if isinstance(text, bytes):
        return re.findall(rb"[^\n]*\n|[^\n]+", text)
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _hunk_texts(old: list[str], new: list[str]) -> Iterator[str]:
    """Hunks with their headers. Equal ends are cut off first: edits are small and files long."""
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    left, right = old[head : len(old) - tail], new[head : len(new) - tail]
    middle = difflib.SequenceMatcher(None, left, right, autojunk=len(left) + len(right) > _LARGE)
    edits = [(head + a, head + b, head + c, head + d) for tag, a, b, c, d in middle.get_opcodes() if tag != "equal"]
    for group in _grouped(edits):
        yield _hunk_text(group, old, new)


def _shared(one: list[str], other: list[str]) -> int:
    """How many lines from the start are equal."""
    for count, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return count
    return min(len(one), len(other))


_Edit = tuple[int, int, int, int]
"""Old lines a..b-1 give way to new lines c..d-1."""


def _grouped(edits: list[_Edit]) -> Iterator[list[_Edit]]:
    """Edits whose contexts would touch share a hunk."""
    group: list[_Edit] = []
    for edit in edits:
        if group and edit[0] - group[-1][1] > 2 * _CONTEXT:
            yield group
            group = []
        group.append(edit)
    if group:
        yield group


def _hunk_text(edits: list[_Edit], old: list[str], new: list[str]) -> str:
    first, last = edits[0], edits[-1]
    before = min(_CONTEXT, first[0])
    after = min(_CONTEXT, len(old) - last[1])
    spans = (_span(first[0] - before, last[1] + after), _span(first[2] - before, last[3] + after))
    body = [" " + line for line in old[first[0] - before : first[0]]]
    for edit, following in pairwise([*edits, (last[1] + after, 0, 0, 0)]):
        a, b, c, d = edit
        body += ["-" + line for line in old[a:b]]
        body += ["+" + line for line in new[c:d]]
        body += [" " + line for line in old[b : following[0]]]
    whole = "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}" for line in body)
    return f"@@ -{spans[0]} +{spans[1]} @@\n{whole}"


def _span(start: int, end: int) -> str:
    """Lines start..end-1 (from 0) as a hunk header tells them."""
    length = end - start
    return f"{start + 1}" if length == 1 else f"{start + bool(length)},{length}"
