"""The HTTP+SSE transport of 2024-11-05: a GET stream names the URL for POSTs and carries every answer."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urljoin, urlsplit

from toolway.errors import ToolwayError, UpstreamError, UpstreamProtocol, UpstreamTimeout
from toolway.upstream.channel import OPENING_SECONDS
from toolway.upstream.duplex import Duplex
from toolway.upstream.wire import BASE_HEADERS, EVENT_STREAM, EventStream, Wire, is_stream


class SseLine:
    """A line made of one event stream and POSTs."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._post_url = ""
        self._reader: asyncio.Task[None] | None = None

    async def open(self, receive: Duplex) -> None:
        """Connect and wait for the `endpoint` event; raises UpstreamError."""
        await self.close()
        endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(receive, endpoint))
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                self._post_url = self._same_origin(await endpoint)
        except TimeoutError:
            raise UpstreamTimeout(f"upstream {self._wire.upstream!r} did not name its endpoint", sent=False) from None

    async def send(self, message: bytes) -> None:
        """POST one message; its answer comes on the stream."""
        wire = self._wire
        async with wire.send("POST", BASE_HEADERS, message, seconds=OPENING_SECONDS, url=self._post_url) as response:
            if response.status >= 300:
                raise UpstreamError(f"upstream {wire.upstream!r} refused a message with {response.status}", sent=False)

    async def close(self) -> None:
        """Close the stream."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, receive: Duplex, endpoint: asyncio.Future[str]) -> None:
        error: ToolwayError = UpstreamError(f"the event stream of upstream {self._wire.upstream!r} ended")
        try:
            await self._receive(receive, endpoint)
        except ToolwayError as broken:
            error = broken
        if not endpoint.done():
            endpoint.set_exception(error)
        else:
            receive.ended(error if isinstance(error, UpstreamError) else UpstreamError(error.message))

    async def _receive(self, receive: Duplex, endpoint: asyncio.Future[str]) -> None:
        async with self._wire.send("GET", EVENT_STREAM, seconds=OPENING_SECONDS, held=True) as response:
            if response.status != 200 or not is_stream(response):
                raise UpstreamProtocol(f"upstream {self._wire.upstream!r} offers no event stream ({response.status})")
            async for event in EventStream(response, limit=float("inf")):
                if event.event == "endpoint" and not endpoint.done():
                    endpoint.set_result(event.data.decode(errors="replace"))
                elif event.event == "message" and event.data:
                    receive.message(event.data)

    def _same_origin(self, named: str) -> str:
        """The URL for POSTs, which must not lead elsewhere: it gets our credentials."""
        with contextlib.suppress(ValueError):
            url = urljoin(self._wire.url, named)
            ours, theirs = urlsplit(self._wire.url), urlsplit(url)
            if (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc):
                return url
        raise UpstreamProtocol(f"upstream {self._wire.upstream!r} named an endpoint on another origin")
