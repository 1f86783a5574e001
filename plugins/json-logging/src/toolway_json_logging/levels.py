"""Levels of loggers: what the configuration says, and what was changed while the gateway runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal

import msgspec

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
ROOT = "root"
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}"


class Changed(msgspec.Struct, frozen=True):
    """A level that was set at run time; `until` is in seconds since 1970, None without end."""

    level: Level
    until: float | None = None


class Levels:
    """Loggers belong to the process: one of these outlives reloads, and gives back what it found when it ends."""

    def __init__(self) -> None:
        self.configured: Mapping[str, Level] = {}
        self.changed: Mapping[str, Changed] = {}
        self._found: dict[str, int] = {}

    def configure(self, levels: Mapping[str, Level]) -> None:
        """What the configuration in force says."""
        self.configured = dict(levels)
        self._apply()

    def change(self, changed: Mapping[str, Changed]) -> None:
        """What was set at run time, which comes before the configuration."""
        self.changed = dict(changed)
        self._apply()

    def restore(self) -> None:
        """Nobody wants any of this any more."""
        self.configured, self.changed = {}, {}
        self._apply()

    def _apply(self) -> None:
        wanted: dict[str, str] = {**self.configured, **{name: each.level for name, each in self.changed.items()}}
        for name in self._found.keys() - wanted.keys():
            logger(name).setLevel(self._found.pop(name))
        for name, level in wanted.items():
            self._found.setdefault(name, logger(name).level)
            logger(name).setLevel(level)


def logger(name: str) -> logging.Logger:
    """The logger of this name, the root's too."""
    return logging.getLogger(None if name == ROOT else name)


def names() -> list[str]:
    """Every logger that there is."""
    known = logging.root.manager.loggerDict.items()
    return [ROOT, *sorted(name for name, each in known if isinstance(each, logging.Logger))]
