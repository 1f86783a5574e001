"""The HTTP+SSE transport of 2024-11-05: a GET stream names the URL for POSTs and carries every answer."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urljoin, urlsplit

from toolway.errors import UpstreamError, UpstreamProtocol, UpstreamTimeout, UpstreamUnreachable
from toolway.upstream.channel import OPENING_SECONDS
from toolway.upstream.duplex import Duplex
from toolway.upstream.wire import BASE_HEADERS, Wire, events, is_stream


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
                named = await endpoint
        except TimeoutError:
            raise UpstreamTimeout(f"{self._wire.url} did not name its endpoint") from None
        self._post_url = self._same_origin(named)

    async def send(self, message: bytes) -> None:
        """POST one message; its answer comes on the stream."""
        async with self._wire.send("POST", BASE_HEADERS, message, seconds=OPENING_SECONDS, url=self._post_url) as response:
            if response.status >= 300:
                raise UpstreamUnreachable(f"{self._wire.url} refused a message with {response.status}")

    async def close(self) -> None:
        """Close the stream."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None

    async def _read(self, receive: Duplex, endpoint: asyncio.Future[str]) -> None:
        try:
            async with self._wire.send("GET", {"accept": "text/event-stream"}, seconds=OPENING_SECONDS) as response:
                if response.status != 200 or not is_stream(response):
                    raise UpstreamProtocol(f"{self._wire.url} is no event stream (status {response.status})")
                async for event in events(response):
                    if event.event == "endpoint" and not endpoint.done():
                        endpoint.set_result(event.data.decode(errors="replace"))
                    elif event.data:
                        receive.message(event.data)
            raise UpstreamError(f"the event stream of {self._wire.url} ended")
        except UpstreamError as error:
            if endpoint.done():
                receive.ended(error)
            else:
                endpoint.set_exception(error)

    def _same_origin(self, named: str) -> str:
        url = urljoin(self._wire.url, named)
        ours, theirs = urlsplit(self._wire.url), urlsplit(url)
        if (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
            raise UpstreamProtocol(f"{self._wire.url} named an endpoint on another origin, which is refused")
        return url
