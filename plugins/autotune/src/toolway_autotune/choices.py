"""What operators chose for upstreams: the mode, and values that stay; in the database, so that all nodes know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlmodel import select

from toolway.hookspecs.system import Transaction
from toolway.plugin import Clock, Conflict, Database
from toolway_autotune.models import ChoiceRow

PART = "autotune"
TIMEOUT, RETRIES, BACKOFF, IN_FLIGHT, HEDGE = VALUES = ("timeout", "retries", "backoff", "in_flight", "hedge_after")
"""What is tuned, as in the API."""
OF_TOOLS = (TIMEOUT, HEDGE)
"""Those of which each tool has one, such as `timeout:echo`."""
MAX_PINS = 1000


class Choice(msgspec.Struct, frozen=True):
    """`mode` is empty where the configuration decides. A pin of None stands for what the upstream declares."""

    mode: str = ""
    pins: dict[str, float | None] = {}
    actor: str = ""

    def holds(self, key: str) -> bool:
        """Whether this value stays as it is."""
        return key in self.pins or key.partition(":")[0] in self.pins

    def pin(self, key: str) -> float | None:
        """The value that stays; None for what the upstream declares."""
        return self.pins[key] if key in self.pins else self.pins.get(key.partition(":")[0])

    @property
    def trail(self) -> dict[str, Any]:
        """What the trail of changes shows."""
        return {"mode": self.mode, "pins": self.pins}


NONE = Choice()


def key_of(value: str, tool: str) -> str:
    """The name of a tuned value."""
    return f"{value}:{tool}" if tool else value


class Choices:
    """The part of the snapshot, and its changes; of changes to one upstream, each sees what those before it left."""

    name = PART
    after: tuple[str, ...] = ()

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> Mapping[str, Choice]:
        """Every choice, by upstream; see `SnapshotPart`."""
        return {row.upstream: _choice(row) for row in await tx.session.exec(select(ChoiceRow))}

    async def change(self, upstream: str, actor: str, action: str, change: Callable[[Choice], Choice]) -> Choice:
        """Choose something else; raises Conflict when that would be too many pins."""
        async with self._database.change(PART, actor, f"autotune.{action}", upstream) as tx:
            row = await tx.session.get(ChoiceRow, upstream) or ChoiceRow(upstream=upstream, changed_at=0)
            before = _choice(row)
            after = change(before)
            if len(after.pins) > MAX_PINS:
                raise Conflict(f"{upstream} would have more than {MAX_PINS} pinned values; unpin some first")
            tx.before, tx.after = before.trail, after.trail
            row.mode, row.actor, row.changed_at = after.mode, actor[:64], self._clock.now()
            row.pins = msgspec.json.encode(after.pins).decode()
            tx.session.add(row)
        return after


def _choice(row: ChoiceRow) -> Choice:
    pins = msgspec.json.decode(row.pins, type=dict[str, float | None])
    return Choice(row.mode or "", pins, row.actor or "")
