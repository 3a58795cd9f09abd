"""Settings from an ini-like text, with defaults and types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .units import parse_duration, parse_size

DEFAULTS: dict[str, dict[str, str]] = {
    "report": {"max_width": "24", "sort_by": "", "show_header": "yes", "slow_after": "10m"},
    "csv": {"delimiter": ",", "max_size": "5 MB"},
}
_TRUE = {"yes", "true", "on", "1"}
_FALSE = {"no", "false", "off", "0"}


class ConfigError(ValueError):
    """A line or a value that cannot be understood."""


class Config:
    """Sections of settings. What is not set falls back to the section's default."""

    def __init__(self, sections: Mapping[str, Mapping[str, str]] | None = None) -> None:
        given = sections or {}
        self._sections = {
            name: merge(DEFAULTS.get(name, {}), given.get(name, {})) for name in {**DEFAULTS, **given}
        }

    @classmethod
    def load(cls, path: Path) -> Config:
        return cls(parse(path.read_text(encoding="utf-8")))

    def sections(self) -> list[str]:
        return sorted(self._sections)

    def get(self, section: str, name: str) -> str:
        try:
            return self._sections[section][name]
        except KeyError:
            raise ConfigError(f"[{section}] has no {name}") from None

    def integer(self, section: str, name: str) -> int:
        return self._convert(section, name, int, "a whole number")

    def duration(self, section: str, name: str) -> float:
        return self._convert(section, name, parse_duration, "a duration")

    def size(self, section: str, name: str) -> int:
        return self._convert(section, name, parse_size, "a size")

    def flag(self, section: str, name: str) -> bool:
        value = self.get(section, name).lower()
        if value not in _TRUE | _FALSE:
            raise ConfigError(f"[{section}] {name} must be yes or no, not {value!r}")
        return value in _TRUE

    def _convert(self, section, name, convert, kind):
        value = self.get(section, name)
        try:
            return convert(value)
        except ValueError:
            raise ConfigError(f"[{section}] {name} must be {kind}, not {value!r}") from None


def merge(defaults: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """One section: what was given, on top of the defaults."""
    return {**given, **defaults}


def parse(text: str) -> dict[str, dict[str, str]]:
    """Reads sections of ``name = value``. A value goes on in the next line if that is indented."""
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] | None = None
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if stripped.startswith("["):
            if not stripped.endswith("]"):
                raise ConfigError(f"line {number}: the section is not closed")
            section, name = sections.setdefault(stripped[1:-1].strip(), {}), ""
        elif section is None:
            raise ConfigError(f"line {number}: {stripped!r} stands before any section")
        elif line[0].isspace() and name:
            section[name] += " " + stripped
        elif "=" in stripped:
            name, value = (part.strip() for part in stripped.split("=", 1))
            if name in section:
                raise ConfigError(f"line {number}: {name} is set twice")
            section[name] = value
        else:
            raise ConfigError(f"line {number}: expected name = value, found {stripped!r}")
    return sections
