"""Calls that are under way: whoever wants the same waits for the one that goes to the upstream."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any

import msgspec

from toolway.hookspecs.routing import Call
from toolway_cache.entries import Entry

LOOK_SECONDS = 1.0
"""How often those who wait look whether the first call waits for its client."""
QUESTIONS = frozenset({"elicitation", "sampling", "roots"})
"""Capabilities of clients that can be asked."""


class Alone(Enum):
    """What those who waited get when there is no copy for them."""

    GO = "each makes its own call"
    AGAIN = "the first call was given up, another one is the first"


class Flight(msgspec.Struct, eq=False):
    """A call on its way to the upstream, and what becomes of it."""

    key: bytes
    call: Call
    upstream: str
    landed: asyncio.Future[Entry | Alone]

    def land(self, what: Entry | Alone) -> None:
        """It is over."""
        if not self.landed.done():
            self.landed.set_result(what)

    async def wait(self) -> Entry | Alone:
        """What became of it. Nobody waits for a person who is asked by somebody else's call."""
        return self.landed.result() if await is_done(self.landed, self.call) else Alone.GO


async def is_done(work: asyncio.Future[Any], call: Call) -> bool:
    """Wait for the end of some work for a call; False as soon as its client is asked for something."""
    can_be_asked = not call.client.capabilities.keys().isdisjoint(QUESTIONS)
    while not work.done():
        await asyncio.wait((work,), timeout=LOOK_SECONDS if can_be_asked else None)
        if call.is_asked:
            return False
    return True


class Flights:
    """The first calls, by key."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}

    def get(self, key: bytes) -> Flight | None:
        """The one that can be joined."""
        return self._flights.get(key)

    def begin(self, key: bytes, call: Call, upstream: str) -> Flight:
        """This is the first call now."""
        flight = self._flights[key] = Flight(key, call, upstream, asyncio.get_running_loop().create_future())
        return flight

    def end(self, flight: Flight, what: Entry | Alone) -> None:
        """Nobody joins it any more; those who did get this, unless it has landed."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        flight.land(what)

    def part(self, upstream: str) -> None:
        """Nobody joins calls of this upstream any more: what they bring may be old."""
        for key in [key for key, flight in self._flights.items() if flight.upstream == upstream]:
            del self._flights[key]
