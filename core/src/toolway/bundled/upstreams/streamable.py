"""Streamable HTTP: in the handshake era with sessions, resumed SSE replies and the GET stream, later without."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import closing, suppress
from math import inf
from typing import Any

from msgspec import UNSET, Raw, Struct

from toolway.bundled.upstreams.channel import (
    LISTEN,
    MAX_MESSAGE,
    OPENING_SECONDS,
    Again,
    cancellation,
    in_time,
    matched,
    read_message,
    refusal,
)
from toolway.bundled.upstreams.questions import Questions
from toolway.bundled.upstreams.repeat import BASE_SECONDS, Tasks, first_try, repeat
from toolway.bundled.upstreams.wire import MAX_STREAM, Answer, Events, Wire, is_stream
from toolway.hookspecs.routing import Leg, Reply, UpstreamRequest
from toolway.mcp.messages import encode_notification, encode_request
from toolway.mcp.sse import Event
from toolway.plugin import (
    SessionLost,
    ToolwayError,
    UpstreamError,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnreachable,
)

log = logging.getLogger(__name__)

Headers = Mapping[str, str]

RESUMES = 5
"""How often in a row a stream may be resumed without anything new on it."""

CLOSING_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 60.0


class Place(Struct):
    """Where a stream stands: after which event to resume, and seconds to wait before (MCP 2025-11-25, SEP-1699)."""

    last_id: str = ""
    retry: float = 1.0
    fruitless: int = 0

    def passed(self, event: Event) -> None:
        """The stream moved on."""
        self.fruitless = 0
        self.last_id = self.last_id if event.id is None else event.id
        self.retry = self.retry if event.retry is None else min(event.retry / 1000, LONGEST_RETRY_SECONDS)


class StreamableHttp:
    """The `Channel` to one endpoint. A modern one is stateless: leaving a request early is what cancels it."""

    def __init__(self, wire: Wire, leg: Leg, *, is_replica: bool = False) -> None:
        """Of several replicas not each need speak the era of the others; then nothing was done, and that is said."""
        self._wire = wire
        self._may_be_older = is_replica and leg.era == "modern"
        self._leg = leg
        self._modern = leg.era == "modern"
        self._who = f"upstream {wire.upstream!r}"
        self._session: dict[str, str] = {}
        self._serial = 0
        self._tasks = Tasks()
        self._questions = Questions(leg, self._post, self._tasks)
        self._listener: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self.lost = asyncio.Event()

    async def begin(self) -> None:
        """Forget the session."""
        self._session = {}
        self.lost.clear()
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None

    def agreed(self, version: str) -> None:
        """The version goes into every header from now on (2025-06-18 and later)."""
        self._session["mcp-protocol-version"] = version

    def listen(self, missed: Callable[[], None]) -> None:
        """Hold the GET stream; `missed` is called when it is back after a gap."""
        if self._listener is None:
            place, tried, what = Place(), first_try(), f"the event stream of {self._who} broke"
            stream = repeat(lambda: self._poll(place, tried, missed), what, tried.set)
            self._listener, self._tried = self._tasks.start(stream), tried

    async def listening(self) -> None:
        """See `Channel.listening`."""
        await self._tried.wait()

    def call(self, request: UpstreamRequest, again: Again | None = None) -> Coroutine[Any, Any, Reply]:
        """POST and read until the response; a legacy stream that drops before is resumed by GET."""
        self._serial += 1
        if self._modern and request.deadline == inf:  # whoever calls sees to it
            return self._exchange(request, self._serial, again)
        return self._in_time(request, self._serial, again)

    async def tell(self, method: str, params: Mapping[str, Raw]) -> None:
        """POST a notification; modern HTTP has none of the client (MCP 2026-07-28, transports)."""
        if self._modern:
            raise UpstreamProtocol(f"{method} cannot be sent to {self._who}: it speaks 2026-07-28")
        await self._post(encode_notification(method, params))

    async def close(self) -> None:
        """End the session at the upstream."""
        self.lost.set()
        await self._tasks.close()
        if "mcp-session-id" in self._session:
            with suppress(ToolwayError):
                (await self._wire.send("DELETE", self._session, seconds=CLOSING_SECONDS)).close()
                self._session = {}

    async def _in_time(self, request: UpstreamRequest, request_id: int, again: Again | None) -> Reply:
        try:
            if request.deadline == inf:
                return await self._exchange(request, request_id, again)
            async with in_time(request.deadline, self._who):
                return await self._exchange(request, request_id, again)
        except (asyncio.CancelledError, UpstreamTimeout):
            if not self._modern and request.method != "initialize":
                self._tasks.start(self._post(cancellation(request_id)))
            raise

    async def _exchange(self, request: UpstreamRequest, request_id: int, again: Again | None) -> Reply:
        method, headers = request.method, request.headers
        body, is_held, session = encode_request(request_id, method, request.params), method == LISTEN, self._session
        if session:
            headers = {**session, **headers}
        begun = self._wire.begin(headers, body, request.first_byte) if not is_held else None
        answer = begun or await self._wire.send("POST", headers, body, seconds=request.first_byte, held=is_held)
        if begun is not None:
            try:
                await begun.head
            except BaseException:
                begun.close()
                raise
            if answer.status >= 300 or answer.encoding:
                self._wire.check(answer)
        self._in_session(answer, session)
        if answer.content_type == "application/json" and answer.status < 300:
            if method == "initialize":
                self._begun(answer)
            come = begun.whole(MAX_MESSAGE) if begun is not None else None
            message = read_message(await answer.read(MAX_MESSAGE) if come is None else come)
            reply = matched(message, request_id, modern=self._modern)
        else:
            try:
                reply = await self._converse(answer, request_id, request)
            finally:
                answer.close()
                if self._questions.waiting:
                    self._questions.drop(request.peer)
        if reply.fault is not None and again is not None and (other := again(request, reply.fault)) is not None:
            return await other
        return reply

    async def _converse(self, answer: Answer, request_id: int, request: UpstreamRequest) -> Reply:
        """The reply out of what is not plain JSON."""
        if answer.status >= 300:
            return await self._refused(answer)
        if not is_stream(answer):
            raise UpstreamProtocol(f"{self._who} answered neither JSON nor an event stream")
        if request.method == "initialize":
            self._begun(answer)
        place = Place()
        reply = await self._read(answer, request_id, request, place)
        while reply is None:
            reply = await self._resume(place, request_id, request)
        return reply

    def _begun(self, answer: Answer) -> None:
        if session := answer.header("mcp-session-id"):
            self._session = {"mcp-session-id": session}

    async def _resume(self, place: Place, request_id: int, request: UpstreamRequest) -> Reply | None:
        place.fruitless += 1
        if self._modern or not place.last_id or place.fruitless > RESUMES:
            raise UpstreamError(f"{self._who} ended before its answer; the outcome is unknown")
        await asyncio.sleep(place.retry)
        headers = {"last-event-id": place.last_id}
        try:
            with closing(await self._send("GET", headers, None, request.first_byte)) as answer:
                if not is_stream(answer):
                    raise UpstreamError(f"{self._who} dropped a stream that cannot be resumed")
                return await self._read(answer, request_id, request, place)
        except UpstreamUnreachable as error:
            log.info("resuming a stream of %s failed: %s", self._who, error)
            return None

    async def _read(self, answer: Answer, request_id: int, request: UpstreamRequest, place: Place) -> Reply | None:
        """Messages until ours is answered; None when the stream ends before."""
        stream = Events(answer, inf if request.method == LISTEN else MAX_STREAM)
        while (come := await stream.more()) is not None:
            for event in come:
                place.passed(event)
                if event.data:
                    message = read_message(event.data)
                    if message.method is UNSET or (self._modern and message.id is not UNSET):
                        return matched(message, request_id, modern=self._modern)
                    self._questions.take(message, request.peer)
        return None

    async def _refused(self, answer: Answer) -> Reply:
        """The error; some servers answer 400 instead of 404 to a session that they forgot."""
        try:
            reply = refusal(answer.status, await answer.read(MAX_MESSAGE), answer.header("retry-after"))
        except UpstreamProtocol as error:
            error.sent = not self._may_be_older
            raise
        is_of_old = answer.status == 400 and reply.fault.code in (-32000, -32600)
        if is_of_old and "mcp-session-id" in self._session and "session" in reply.fault.message.lower():
            raise self._session_lost(self._session)
        if is_of_old and self._may_be_older:
            raise UpstreamProtocol(f"{self._who} answers as before 2026-07-28: {reply.fault.message}", sent=False)
        return reply

    async def _post(self, message: bytes) -> None:
        with closing(await self._send("POST", {}, message, OPENING_SECONDS)) as answer:
            if answer.status >= 300:
                raise UpstreamError(f"{self._who} refused a message with {answer.status}")

    async def _send(self, method: str, headers: Headers, body: bytes | None, seconds: float) -> Answer:
        """A request within the session."""
        session = self._session
        answer = await self._wire.send(method, {**session, **headers}, body, seconds=seconds)
        return self._in_session(answer, session)

    def _in_session(self, answer: Answer, session: Headers) -> Answer:
        """The answer; raises SessionLost when the upstream does not know the session (404)."""
        if answer.status == 404 and "mcp-session-id" in session:
            answer.close()
            raise self._session_lost(session)
        return answer

    def _session_lost(self, session: Headers) -> SessionLost:
        """There may be a new one already, which is not lost."""
        if session is self._session:
            self.lost.set()
        return SessionLost(f"{self._who} does not know the session any more", sent=False)

    async def _poll(self, place: Place, tried: asyncio.Event, missed: Callable[[], None]) -> bool:
        """GET streams as long as each brings something to resume after; whether to go on trying, with patience."""
        while (again := await self._hold(place, tried, missed)) and place.last_id and not place.fruitless:
            pass
        return again

    async def _hold(self, place: Place, tried: asyncio.Event, missed: Callable[[], None]) -> bool:
        """One GET stream until it ends; whether to open it again: an upstream without one answers 405 or 404."""
        if self.lost.is_set():
            return False
        headers, place.fruitless = {}, 1
        if place.last_id:
            await asyncio.sleep(max(place.retry, BASE_SECONDS))
            headers["last-event-id"] = place.last_id
        with closing(await self._wire.send("GET", {**self._session, **headers}, held=True)) as answer:
            if answer.status == 404:  # no such stream, or no such session: a ping tells
                deadline = asyncio.get_running_loop().time() + OPENING_SECONDS
                await self.call(UpstreamRequest("ping", {}, {}, self._leg.peer, deadline))
            if not is_stream(answer):
                log.info("%s holds no event stream (%s)", self._who, answer.status)
                return answer.status >= 500
            if tried.is_set() and not place.last_id:
                missed()
            tried.set()
            stream = Events(answer, inf)
            while (come := await stream.more()) is not None:
                for event in come:
                    place.passed(event)
                    if event.data and (message := read_message(event.data)).method is not UNSET:
                        self._questions.take(message, self._leg.peer)
        return True
