"""The HTTP+SSE transport of 2024-11-05: a GET stream names the URL for POSTs and carries every answer."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing, suppress
from urllib.parse import urljoin

from toolway.bundled.upstreams.channel import OPENING_SECONDS, in_time
from toolway.bundled.upstreams.duplex import Duplex
from toolway.bundled.upstreams.wire import Events, Wire, is_stream
from toolway.hookspecs.routing import Leg
from toolway.plugin import ToolwayError, UpstreamError, UpstreamProtocol
from toolway.plugin.http import EgressRefused, check_url

log = logging.getLogger(__name__)


class SseDuplex(Duplex):
    """One event stream and POSTs."""

    def __init__(self, wire: Wire, leg: Leg) -> None:
        super().__init__(leg, wire.upstream)
        self._wire = wire
        self._target = ""
        self._reader: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Open the stream and wait for the `endpoint` event; raises UpstreamError."""
        loop = asyncio.get_running_loop()
        endpoint: asyncio.Future[str] = loop.create_future()
        self._reader = asyncio.create_task(self._read(endpoint))
        async with in_time(loop.time() + OPENING_SECONDS, f"upstream {self.upstream!r}", sent=False):
            self._target = self._same_origin(await endpoint)

    async def write(self, message: bytes) -> None:
        """POST one message; its answer comes on the stream."""
        with closing(await self._wire.send("POST", {}, message, target=self._target)) as answer:
            if answer.status >= 300:
                what = f"upstream {self.upstream!r} refused a message with {answer.status}"
                raise UpstreamError(what, sent=False, upstream_status=answer.status)

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
        except Exception:
            log.exception("a message of upstream %s met a bug", self.upstream)
        if not endpoint.done():
            endpoint.set_exception(error)
        else:
            self.ended(error if isinstance(error, UpstreamError) else UpstreamError(error.message))

    async def _receive(self, endpoint: asyncio.Future[str]) -> None:
        with closing(await self._wire.send("GET", {}, held=True)) as answer:
            if not is_stream(answer):
                raise UpstreamProtocol(f"upstream {self.upstream!r} offers no event stream ({answer.status})")
            stream = Events(answer, limit=float("inf"))
            while (come := await stream.more()) is not None:
                for event in come:
                    if event.event == "endpoint" and not endpoint.done():
                        endpoint.set_result(event.data.decode(errors="replace"))
                    elif event.event == "message" and event.data:
                        self.received(event.data)

    def _same_origin(self, named: str) -> str:
        """The target of POSTs, which must not lead elsewhere: it gets our credentials."""
        with suppress(ValueError, EgressRefused):
            url = check_url(urljoin(self._wire.url, named))
            if url.origin() == check_url(self._wire.url).origin():
                return url.raw_path_qs
        raise UpstreamProtocol(f"upstream {self.upstream!r} named an endpoint on another origin")
