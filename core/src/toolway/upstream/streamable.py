"""Streamable HTTP of the handshake era (2025-03-26 to 2025-11-25): sessions, SSE replies, the GET stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp
from msgspec import UNSET, Raw

from toolway.errors import (
    SessionLost,
    ToolwayError,
    UpstreamError,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from toolway.hookspecs.routing import Leg, Peer, Reply
from toolway.mcp.messages import Envelope, encode_notification, encode_request
from toolway.mcp.sse import Event
from toolway.upstream.channel import (
    OPENING_SECONDS,
    Outbound,
    Patience,
    cancelled_notification,
    matched,
    read_message,
    refusal,
)
from toolway.upstream.questions import Questions, Tasks
from toolway.upstream.watch import Backoff
from toolway.upstream.wire import BASE_HEADERS, EVENT_STREAM, EventStream, Wire, is_json, is_stream, read_body

log = logging.getLogger(__name__)

RESUMES = 5
"""How often in a row a stream may be resumed without anything new on it."""

RETRY_MILLISECONDS = 1000
CLOSING_SECONDS = 2.0


class Place:
    """Where a stream stands: after which event to resume, and how long to wait before (MCP 2025-11-25, SEP-1699)."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry = RETRY_MILLISECONDS
        self.fruitless = 0

    def passed(self, event: Event) -> None:
        """The stream moved on."""
        self.fruitless = 0
        if event.id is not None:
            self.last_id = event.id
        if event.retry is not None:
            self.retry = min(event.retry, 60_000)


