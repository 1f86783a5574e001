"""JSON-RPC over one stream in each direction: requests are numbered, replies matched, questions answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec
from msgspec import UNSET, Raw

from toolway.bundled.upstreams.channel import LISTEN, Again, cancellation, in_time, raw_members, read_message, reply_of
from toolway.bundled.upstreams.questions import Questions
from toolway.bundled.upstreams.repeat import PATIENCE, Tasks
from toolway.hookspecs.routing import Leg, Reply, UpstreamRequest
from toolway.mcp.messages import Envelope, encode_notification, encode_request
from toolway.mcp.versions import SUBSCRIPTION_ID_KEY
from toolway.plugin import SessionLost, UpstreamError, UpstreamProtocol, UpstreamTimeout

log = logging.getLogger(__name__)


class Running(msgspec.Struct, eq=False):
    """A request that waits for its reply; `timer` runs out when it takes too long."""

    request: UpstreamRequest
    timer: asyncio.Timeout
    reply: asyncio.Future[Reply]

    def begun(self) -> None:
        """Something of the answer has come: there is time for the rest until the deadline."""
        if not self.timer.expired():
            self.timer.reschedule(self.request.deadline)

    def has_token(self, token: Raw | None) -> bool:
        """Whether that is its progress token."""
        return token is not None and raw_members(self.request.params.get("_meta")).get("progressToken") == token


class Duplex:
    """A `Channel` on a two-way stream, which subclasses connect, write to and disconnect.

    They call `received` for each message and `ended` at the end. A modern conversation opens it on first use, and anew
    after it ended; a legacy one with `begin`.
    """

    def __init__(self, leg: Leg, upstream: str) -> None:
        self.upstream = upstream
        self._leg = leg
        self._modern = leg.era == "modern"
        self._running: dict[int, Running] = {}
        self._tasks = Tasks()
        self._questions = Questions(leg, self.write, self._tasks)
        self._opening = asyncio.Lock()
        self._serial = 0
        self.lost = asyncio.Event()
        self.lost.set()

    async def connect(self) -> None:
        """Open the stream."""
        raise NotImplementedError

    async def write(self, message: bytes) -> None:
        """Write one message; raises UpstreamError."""
        raise NotImplementedError

    async def disconnect(self) -> None:
        """End the stream."""
        raise NotImplementedError

    async def begin(self) -> None:
        """Open the stream, anew if it is open; raises UpstreamError when it was closed, even meanwhile."""
        self.ended(UpstreamError(f"the conversation with upstream {self.upstream!r} was begun anew"))
        await self.disconnect()
        self.lost.clear()
        try:
            self._tasks.check_open(self.upstream)
            await self.connect()
            self._tasks.check_open(self.upstream)
        except BaseException:
            self.lost.set()
            await self.disconnect()
            raise

    def agreed(self, version: str) -> None:
        """Nothing on the stream depends on the version."""

    def listen(self, missed: Callable[[], None]) -> None:
        """Everything comes on the same stream anyway."""

    async def listening(self) -> None:
        """It is open."""

    async def call(self, request: UpstreamRequest, again: Again | None = None) -> Reply:
        """See `Channel.call`."""
        await self._opened()
        self._serial += 1
        request_id, loop = self._serial, asyncio.get_running_loop()
        first = min(loop.time() + request.first_byte, request.deadline)
        try:
            async with in_time(first, f"upstream {self.upstream!r}") as timer:
                running = self._running[request_id] = Running(request, timer, loop.create_future())
                await self.write(encode_request(request_id, request.method, request.params))
                reply = await running.reply
        except (asyncio.CancelledError, UpstreamTimeout):
            if not self.lost.is_set() and request.method != "initialize":
                self._tasks.start(self._cancel(request_id))
            raise
        finally:
            self._running.pop(request_id, None)
            self._questions.drop(request.peer)
        if reply.fault is not None and again is not None and (other := again(request, reply.fault)) is not None:
            return await other
        return reply

    async def tell(self, method: str, params: Mapping[str, Raw]) -> None:
        """See `Channel.tell`."""
        await self.write(encode_notification(method, params))

    async def close(self) -> None:
        """End the stream and what waits on it."""
        try:
            await self._tasks.close()
        finally:
            await self.disconnect()
        self.ended(UpstreamError(f"the conversation with upstream {self.upstream!r} was closed"))

    def received(self, data: bytes) -> None:
        """Take one message. What is none is skipped: programs print to where they should not."""
        try:
            message = read_message(data)
        except UpstreamProtocol as error:
            log.warning("upstream %s: %s", self.upstream, error)
            if data.startswith(b"{"):
                self._spoiled(error)
            return
        if message.method is UNSET:
            self._response(message)
            return
        owner = self._owner(message)
        if owner is not None:
            owner.begun()
        self._questions.take(message, owner.request.peer if owner is not None else self._leg.peer)

    def ended(self, error: UpstreamError) -> None:
        """The stream is gone: nobody will answer what is running."""
        self.lost.set()
        for running in self._running.values():
            if not running.reply.done():
                running.reply.set_exception(error)

    async def _opened(self) -> None:
        if self.lost.is_set() and not self._modern:
            raise SessionLost(f"the conversation with upstream {self.upstream!r} is over", sent=False)
        async with self._opening:
            if self.lost.is_set():
                await self.begin()

    async def _cancel(self, request_id: int) -> None:
        async with in_time(asyncio.get_running_loop().time() + PATIENCE, f"upstream {self.upstream!r}"):
            await self.write(cancellation(request_id))

    def _response(self, message: Envelope) -> None:
        running = self._running.get(message.id) if type(message.id) is int else None
        if running is None:
            log.info("upstream %s answered a request that nobody waits for", self.upstream)
        elif not running.reply.done():
            try:
                running.reply.set_result(reply_of(message, modern=self._modern))
            except UpstreamProtocol as error:
                running.reply.set_exception(error)

    def _spoiled(self, error: UpstreamProtocol) -> None:
        """Only when a single request runs is it known whose answer this was."""
        calls = self._calls()
        if len(calls) == 1 and not calls[0].reply.done():
            calls[0].reply.set_exception(error)

    def _owner(self, message: Envelope) -> Running | None:
        """Whose this is: by subscription or progress token, else of the only call; of the latest one if it asks."""
        subscription = raw_members(message.members.get("_meta")).get(SUBSCRIPTION_ID_KEY)
        if subscription is not None:
            number = bytes(subscription)[:19]  # a longer one is of no request
            return self._running.get(int(number)) if number.isdigit() else None
        if message.method == "notifications/progress":
            token = message.members.get("progressToken")
            return next((running for running in self._running.values() if running.has_token(token)), None)
        calls = self._calls()
        if message.id is not UNSET:
            return calls[-1] if calls else None
        return calls[0] if len(calls) == 1 and message.method == "notifications/message" else None

    def _calls(self) -> list[Running]:
        return [running for running in self._running.values() if running.request.method != LISTEN]
