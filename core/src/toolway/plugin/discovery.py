"""Finds installed plugins by their entry points, without importing any of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path

GROUP = "toolway.plugins"
_log = logging.getLogger("toolway.plugin")


@dataclass(frozen=True)
class Installed:
    """An entry point of the group, with the distribution that brings it."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version})"


def installed_plugins(group: str = GROUP) -> dict[str, tuple[Installed, ...]]:
    """Every plugin by name; more than one value means that the name is claimed more than once.

    A distribution whose entry points cannot be read is logged and left out. Of two copies of one distribution the
    first on `sys.path` counts, as for imports.
    """
    found: dict[str, tuple[Installed, ...]] = {}
    seen: set[str] = set()
    for distribution in distributions():
        if entries := _entries(distribution, group):
            name, version = _identity(distribution)
            if name not in seen:
                seen.add(name)
                for entry in entries:
                    found[entry.name] = (*found.get(entry.name, ()), Installed(entry.name, name, version, entry))
    return found


def _entries(distribution: Distribution, group: str) -> list[EntryPoint]:
    try:
        return [entry for entry in distribution.entry_points if entry.group == group]
    except Exception as error:  # noqa: BLE001 - one damaged distribution must not hide all others
        name, version = _identity(distribution)
        _log.warning("distribution %s %s has unreadable entry points (%s); reinstall it", name, version, error)
        return []


def _identity(distribution: Distribution) -> tuple[str, str]:
    try:
        return distribution.name or "unnamed distribution", distribution.version or "without version"
    except Exception as error:  # noqa: BLE001 - a missing or damaged METADATA file
        _log.warning("a distribution has unreadable metadata (%s); reinstall it", error)
        return "unnamed distribution", "without version"


def mentions(plugin: Installed, words: frozenset[str]) -> bool | None:
    """Whether the plugin's source contains one of `words`; None when it has no readable source. Imports nothing."""
    sources = [file.read_text(encoding="utf-8", errors="replace") for file in _source_files(plugin)]
    return any(word in source for source in sources for word in words) if sources else None


def _source_files(plugin: Installed) -> list[Path]:
    top = plugin.entry_point.value.partition(":")[0].partition(".")[0].strip()
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [file for place in spec.submodule_search_locations for file in Path(place).rglob("*.py")]
    return [Path(spec.origin)] if spec.origin and spec.origin.endswith(".py") else []
