"""Reads the issue: text as it is, a file or pipe, standard input, or (through the `gh` program) what is on GitHub."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote

from swarmcode.errors import SurroundingsError, UsageError

LARGEST: Final = 1_000_000
"""Bytes. No issue is longer; whoever passes more has named the wrong file."""
LONGEST_TITLE: Final = 200
"""Characters."""

_REFERENCE: Final = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)#(?P<number>\d+)")
_URL: Final = re.compile(
    r"https?://(?P<host>[\w.-]+)/(?P<repo>[\w.-]+/[\w.-]+)/(issues|pull)/(?P<number>\d+)(?:[/?#].*)?"
)
_IMAGE: Final = re.compile(
    r"!\[[^\]\n]{0,300}\]\(\s*(?:<([^>\n]{1,500})>|([^)\s]{1,500}))[^)\n]{0,300}\)"
    r"|<img\b[^>\n]{0,300}?\bsrc=[\"']([^\"'\n]{1,500})[\"']"
)
_PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp"})
_GH_SECONDS: Final = 30
_STDIN: Final = ("-", "/dev/stdin")


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueText:
    """What a person wrote."""

    title: str
    """First line with words in it, without Markdown's marks; at most 200 characters."""
    text: str
    """All of it."""
    images: tuple[Path, ...] = ()
    """Pictures that the text refers to and that are on disk, in order."""


FAILING: Final = IssueText(
    title="the failing tests", text="Tests fail: the code is to be mended so that they pass, the tests are right."
)
"""What is wrong where nobody has said more."""


def read(source: str, repo: Path, stdin: BinaryIO) -> IssueText:
    """The issue that `source` stands for: text, a file or pipe, `-` for `stdin`, or `owner/name#12` or its URL.

    Pictures are looked for beside the issue's file, else in `repo`. Raises `UsageError` where nothing is said, or the
    file is missing, too large or no UTF-8 text; `SurroundingsError` where GitHub cannot be asked.
    """
    if source in _STDIN:
        return _issue(_decoded(stdin.read(LARGEST + 1), "standard input"), repo, repo)
    place = _existing(source)
    if place is not None:
        return _issue(_decoded(_content(place), str(place)), place.parent if place.is_file() else repo, repo)
    bare = source.strip()
    if reference := _REFERENCE.fullmatch(bare) or _URL.fullmatch(bare):
        return _issue(_from_github(bare, reference), repo, repo)
    if _looks_like_path(bare):
        raise UsageError(
            f"no such file: {bare}", "pass a file that is there, or the text itself (through - if it has no spaces)"
        )
    return _issue(_decoded(source.encode(errors="surrogateescape"), "the issue"), repo, repo)


def _existing(source: str) -> Path | None:
    """The file that a source names, if it is one; a folder counts, so that it can be complained of."""
    if "\n" in source or not source.strip() or len(source) > 4096:
        return None
    try:
        place = Path(source).expanduser()
        return place if place.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None  # no path at all: too long a name, a null character, no home folder


def _looks_like_path(source: str) -> bool:
    if not source or re.search(r"\s", source):
        return False
    return "/" in source or "\\" in source or source.lower().endswith((".md", ".txt", ".rst", ".markdown"))


def _content(place: Path) -> bytes:
    """What stands in a file, or comes out of a pipe (`<(command)`) or a device."""
    if not (place.is_file() or place.is_fifo() or place.is_char_device()):
        raise UsageError(f"{place} is no file", "pass the file with the issue, or the text itself")
    try:
        with place.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(
            f"{place} cannot be read: {error.strerror}", "pass a readable file, or the text itself"
        ) from error


def _decoded(content: bytes, name: str) -> str:
    if len(content) > LARGEST:
        raise UsageError(
            f"{name} is larger than {LARGEST // 1000} kB", "pass the issue alone, without logs and attachments"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is no UTF-8 text", "save the issue as plain text or Markdown") from None
    if "\0" in text:
        raise UsageError(f"{name} is binary, not text", "save the issue as plain text or Markdown")
    return text.replace("\r\n", "\n")


def _issue(text: str, folder: Path, repo: Path) -> IssueText:
    title = next((line for line in map(_bare, text.splitlines()) if line), "")
    if not title:
        raise UsageError("the issue is empty", "say what is wrong, in a sentence or a file")
    return IssueText(title=title[:LONGEST_TITLE], text=text, images=tuple(_images(text, folder, repo)))


def _bare(line: str) -> str:
    """A line without Markdown's heading and emphasis marks; empty where nothing but marks is left."""
    line = re.sub(r"^\s*#{1,6}(\s+|$)|\s+#+\s*$", "", line).strip()
    line = line.strip("*_`") if re.fullmatch(r"(\*\*|__|`)(?!\s).+(?<!\s)\1", line) else line
    return line if re.search(r"\w", line) else ""


def _images(text: str, folder: Path, repo: Path) -> list[Path]:
    """Pictures on disk, beside the issue or in the repository: a text from elsewhere must not point at other files."""
    found: dict[Path, None] = {}
    for match in _IMAGE.finditer(text):
        target = unquote(match[1] or match[2] or match[3])
        try:
            place = (folder / target).resolve()
            inside = any(place.is_relative_to(root.resolve()) for root in (folder, repo))
            if inside and place.suffix.lower() in _PICTURES and place.is_file():
                found[place] = None
        except (OSError, ValueError, RuntimeError):
            continue  # what stands there is no path
    return list(found)


def _from_github(source: str, reference: re.Match[str]) -> str:
    """Title and body as `gh` tells them: it has the person's credentials, and this program wants none."""
    if shutil.which("gh") is None:
        raise UsageError(
            f"{source} is on GitHub, and the gh program that could fetch it is not installed",
            "pass the issue's text, a file with it, or - and pipe it in",
        )
    host = reference.groupdict().get("host")
    repository = reference["repo"] if host in (None, "github.com") else f"{host}/{reference['repo']}"
    command = ["gh", "issue", "view", reference["number"], "--repo", repository, "--json", "title,body"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_GH_SECONDS, check=True, stdin=subprocess.DEVNULL)
        answer = json.loads(done.stdout)
        title, body = str(answer["title"]), str(answer["body"] or "")
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines() or [f"gh ended with {error.returncode}"]
        raise SurroundingsError(f"{source}: {reason[0]}", "see `gh auth status`, or pass the issue's text") from error
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        raise SurroundingsError(
            f"{source}: gh did not answer with an issue ({error})", "pass the issue's text"
        ) from error
    return _decoded(f"# {title}\n\n{body}\n".encode(), source)
