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
class Origin:
    """Where a plugin comes from: the distribution that brings it, and its entry point; built-in ones have none."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint | None = None

    def __str__(self) -> str:
        if self.entry_point is None:
            return "the gateway itself"
        return f"plugin {self.name!r} ({self.distribution} {self.version})"


def installed_plugins() -> dict[str, list[Origin]]:
    """Every plugin by name; more than one value means that the name is claimed more than once.

    A distribution that cannot be read is logged and left out. Of two copies of one distribution the first on
    `sys.path` counts, as for imports.
    """
    by_distribution: dict[str, list[Origin]] = {}
    for distribution in distributions():
        if found := _plugins_of(distribution):
            by_distribution.setdefault(found[0].distribution, found)
    by_name: dict[str, list[Origin]] = {}
    for found in by_distribution.values():
        for origin in found:
            by_name.setdefault(origin.name, []).append(origin)
    return by_name


def _plugins_of(distribution: Distribution) -> list[Origin]:
    try:
        entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
        return [Origin(entry.name, distribution.name, distribution.version, entry) for entry in entries]
    except Exception as error:  # noqa: BLE001 - one damaged distribution must not hide all others
        _log.warning("a distribution is unreadable and left out (%s); reinstall it", error)
        return []


def mentions(entry_point: EntryPoint, words: frozenset[str]) -> bool:
    """Whether the source holds one of `words`; also true when there is none to read. Imports nothing."""
    try:
        spec = find_spec(entry_point.module.partition(".")[0])
    except (ImportError, ValueError):
        return True
    if spec is None or spec.origin is None:
        return True
    file = Path(spec.origin)
    files = file.parent.rglob("*.py") if spec.submodule_search_locations else [file]
    return any(word in each.read_text("utf-8", errors="replace") for each in files for word in words)
