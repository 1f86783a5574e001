"""Streamable HTTP of the handshake era (2025-03-26 to 2025-11-25): sessions, SSE replies, the GET stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Raw

from toolway.errors import SessionLost, ToolwayError, UpstreamProtocol
from toolway.hookspecs.routing import Leg, Peer, Reply
from toolway.mcp.messages import Envelope, encode_notification, encode_request
from toolway.mcp.sse import Event
from toolway.upstream.channel import OPENING_SECONDS, Outbound, answer_upstream, read_message, reply_of
from toolway.upstream.modern import cancelled_notification
from toolway.upstream.wire import BASE_HEADERS, Wire, events, is_stream, read_body, refused

log = logging.getLogger(__name__)

RESUMES = 20
CAP_SECONDS = 60.0


class StreamableHttp:
    """One session with one endpoint."""

    def __init__(self, wire: Wire, leg: Leg) -> None:
        self._wire = wire
        self._leg = leg
        self._session: dict[str, str] = {}
        self._serial = 0
        self._listener: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost = asyncio.Event()

    async def call(self, outbound: Outbound) -> Reply:
        """POST and read until the response; a stream that drops before is resumed by GET (SEP-1699)."""
        self._serial += 1
        request_id = self._serial
        if outbound.method == "initialize":
            self._session = {}
        try:
            return await self._exchange(outbound, request_id)
        except asyncio.CancelledError:
            if outbound.method != "initialize":
                self._start(self._post(cancelled_notification(request_id)))
            raise

    async def tell(self, method: str, params: Mapping[str, Raw]) -> None:
        """POST a notification."""
        await self._post(encode_notification(method, params))

    async def opened(self, version: str, *, listen: bool) -> None:
        """The version goes into every header from now on (2025-06-18 and later)."""
        self._session["mcp-protocol-version"] = version
        if listen and (self._listener is None or self._listener.done()):
            self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """End the session at the upstream."""
        for task in [*self._tasks, *([self._listener] if self._listener else [])]:
            task.cancel()
        if "mcp-session-id" in self._session:
            with contextlib.suppress(ToolwayError, TimeoutError):
                async with self._wire.send("DELETE", self._session, seconds=2.0):
                    self._session = {}

    async def _exchange(self, outbound: Outbound, request_id: int) -> Reply:
        body = encode_request(request_id, outbound.method, outbound.params)
        headers = {**BASE_HEADERS, **self._session, **outbound.headers}
        async with self._wire.send("POST", headers, body, seconds=outbound.first_byte) as response:
            self._check_session(response.status)
            if outbound.method == "initialize" and "mcp-session-id" in response.headers:
                self._session = {"mcp-session-id": response.headers["mcp-session-id"]}
            if not is_stream(response):
                return self._matched(await read_body(response), request_id, refused(response, self._wire.url))
            reply, last = await self._read(response, request_id, outbound.peer, None)
        for _ in range(RESUMES):
            if reply is not None:
                return reply
            if last is None or last.id is None:
                break
            reply, last = await self._resume(last, request_id, outbound)
        raise UpstreamProtocol("the upstream closed the stream before the result")

    async def _resume(self, last: Event, request_id: int, outbound: Outbound) -> tuple[Reply | None, Event | None]:
        await asyncio.sleep((last.retry if last.retry is not None else 500) / 1000)
        headers = {**self._session, "accept": "text/event-stream", "last-event-id": last.id or ""}
        async with self._wire.send("GET", headers, seconds=outbound.first_byte) as response:
            self._check_session(response.status)
            if response.status != 200 or not is_stream(response):
                raise UpstreamProtocol("the upstream dropped the stream and does not let it be resumed")
            return await self._read(response, request_id, outbound.peer, last)

    async def _read(
        self, response: Any, request_id: int, peer: Peer, last: Event | None
    ) -> tuple[Reply | None, Event | None]:
        """Messages until ours is answered; the reply, or the event to resume after."""
        async for event in events(response):
            if event.id is not None:
                last = event if event.retry is not None or last is None else Event(b"", id=event.id, retry=last.retry)
            elif event.retry is not None and last is not None:
                last = Event(b"", id=last.id, retry=event.retry)
            if event.data and (reply := self._message(read_message(event.data), request_id, peer)) is not None:
                return reply, last
        return None, last

    def _message(self, envelope: Envelope, request_id: int | None, peer: Peer) -> Reply | None:
        if envelope.method is UNSET:
            if envelope.id != request_id:
                raise UpstreamProtocol("the upstream answered another request than ours")
            return reply_of(envelope)
        if envelope.id is UNSET:
            peer.notify(envelope.method, envelope.members)
        else:
            self._start(self._answer(envelope, peer))
        return None

    def _matched(self, body: bytes, request_id: int, otherwise: Exception) -> Reply:
        try:
            envelope = read_message(body)
        except UpstreamProtocol:
            raise otherwise from None
        if envelope.id is not None and envelope.id is not UNSET and envelope.id != request_id:
            raise UpstreamProtocol("the upstream answered another request than ours")
        return reply_of(envelope)

    async def _answer(self, envelope: Envelope, peer: Peer) -> None:
        await self._post(await answer_upstream(envelope, peer))

    async def _post(self, message: bytes) -> None:
        headers = {**BASE_HEADERS, **self._session}
        async with self._wire.send("POST", headers, message, seconds=OPENING_SECONDS) as response:
            self._check_session(response.status)
            await read_body(response, 1024 * 1024)

    def _check_session(self, status: int) -> None:
        if status == 404 and "mcp-session-id" in self._session:
            raise SessionLost("the upstream no longer knows the session", sent=False)

    async def _listen(self) -> None:
        """Hold the GET stream; an upstream without one answers 405."""
        failures, last_id, again = 0, None, False
        while True:
            headers = {**self._session, "accept": "text/event-stream"}
            if last_id is not None:
                headers["last-event-id"] = last_id
            try:
                async with self._wire.send("GET", headers, seconds=OPENING_SECONDS) as response:
                    if response.status != 200 or not is_stream(response):
                        return
                    failures = 0
                    if again:
                        self.lost.set()
                    async for event in events(response):
                        last_id = event.id or last_id
                        if event.data:
                            self._message(read_message(event.data), None, self._leg.peer)
            except ToolwayError as error:
                log.debug("the event stream of %s broke: %s", self._wire.url, error)
                failures += 1
            again = True
            await asyncio.sleep(random.uniform(0, min(CAP_SECONDS, 0.2 * 2**failures)))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(work: Any) -> None:
    try:
        await work
    except ToolwayError as error:
        log.debug("a message to an upstream was lost: %s", error)
