"""The API of loggers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from toolway.hookspecs.api import Incoming, Operation
from toolway.hookspecs.telemetry import SERVED
from toolway.plugin import InvalidInput
from toolway_json_logging.followed import Followed
from toolway_json_logging.levels import NAME, logger, names
from toolway_json_logging.schemas import LoggerLevel, LoggerReport, Loggers

log = logging.getLogger(__name__)

READ, WRITE = "loggers:read", "loggers:write"
PATH = "/api/v1/loggers"
_NAME = re.compile(NAME)


class LoggerOperations:
    """Levels at run time."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        one = f"{PATH}/{{name}}"
        return [
            Operation("GET", PATH, READ, self.list, answer=Loggers),
            Operation("GET", one, READ, self.get, answer=LoggerReport),
            Operation("PUT", one, WRITE, self.put, LoggerLevel, answer=LoggerReport),
            Operation("DELETE", one, WRITE, self.delete, answer=LoggerReport),
        ]

    async def list(self, incoming: Incoming) -> Loggers:
        """Show the loggers and their levels."""
        return Loggers(items=[self._report(name) for name in names()])

    async def get(self, incoming: Incoming) -> LoggerReport:
        """Show the level of a logger; those that were never used have one, too."""
        return self._report(_name(incoming))

    async def put(self, incoming: Incoming) -> LoggerReport:
        """Set the level of a logger and all below it, on every node, until it is reset or for some time."""
        name, body = _name(incoming), incoming.body
        await self._followed.set(name, body.level, body.seconds)
        _tell(incoming, "put", name, body.level)
        return self._report(name)

    async def delete(self, incoming: Incoming) -> LoggerReport:
        """Reset the level of a logger to what the configuration says."""
        name = _name(incoming)
        await self._followed.reset(name)
        _tell(incoming, "reset", name, "as configured")
        return self._report(name)

    def _report(self, name: str) -> LoggerReport:
        levels = self._followed.levels
        changed = levels.changed.get(name)
        return LoggerReport(
            name=name,
            level=logging.getLevelName(logger(name).getEffectiveLevel()),
            configured=levels.configured.get(name),
            changed=None if changed is None else changed.level,
            until=None if changed is None else changed.until,
        )


def _name(incoming: Incoming) -> str:
    if _NAME.fullmatch(incoming.name) is None:
        raise InvalidInput("a logger is named by letters, digits, '_', '-' and dots, such as toolway.gateway")
    return incoming.name


def _tell(incoming: Incoming, action: str, name: str, level: str) -> None:
    """In the log, and to whoever keeps a trail."""
    log.warning("the level of logger %s is now %s, by %s", name, level, incoming.principal.id)
    if (served := SERVED.get()) is not None:
        served.told = (incoming.principal.id, f"loggers.{action}", f"loggers/{name}")