class StreamableHttp:
    """One session with one endpoint. `lost` is set when the upstream does not know the session any more."""

    def __init__(self, wire: Wire, leg: Leg) -> None:
        self._wire = wire
        self._leg = leg
        self._session: dict[str, str] = {}
        self._serial = 0
        self._tasks = Tasks()
        self._questions = Questions(leg, self._post, self._tasks)
        self._listener: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()

    async def begin(self) -> None:
        """Forget the session: `initialize` is sent next."""
        self._session = {}
        self.lost.clear()
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None

    def agreed(self, version: str) -> None:
        """The version goes into every header from now on (2025-06-18 and later)."""
        self._session["mcp-protocol-version"] = version

    def listen(self, missed: Callable[[], None]) -> None:
        """Hold the stream of what belongs to no request; `missed` is called when it is back after a gap."""
        if self._listener is None:
            self._listener = self._tasks.start(self._listen(missed))

    async def call(self, outbound: Outbound) -> Reply:
        """POST and read until the response; a stream that drops before is resumed by GET."""
        self._serial += 1
        request_id = self._serial
        try:
            async with Patience(outbound, self._wire.upstream) as patience:
                return await self._exchange(outbound, request_id, patience)
        except (asyncio.CancelledError, UpstreamTimeout):
            if outbound.method != "initialize":
                self._tasks.start(self._post(cancelled_notification(request_id)))
            raise
        finally:
            self._questions.drop(outbound.peer)

    async def tell(self, method: str, params: Mapping[str, Raw]) -> None:
        """POST a notification."""
        await self._post(encode_notification(method, params))

    async def close(self) -> None:
        """End the session at the upstream."""
        await self._tasks.close()
        if "mcp-session-id" in self._session:
            with contextlib.suppress(ToolwayError):
                async with self._wire.send("DELETE", self._session, seconds=CLOSING_SECONDS):
                    self._session = {}

    async def _exchange(self, outbound: Outbound, request_id: int, patience: Patience) -> Reply:
        body = encode_request(request_id, outbound.method, outbound.params)
        headers = {**BASE_HEADERS, **self._session, **outbound.headers}
        place = Place()
        async with self._send("POST", headers, body, outbound.first_byte) as response:
            patience.begun()
            if response.status >= 300:
                return await self._refused(response)
            if outbound.method == "initialize" and "mcp-session-id" in response.headers:
                self._session = {"mcp-session-id": response.headers["mcp-session-id"]}
            if is_json(response):
                return matched(read_message(await read_body(response)), request_id, modern=False)
            if not is_stream(response):
                raise UpstreamProtocol(f"upstream {self._wire.upstream!r} answered neither JSON nor an event stream")
            reply = await self._read(response, request_id, outbound.peer, place)
        while reply is None:
            reply = await self._resume(place, request_id, outbound)
        return reply

    async def _resume(self, place: Place, request_id: int, outbound: Outbound) -> Reply | None:
        place.fruitless += 1
        if not place.last_id or place.fruitless > RESUMES:
            raise UpstreamError(f"upstream {self._wire.upstream!r} ended before its answer; the outcome is unknown")
        await asyncio.sleep(place.retry / 1000)
        headers = {**EVENT_STREAM, **self._session, "last-event-id": place.last_id}
        try:
            async with self._send("GET", headers, None, outbound.first_byte) as response:
                if response.status != 200 or not is_stream(response):
                    raise UpstreamError(f"upstream {self._wire.upstream!r} dropped a stream that cannot be resumed")
                return await self._read(response, request_id, outbound.peer, place)
        except UpstreamUnreachable as error:
            log.info("resuming a stream of upstream %s failed: %s", self._wire.upstream, error)
            return None

    async def _read(self, response: aiohttp.ClientResponse, request_id: int, peer: Peer, place: Place) -> Reply | None:
        """Messages until ours is answered; None when the stream ends before."""
        async for event in EventStream(response):
            place.passed(event)
            if event.data:
                message = read_message(event.data)
                if message.method is UNSET:
                    return matched(message, request_id, modern=False)
                self._questions.take(message, peer)
        return None

    async def _refused(self, response: aiohttp.ClientResponse) -> Reply:
        reply = refusal(response.status, await read_body(response))
        if response.status == 400 and _is_about_the_session(reply) and "mcp-session-id" in self._session:
            raise self._session_lost()
        return reply

    async def _post(self, message: bytes) -> None:
        headers = {**BASE_HEADERS, **self._session}
        async with self._send("POST", headers, message, OPENING_SECONDS) as response:
            if response.status >= 300:
                raise UpstreamError(f"upstream {self._wire.upstream!r} refused a message with {response.status}")

    @contextlib.asynccontextmanager
    async def _send(
        self, method: str, headers: Mapping[str, str], body: bytes | None, seconds: float, *, held: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A request within the session; raises SessionLost when the upstream does not know it (404)."""
        async with self._wire.send(method, headers, body, seconds=seconds, held=held) as response:
            if response.status == 404 and "mcp-session-id" in headers and not held:
                raise self._session_lost()
            yield response

    def _session_lost(self) -> SessionLost:
        self.lost.set()
        return SessionLost(f"upstream {self._wire.upstream!r} does not know the session any more", sent=False)

    async def _listen(self, missed: Callable[[], None]) -> None:
        """Hold the GET stream as long as the session lives; an upstream without one answers 405."""
        place, backoff = Place(), Backoff()
        while await self._hold(place, missed):
            if place.last_id:
                await asyncio.sleep(place.retry / 1000)
            await backoff.pause()

    async def _hold(self, place: Place, missed: Callable[[], None]) -> bool:
        """One GET stream until it ends; whether to open it again."""
        headers = {**EVENT_STREAM, **self._session}
        if place.last_id:
            headers["last-event-id"] = place.last_id
        try:
            async with self._send("GET", headers, None, OPENING_SECONDS, held=True) as response:
                if response.status == 404:
                    return not await self._has_ended()
                if response.status != 200 or not is_stream(response):
                    log.info("upstream %s holds no event stream (%s)", self._wire.upstream, response.status)
                    return response.status >= 500
                if place.fruitless and not place.last_id:
                    missed()
                place.fruitless += 1
                async for event in EventStream(response, limit=float("inf")):
                    place.passed(event)
                    place.fruitless = 1
                    if event.data:
                        self._take(read_message(event.data))
        except ToolwayError as error:
            log.info("the event stream of upstream %s broke: %s", self._wire.upstream, error)
        return not self.lost.is_set()

    async def _has_ended(self) -> bool:
        """Whether the session is over, or the upstream just answers 404 to GET; a ping tells."""
        await self.call(Outbound("ping", {}, self._leg.peer))
        return True

    def _take(self, message: Envelope) -> None:
        if message.method is UNSET:
            raise UpstreamProtocol("the upstream sent a response where nothing was asked")
        self._questions.take(message, self._leg.peer)


def _is_about_the_session(reply: Reply) -> bool:
    """Some servers answer 400 instead of 404 to a session that they forgot."""
    return reply.fault is not None and reply.fault.code in (-32000, -32600) and "session" in reply.fault.message.lower()
