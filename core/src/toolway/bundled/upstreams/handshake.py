"""The handshake era over HTTP: the first handshake with an endpoint finds out which transport it speaks."""

from __future__ import annotations

import asyncio

from msgspec import Struct, field

from toolway.bundled.upstreams.discover import Hello
from toolway.bundled.upstreams.legacy import LegacyConnection
from toolway.bundled.upstreams.sse import SseDuplex
from toolway.bundled.upstreams.streamable import StreamableHttp
from toolway.bundled.upstreams.wire import Wire
from toolway.hookspecs.routing import Leg
from toolway.plugin import UpstreamError, UpstreamTimeout, UpstreamUnauthorized, UpstreamUnreachable


class Found(Struct):
    """What is known of an endpoint: whether it speaks HTTP+SSE; one handshake finds out, the others wait for it."""

    is_old: bool | None = None
    finding: asyncio.Lock = field(default_factory=asyncio.Lock)


class LegacyHttp(LegacyConnection):
    """Shakes hands over the transport that worked last with this endpoint, or else over the other one."""

    def __init__(self, leg: Leg, wire: Wire, found: Found) -> None:
        super().__init__(leg, StreamableHttp(wire, leg), wire.upstream)
        self._wire = wire
        self._found = found

    async def _begin(self) -> Hello:
        async with self._found.finding:
            if self._found.is_old is None:
                return await self._begin_over(False, True)
        return await self._begin_over(self._found.is_old, not self._found.is_old)

    async def _begin_over(self, *transports: bool) -> Hello:
        """The first that works; raises UpstreamError, but what waits for the handshake was not sent."""
        failures = []
        for is_old in transports:
            if is_old is not isinstance(self._channel, SseDuplex):
                await self._channel.close()
                self._channel = (SseDuplex if is_old else StreamableHttp)(self._wire, self._leg)
            try:
                hello = await super()._begin()
            except UpstreamError as error:
                error.sent = False
                if isinstance(error, UpstreamUnreachable | UpstreamUnauthorized | UpstreamTimeout):
                    raise
                failures.append(error)
            else:
                self._found.is_old = is_old
                return hello
        self._found.is_old = None
        first, then = failures
        raise type(first)(f"{first.message}; over the other transport: {then.message}", sent=False) from then
