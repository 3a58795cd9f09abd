"""Settings: flags, environment (`SWARMCODE_*`), project file, user file, what `swarmcode models default` keeps,
defaults; the first that speaks wins.

Each value remembers where it came from, and is checked before anything is loaded; a message about it names the value,
where it stands and what would be right. A value that another one overrides is not looked at.

What this guards: a project file belongs to the repository that is being fixed, which is not trusted. It may say how its
tests run and how much effort they are worth. It may not loosen what isolates it (`sandbox = "process"`, an image,
higher limits), choose the model file that is parsed here, or touch what other runs left. Not covered: the test command
itself is the repository's to choose, and runs in the sandbox like all its code.
"""

import difflib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from swarmcode.errors import StateError, UsageError
from swarmcode.options import SETTINGS, Settings
from swarmcode.settings import ENVIRONMENT, Setting

Origin = Literal["flag", "environment", "project", "user", "kept", "default"]

T = TypeVar("T")

NO_SETTINGS = frozenset(
    {"SWARMCODE_HOME", "SWARMCODE_DEBUG", "SWARMCODE_API_KEY", "SWARMCODE_SERVE_KEY", "SWARMCODE_KERNEL"}
)
"""Variables that are read elsewhere and are no settings."""
LARGEST_FILE = 1 << 20
"""Bytes of a settings file; a larger one is no settings file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a value came from."""

    origin: Origin
    place: str = ""
    """The flag, the variable, or the file (and table)."""

    def __str__(self) -> str:
        return self.place or self.origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one call, and where each came from."""

    settings: Settings
    values: Mapping[str, Any]
    """Key -> value, every key."""
    sources: Mapping[str, Source]
    """Key -> source, every key."""
    warnings: tuple[str, ...] = ()
    """What was left aside, a line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """Raw values from one place."""

    values: Mapping[str, object]
    source: Callable[[str], Source]


def load(
    flags: Mapping[str, object],
    *,
    environ: Mapping[str, str],
    repo: Path | None,
    user: Path | None = None,
    kept: Mapping[str, object] | None = None,
) -> Config:
    """The settings that hold for a call in `repo`; None: it is about no repository.

    `flags` has what was given on the command line, by key; `user` is the user's file (default: where platformdirs puts
    it); `kept` has what takes the place of defaults because a command was told so: the default model. Raises
    `UsageError` for a value, a key or a file that is wrong.
    """
    environment, warnings = _environment(environ)
    layers = [
        _Layer(values=flags, source=lambda key: Source(origin="flag", place=_flag(key))),
        environment,
        *(_project(repo) if repo else ()),
        *_user(user or user_file()),
        _Layer(values=kept or {}, source=lambda key: Source(origin="kept", place="swarmcode models default")),
    ]
    values = {key: declared.default for key, declared in SETTINGS.items()}
    sources = {key: Source(origin="default") for key in SETTINGS}
    for layer in reversed(layers):
        for key in layer.values:
            sources[key] = layer.source(key)
            values[key] = layer.values[key]
    for key, source in sources.items():
        if source.origin != "default":
            values[key] = _checked(SETTINGS[key], values[key], source)
    return Config(settings=_build(Settings, values), values=values, sources=sources, warnings=warnings)


def _flag(key: str) -> str:
    return "--" + key.replace(".", "-").replace("_", "-")


def _build(group: type[T], values: Mapping[str, Any]) -> T:
    made: dict[str, Any] = {}
    for each in fields(group):  # type: ignore[arg-type]
        declared = each.metadata.get("setting")
        made[each.name] = _build(each.type, values) if declared is None else values[declared.key]  # type: ignore[arg-type]
    return group(**made)


def _checked(declared: Setting, raw: object, source: Source) -> Any:
    shown = json.dumps(raw, default=str)
    try:
        value = declared.parse(raw)
    except ValueError as error:
        raise UsageError(f"{declared.key} is {shown} in {source}", f"expected {error}") from error
    if source.origin == "project" and not declared.project(value):
        raise UsageError(
            f"{declared.key} = {shown} in {source} is refused: that is not for a repository to decide",
            f"remove it there; if you want it, say so yourself: {_by_hand(declared)}",
        )
    return value


def _by_hand(declared: Setting) -> str:
    flag = f"--{declared.key}, " if declared.key in ("model", "sandbox", "image") else ""
    return f"{flag}{declared.variable}, or {user_file()}"


def _environment(environ: Mapping[str, str]) -> tuple[_Layer, tuple[str, ...]]:
    """An unknown variable may belong to something else of that name, so it is a warning and no error."""
    keys = {declared.variable: key for key, declared in SETTINGS.items()}
    named = {name: value for name, value in environ.items() if name.startswith(ENVIRONMENT) and value}
    values = {keys[name]: value for name, value in named.items() if name in keys}
    strange = sorted(set(named) - set(keys) - NO_SETTINGS)
    warnings = tuple(f"the environment variable {name} is no setting{_nearest(name, keys)}" for name in strange)
    return _Layer(
        values=values, source=lambda key: Source(origin="environment", place=SETTINGS[key].variable)
    ), warnings


def _project(repo: Path) -> Iterator[_Layer]:
    own, shared = repo / "swarmcode.toml", repo / "pyproject.toml"
    if own.is_file():
        yield _file_layer("project", str(own), _toml(own))
    if shared.is_file():
        tool = _toml(shared).get("tool")
        table = tool.get("swarmcode") if isinstance(tool, dict) else None
        if table is not None:
            yield _file_layer("project", f"{shared} [tool.swarmcode]", table)


def _user(file: Path) -> Iterator[_Layer]:
    if file.is_file():
        yield _file_layer("user", str(file), _toml(file))


def _file_layer(origin: Origin, place: str, table: object) -> _Layer:
    if not isinstance(table, dict):
        raise UsageError(f"{place} is no table", "write the settings below it, one a line: agents = 30")
    values = dict(_flat(table))
    for key in values:
        if key not in SETTINGS:
            raise UsageError(f"{place} has the unknown key {key}{_nearest(key, SETTINGS)}", "see: swarmcode config")
    return _Layer(values=values, source=lambda key: Source(origin=origin, place=place))


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _toml(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{file} is larger than {LARGEST_FILE >> 20} MiB", "settings files are short")
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", "make it readable, or remove it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{file} is no TOML: {error}", "correct it, or remove it") from error


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; the nearest one is {near[0]}" if near else ""


def user_file() -> Path:
    """The user's own settings file, there or not."""
    import platformdirs

    return platformdirs.user_config_path("swarmcode") / "config.toml"


def state_home(environ: Mapping[str, str]) -> Path:
    """The state directory, there or not: `SWARMCODE_HOME`, else where platformdirs puts it; absolute.

    Raises `StateError` where no home directory is known, or the current folder is gone.
    """
    import platformdirs

    try:
        chosen = environ.get("SWARMCODE_HOME")
        return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_state_path("swarmcode").absolute()
    except (RuntimeError, FileNotFoundError) as error:  # no home, or a relative path in a folder that is gone
        raise StateError(f"there is no place for run folders: {error}", "set SWARMCODE_HOME to a folder") from error
