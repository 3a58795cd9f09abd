"""The models that a person has given a name: a small file in the state directory, `models.json`.

Name -> path of the first GGUF, when it was added, where it came from; and which one is meant where no other is named.
The file is replaced whole or not at all, under a lock, so two calls never lose each other's entries. It is read only
where a name has to be looked up: a damaged one never keeps the embedded model from running.
"""

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swarmcode.errors import ModelError, StateError, UsageError

EMBEDDED = "repair"
"""The model that ships with swarmcode: always there, and no entry of the file."""
VERSION = 1
LARGEST_FILE = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model."""

    name: str
    path: Path
    """Absolute; of a model in several files, the first."""
    added: str
    """When, in UTC: `2026-11-23T19:30:00Z`."""
    source: str = ""
    """Where it was pulled from: `org/repo@revision/file.gguf`; empty: it was on this machine already."""
    adapter: Path | None = None
    """A LoRA adapter that is put over it; absolute."""

    @property
    def pulled(self) -> bool:
        """Whether its files are ours to delete."""
        return bool(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What the file holds."""

    entries: tuple[Entry, ...] = ()
    """In the order of their names; the embedded model is not among them."""
    default: str = EMBEDDED

    def find(self, name: str) -> Entry | None:
        """The entry of that name."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def known(self, name: str) -> Entry:
        """The same. Raises `UsageError` where there is none."""
        entry = self.find(name)
        if entry is None:
            raise UsageError(f"there is no model called {name!r}", "see: swarmcode models list")
        return entry

    def with_entry(self, entry: Entry) -> "Registry":
        """With one more, or one that takes the place of its namesake."""
        others = (each for each in self.entries if each.name != entry.name)
        return replace(self, entries=tuple(sorted((*others, entry), key=lambda each: each.name)))

    def without(self, name: str) -> "Registry":
        """With one less. Raises `UsageError` where there is none, and for the embedded model."""
        if name == EMBEDDED:
            raise UsageError(f"{EMBEDDED} is a part of swarmcode and stays", "see: swarmcode models list")
        gone = self.known(name)
        left = tuple(each for each in self.entries if each is not gone)
        return replace(self, entries=left, default=EMBEDDED if self.default == name else self.default)

    def with_default(self, name: str) -> "Registry":
        """With another default. Raises `UsageError` where there is no such model."""
        if name != EMBEDDED:
            self.known(name)
        return replace(self, default=name)


def checked_name(name: str) -> str:
    """The name, if a model may be called so. Raises `UsageError`."""
    if name == EMBEDDED:
        raise UsageError(f"{EMBEDDED} is the name of the embedded model", "give another one with --name")
    if not _NAME.fullmatch(name) or name.endswith(".gguf"):
        raise UsageError(
            f"a model cannot be called {name!r}", "use up to 80 letters, digits, dots, dashes and underscores: --name"
        )
    return name


def name_for(path: Path) -> str:
    """A name for a file, made of its own: `org/Kimi-K2.5-Q2_K-00001-of-00008.gguf` gives `Kimi-K2.5-Q2_K`."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", path.name.removesuffix(".gguf"))
    return checked_name(_UNFIT.sub("-", stem).strip("-._")[:80])


def file_of(home: Path) -> Path:
    """Where the registry of a state directory is."""
    return home / "models.json"


def now() -> str:
    """This moment, as entries have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def load(home: Path) -> Registry:
    """The registry; an empty one where there is none. Raises `StateError` where it cannot be read."""
    file = file_of(home)
    try:
        with file.open("rb") as stream:
            return _decoded(stream.read(LARGEST_FILE + 1))
    except (FileNotFoundError, NotADirectoryError):
        return Registry()
    except OSError as error:
        raise StateError(f"{file} cannot be read: {error.strerror}", "make it readable, or remove it") from error
    except (ValueError, RecursionError) as error:
        raise StateError(
            f"{file}, which has the names of models, is damaged: {error}",
            "correct it, or remove it and add the models again; their files are not touched",
        ) from error


def change(home: Path, how: Callable[[Registry], Registry]) -> Registry:
    """Replaces the registry by what `how` makes of it; gives that. Raises what `how` raises, and `StateError`."""
    file = file_of(home)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(home / "models.lock"):
            changed = how(load(home))
            _write(file, json.dumps(_encoded(changed), indent=2) + "\n")
    except OSError as error:
        raise StateError(
            f"{file} cannot be written: {error.strerror}",
            "set SWARMCODE_HOME to a folder that can be written and has space",
        ) from error
    return changed


def located(entry: Entry) -> Path:
    """The file of a model. Raises `ModelError` where it is gone."""
    if not entry.path.is_file():
        raise ModelError(
            f"the file of the model {entry.name} is gone: {entry.path}",
            f"put it back, or forget the name: swarmcode models remove {entry.name}",
        )
    return entry.path


def _encoded(registry: Registry) -> dict[str, Any]:
    models = {entry.name: asdict(entry) | {"path": str(entry.path)} for entry in registry.entries}
    for entry in models.values():
        del entry["name"]
        if entry["adapter"] is None:
            del entry["adapter"]  # as versions wrote it that knew none
        else:
            entry["adapter"] = str(entry["adapter"])
    return {"version": VERSION, "default": registry.default, "models": models}


def _decoded(content: bytes) -> Registry:
    """Raises `ValueError` with what is wrong."""
    if len(content) > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE >> 20} MiB")
    data = json.loads(content)
    if not isinstance(data, dict) or not isinstance(data.get("models"), dict):
        raise ValueError("it has no table of models")  # noqa: TRY004  # one kind of error for all that is wrong in it
    if data.get("version") != VERSION:
        raise ValueError(f"its version is {str(data.get('version'))[:20]}, not {VERSION}")
    entries = tuple(_entry(name, data["models"][name]) for name in sorted(data["models"]))
    default = data.get("default", EMBEDDED)
    if default not in (EMBEDDED, *data["models"]):
        raise ValueError("its default is none of its models")
    return Registry(entries=entries, default=default)


def _entry(name: str, data: object) -> Entry:
    told = data if isinstance(data, dict) else {}
    path, added, source = (told.get(key) for key in ("path", "added", "source"))
    if not _NAME.fullmatch(name) or not (
        isinstance(path, str) and isinstance(added, str) and isinstance(source, str) and "\0" not in path
    ):
        raise ValueError(f"the model {name[:80]!r} is not described as it should be")
    adapter = told.get("adapter", path)
    if not isinstance(adapter, str) or "\0" in adapter:
        raise ValueError(f"the adapter of the model {name!r} is no path")
    if not (Path(path).is_absolute() and Path(adapter).is_absolute()):
        raise ValueError(f"the path of the model {name!r} is not absolute")
    beside = Path(adapter) if "adapter" in told else None
    return Entry(name=name, path=Path(path), added=added, source=source, adapter=beside)


def _write(file: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, file)
    except OSError:
        os.unlink(name)
        raise


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    lock = os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
