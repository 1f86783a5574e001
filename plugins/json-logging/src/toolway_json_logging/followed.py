"""Run-time levels in the key-value store: every node follows them, and takes them back when their time is over."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import msgspec

from toolway.plugin import Conflict, InvalidInput, Kernel, ToolwayError
from toolway_json_logging.levels import Changed, Level, Levels

log = logging.getLogger(__name__)

CHANNEL = "toolway.loggers"
KEY = "json-logging/levels"
MOST = 100
TRIES = 10
_DECODE = msgspec.json.Decoder(dict[str, Changed]).decode

Table = Mapping[str, Changed]


class Followed:
    """The levels of this process, as all nodes have them; `levels` is there while `following`."""

    levels: Levels

    def __init__(self, kernel: Kernel, configured: Mapping[str, Level]) -> None:
        self._kernel = kernel
        self._configured = configured

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Put the levels in force, and follow changes."""
        self.levels = await self._kernel.keep("json-logging.levels", "", _levels, _restore)
        self.levels.configure(self._configured)
        async with self._kernel.pubsub.subscribe(CHANNEL, self._heard):
            await self.refresh()
            yield

    async def refresh(self) -> None:
        """Read them anew; those that are known stay while the store does not answer."""
        try:
            _, table = await self._read()
        except ToolwayError as error:
            log.warning("levels of loggers cannot be read: %s", error.message)
        else:
            self.levels.change(table)

    def is_over(self) -> bool:
        """Whether the time of one is over."""
        now = self._kernel.clock.now()
        return any(each.until is not None and each.until <= now for each in self.levels.changed.values())

    async def set(self, name: str, level: Level, seconds: float | None) -> None:
        """Set one, for so long, on every node. Raises InvalidInput, StoreUnavailable, Conflict."""
        until = None if seconds is None else self._kernel.clock.now() + seconds
        await self._change(lambda table: {**table, name: Changed(level, until)})

    async def reset(self, name: str) -> None:
        """Let the configuration decide again. Raises StoreUnavailable, Conflict."""
        await self._change(lambda table: {each: value for each, value in table.items() if each != name})

    async def _change(self, change: Callable[[Table], Table]) -> None:
        for _ in range(TRIES):
            stored, table = await self._read()
            wanted = change(table)
            if len(wanted) > MOST:
                raise InvalidInput(f"{MOST} loggers have levels of their own already; reset one first")
            if await self._kernel.keyvalue.compare_and_set(KEY, stored, msgspec.json.encode(wanted)):
                self.levels.change(wanted)
                await self._kernel.pubsub.publish(CHANNEL, b"")
                return
        raise Conflict("levels of loggers are changed by others all the time; try again")

    async def _read(self) -> tuple[bytes | None, Table]:
        """As stored, and those whose time is not over."""
        stored, now = await self._kernel.keyvalue.get(KEY), self._kernel.clock.now()
        table = _DECODE(stored) if stored else {}
        return stored, {name: each for name, each in table.items() if each.until is None or each.until > now}

    async def _heard(self, payload: bytes) -> None:
        await self.refresh()


async def _levels() -> Levels:
    return Levels()


async def _restore(levels: Levels) -> None:
    levels.restore()
