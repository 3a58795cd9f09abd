"""How git is called: on which git dir, with which settings, and with nothing of the surroundings that could mislead it.

Every call names its git dir, work tree, index and object folder, so variables that a hook or a shell left behind (a
pre-commit step runs with several) decide nothing; system and global configuration are not read, and settings that run
programs are overridden, since a repository's own configuration is as untrusted as its files.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swarmcode.errors import StateError, SurroundingsError

_SETTINGS: Final = {
    "advice.detachedHead": "false",
    "apply.ignoreWhitespace": "no",
    "apply.whitespace": "nowarn",
    "core.attributesFile": "/dev/null",
    "core.autocrlf": "false",
    "core.compression": "1",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.ignoreCase": "false",
    # Names that other systems cannot hold are on this disk all the same.
    "core.protectHFS": "false",
    "core.protectNTFS": "false",
    "core.safecrlf": "false",
    "core.untrackedCache": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "safe.directory": "*",
}
_SURROUNDINGS: Final = {
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_PARAMETERS": "",
    "GIT_DIFF_OPTS": "",
    "GIT_EDITOR": "false",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PREFIX": "",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_TRACE": "0",
}
ATTRIBUTES: Final = "* !text !eol !ident !filter !diff !merge !whitespace !working-tree-encoding\n"
"""Overrides whatever the tree's own `.gitattributes` say, when it stands in a git dir's `info/attributes`."""


_FULL: Final = re.compile("No space left on device|Disk quota exceeded|Read-only file system")
"""Complaints of git that are not about what it was asked."""


class GitFailed(Exception):
    """Git said no; the message is its first complaint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitDir:
    """A place for git to work in."""

    folder: Path
    common: Path
    """Where objects and references are; differs from `folder` in a linked work tree."""
    top: Path
    """Root of the work tree."""
    index: Path
    alternates: Path | None = None
    """A further object folder to read from."""

    def call(self, *arguments: str, given: bytes = b"", settings: Mapping[str, str] | None = None) -> bytes:
        """What git prints. Raises `GitFailed`, `SurroundingsError` where git is not installed, and
        `StateError` where the disk is full."""
        return _execute(
            arguments, self.top, given, {**_environment({**_SETTINGS, **(settings or {})}), **self._place()}
        )

    def setting(self, name: str) -> str:
        """A setting as the person has it, from any of git's files; empty where there is none."""
        variables = {**_environment(_SETTINGS), **self._place()}
        for variable in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
            del variables[variable]
        try:
            return _execute(("config", "--get", name), self.top, b"", variables).decode(errors="replace").strip()
        except GitFailed:
            return ""

    def _place(self) -> dict[str, str]:
        return {
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self.alternates or ""),
            "GIT_COMMON_DIR": str(self.common),
            "GIT_DIR": str(self.folder),
            "GIT_INDEX_FILE": str(self.index),
            "GIT_OBJECT_DIRECTORY": str(self.common / "objects"),
            "GIT_WORK_TREE": str(self.top),
        }


def find(folder: Path) -> GitDir | None:
    """The git dir of the repository that `folder` lies in; None where it lies in none. Reads, and runs nothing."""
    for top in (folder, *folder.parents):
        mark = top / ".git"
        try:
            if mark.is_dir():
                place = mark
            elif mark.is_file():
                place = top / mark.read_text(errors="surrogateescape").removeprefix("gitdir:").strip()
            else:
                continue
            if not (place / "HEAD").is_file():
                continue
            link = place / "commondir"
            common = place / link.read_text(errors="surrogateescape").strip() if link.is_file() else place
        except (OSError, ValueError):
            continue
        return GitDir(folder=place.resolve(), common=common.resolve(), top=top, index=place.resolve() / "index")
    return None


def inside(folder: Path) -> str:
    """Where a folder lies below the top of its repository, `pkg/core`; empty at the top, and outside of git."""
    folder = folder.resolve()
    home = find(folder)
    where = folder.relative_to(home.top).as_posix() if home else "."
    return "" if where == "." else where


def private_dir(folder: Path, top: Path, *, stands_for: GitDir | None) -> GitDir:
    """A git dir of our own; where it stands for a user's, with copies of its index and excludes, and its objects."""
    for name in ("objects", "refs", "info"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "info" / "attributes").write_text(ATTRIBUTES)
    config = "[core]\n\trepositoryFormatVersion = 0\n\tbare = false\n"
    if stands_for is not None:
        if _is_sha256(stands_for.common):
            config = config.replace("= 0", "= 1") + "[extensions]\n\tobjectFormat = sha256\n"
        copies = [(stands_for.index, "index"), (stands_for.common / "info" / "exclude", "info/exclude")]
        copies += [(shared, shared.name) for shared in stands_for.folder.glob("sharedindex.*")]
        for source, name in copies:
            if source.is_file():
                shutil.copyfile(source, folder / name)
    (folder / "config").write_text(config)
    alternates = stands_for.common / "objects" if stands_for else None
    return GitDir(folder=folder, common=folder, top=top, index=folder / "index", alternates=alternates)


def _is_sha256(common: Path) -> bool:
    try:
        config = (common / "config").read_text(errors="replace")
    except OSError:
        return False
    return re.search(r"^\s*objectformat\s*=\s*\"?sha256", config, re.IGNORECASE | re.MULTILINE) is not None


def ended(diff: str) -> bytes:
    """A diff as git is given it: bytes, with a line's end at the end."""
    return (diff if diff.endswith("\n") else f"{diff}\n").encode(errors="surrogateescape")


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    variables = {**_SURROUNDINGS, "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _execute(arguments: tuple[str, ...], folder: Path, given: bytes, variables: Mapping[str, str]) -> bytes:
    try:
        # Importing GitPython looks for git, and fails where there is none.
        from git import Git, GitCommandNotFound
    except ImportError as error:
        raise SurroundingsError("git is not installed", "install git 2.32 or later") from error
    with tempfile.TemporaryFile() as stdin:
        stdin.write(given)
        stdin.seek(0)
        try:
            status, out, complaint = Git(folder).execute(
                ["git", *arguments],
                istream=stdin,
                env=variables,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        except GitCommandNotFound as error:
            raise SurroundingsError("git is not installed", "install git 2.32 or later") from error
    if status and (full := _FULL.search(complaint)):
        raise StateError(
            f"git cannot write: {full[0]}", "free space; for the state directory, SWARMCODE_HOME may name another place"
        )
    if status:
        raise GitFailed(_first(complaint) or f"git {arguments[0]} ended with {status}")
    return out


def _first(complaint: str) -> str:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("error:", "fatal:"))]
    return (told or lines or [""])[0].removeprefix("error:").removeprefix("fatal:").strip()
