"""The HTTP+SSE transport of 2024-11-05: a GET stream names the URL for POSTs and carries every answer."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urljoin, urlsplit

from toolway.bundled.upstreams.channel import OPENING_SECONDS, in_time
from toolway.bundled.upstreams.duplex import Duplex
from toolway.bundled.upstreams.wire import BASE_HEADERS, EVENT_STREAM, Wire, events, is_stream
from toolway.hookspecs.routing import Leg
from toolway.plugin import ToolwayError, UpstreamError, UpstreamProtocol


class SseDuplex(Duplex):
    """One event stream and POSTs."""

    def __init__(self, wire: Wire, leg: Leg) -> None:
        super().__init__(leg, wire.upstream)
        self._wire = wire
        self._post_url = ""
        self._reader: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Open the stream and wait for the `endpoint` event; raises UpstreamError."""
        loop = asyncio.get_running_loop()
        endpoint: asyncio.Future[str] = loop.create_future()
        self._reader = asyncio.create_task(self._read(endpoint))
        async with in_time(loop.time() + OPENING_SECONDS, f"upstream {self.upstream!r}", sent=False):
            self._post_url = self._same_origin(await endpoint)

    async def write(self, message: bytes) -> None:
        """POST one message; its answer comes on the stream."""
        async with self._wire.send("POST", BASE_HEADERS, message, url=self._post_url) as response:
            if response.status >= 300:
                raise UpstreamError(f"upstream {self.upstream!r} refused a message with {response.status}", sent=False)

    async def disconnect(self) -> None:
        """Close the stream."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, endpoint: asyncio.Future[str]) -> None:
        error: ToolwayError = UpstreamError(f"the event stream of upstream {self.upstream!r} ended")
        try:
            await self._receive(endpoint)
        except ToolwayError as broken:
            error = broken
        if not endpoint.done():
            endpoint.set_exception(error)
        else:
            self.ended(error if isinstance(error, UpstreamError) else UpstreamError(error.message))

    async def _receive(self, endpoint: asyncio.Future[str]) -> None:
        async with self._wire.send("GET", EVENT_STREAM, held=True) as response:
            if not is_stream(response):
                raise UpstreamProtocol(f"upstream {self.upstream!r} offers no event stream ({response.status})")
            async for event in events(response, limit=float("inf")):
                if event.event == "endpoint" and not endpoint.done():
                    endpoint.set_result(event.data.decode(errors="replace"))
                elif event.event == "message" and event.data:
                    self.received(event.data)

    def _same_origin(self, named: str) -> str:
        """The URL for POSTs, which must not lead elsewhere: it gets our credentials."""
        with contextlib.suppress(ValueError):
            url = urljoin(self._wire.url, named)
            if urlsplit(self._wire.url)[:2] == urlsplit(url)[:2]:
                return url
        raise UpstreamProtocol(f"upstream {self.upstream!r} named an endpoint on another origin")
