"""What conversations of both eras have in common, and how an endpoint is greeted to find out which it speaks."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Raw

from toolway import __version__
from toolway.bundled.upstreams.channel import OPENING_SECONDS, Channel
from toolway.bundled.upstreams.discover import Hello, discover
from toolway.bundled.upstreams.repeat import NOTHING, Tasks
from toolway.hookspecs.routing import ClientProfile, Discovery, Era, Eras, Leg, Reply, UpstreamRequest, Wants
from toolway.mcp.versions import LEGACY, MODERN
from toolway.plugin import UpstreamError, UpstreamUnauthorized, UpstreamUnreachable

IDENTITY = {"name": "toolway", "title": "Toolway", "version": __version__}


class Conversation(ABC):
    """A `Connection` over any channel."""

    def __init__(self, leg: Leg, channel: Channel, upstream: str) -> None:
        self._leg = leg
        self._channel = channel
        self._upstream = upstream
        self._wants = NOTHING
        self._tasks = Tasks()

    @abstractmethod
    async def hello(self) -> tuple[Eras, Hello]:
        """What the upstream says about itself; raises UpstreamError when it does not speak this era."""

    @abstractmethod
    async def request(self, request: UpstreamRequest) -> Reply:
        """See `Connection.request`."""

    @abstractmethod
    async def watch(self, wants: Wants) -> None:
        """See `Connection.watch`."""

    async def discover(self) -> Discovery:
        """See `Connection.discover`."""
        return await discover(self._upstream, *await self.hello(), self._ask)

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """See `Connection.notify`."""
        await self._channel.tell(method, params)

    async def close(self) -> None:
        """See `Connection.close`."""
        try:
            await self._tasks.close()
        finally:
            await self._channel.close()

    async def _ask(self, method: str, params: dict[str, Raw]) -> Reply:
        return await self.request(self._own(method, params))

    def _own(self, method: str, params: dict[str, Raw]) -> UpstreamRequest:
        """A request of the gateway itself."""
        return UpstreamRequest(method, params, {}, self._leg.peer, time.monotonic() + OPENING_SECONDS)


async def greeted(connect: Callable[[Leg], Conversation], leg: Leg, era: Era, seconds: float) -> tuple[str | None, str]:
    """Introduce the gateway in one era on a connection of its own: the version agreed on, or why there is none.

    Raises:
        UpstreamUnreachable, UpstreamUnauthorized: then no other era can do better.
    """
    client = ClientProfile(MODERN[0] if era == "modern" else LEGACY[0], {}, leg.client.info)
    connection = connect(Leg(era, leg.key, client, leg.peer, leg.authorize))
    try:
        async with asyncio.timeout(seconds):
            eras, _ = await connection.hello()
            return eras.modern or eras.legacy, ""
    except (UpstreamUnreachable, UpstreamUnauthorized):
        raise
    except UpstreamError as error:
        return None, error.message
    except TimeoutError:
        return None, f"no answer within {seconds:g} s"
    finally:
        await connection.close()


def identity(info: Mapping[str, Any]) -> dict[str, Any]:
    """The client's own `clientInfo`; the gateway's where it lacks what the schema requires."""
    return dict(info) if "name" in info and "version" in info else {**IDENTITY, **info}
