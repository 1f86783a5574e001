"""JSON-RPC over one stream in each direction: requests are numbered, replies matched, questions answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from msgspec import UNSET, Raw

from toolway.errors import SessionLost, ToolwayError, UpstreamError, UpstreamProtocol, UpstreamTimeout
from toolway.hookspecs.routing import Leg, Reply
from toolway.mcp.messages import Envelope, encode_notification, encode_request
from toolway.mcp.versions import SUBSCRIPTION_ID_KEY
from toolway.upstream.channel import (
    Outbound,
    Patience,
    cancelled_notification,
    raw_members,
    read_message,
    reply_of,
)
from toolway.upstream.modern import LISTEN
from toolway.upstream.questions import Questions, Tasks, subscription_of

log = logging.getLogger(__name__)


class Line(Protocol):
    """A two-way stream of messages."""

    async def open(self, receive: Duplex) -> None:
        """Connect anew; from then on call `receive.message` for each message and `receive.ended` at the end."""

    async def send(self, message: bytes) -> None:
        """Write one message; raises UpstreamError."""

    async def close(self) -> None:
        """End it."""


class Running(msgspec.Struct, eq=False):
    """A request that waits for its reply; `token` is its progress token, if it has one."""

    outbound: Outbound
    patience: Patience
    reply: asyncio.Future[Reply]
    token: bytes


class Duplex:
    """A channel on a line. A modern line is opened on first use, and anew after it ended; a legacy one by `begin`."""

    def __init__(self, line: Line, leg: Leg, upstream: str) -> None:
        self._line = line
        self._leg = leg
        self._upstream = upstream
        self._modern = leg.era == "modern"
        self._running: dict[int, Running] = {}
        self._tasks = Tasks()
        self._questions = Questions(leg, self._line.send, self._tasks)
        self._opening = asyncio.Lock()
        self._is_open = False
        self._serial = 0
        self.lost = asyncio.Event()

    async def begin(self) -> None:
        """Open the line, anew if it is open."""
        self.ended(UpstreamError(f"the conversation with upstream {self._upstream!r} was begun anew"))
        self.lost.clear()
        try:
            await self._line.open(self)
        except BaseException:
            self.lost.set()
            raise
        self._is_open = not self.lost.is_set()

    def agreed(self, version: str) -> None:
        """Nothing on the line depends on the version."""

    def listen(self, missed: Callable[[], None]) -> None:
        """Everything comes on the same stream anyway."""

    async def call(self, outbound: Outbound) -> Reply:
        """See `Channel.call`."""
        await self._opened()
        self._serial += 1
        request_id = self._serial
        try:
            async with Patience(outbound, self._upstream) as patience:
                running = self._running[request_id] = _running(outbound, patience)
                await self._line.send(encode_request(request_id, outbound.method, outbound.params))
                return await running.reply
        except (asyncio.CancelledError, UpstreamTimeout):
            if self._is_open and outbound.method != "initialize":
                self._tasks.start(self._line.send(cancelled_notification(request_id)))
            raise
        finally:
            self._running.pop(request_id, None)
            self._questions.drop(outbound.peer)

    async def tell(self, method: str, params: Mapping[str, Raw]) -> None:
        """See `Channel.tell`."""
        await self._line.send(encode_notification(method, params))

    async def close(self) -> None:
        """End the line and what waits on it."""
        await self._tasks.close()
        with contextlib.suppress(ToolwayError):
            await self._line.close()
        self.ended(UpstreamError(f"the conversation with upstream {self._upstream!r} was closed"))

    def message(self, data: bytes) -> None:
        """The line received something. What is no message is skipped: programs print to where they should not."""
        try:
            message = read_message(data)
        except UpstreamProtocol as error:
            log.warning("upstream %s: %s", self._upstream, error)
            if data.startswith(b"{"):
                self._spoiled(error)
            return
        if message.method is UNSET:
            self._response(message)
            return
        owner = self._owner(message)
        if owner is not None:
            owner.patience.begun()
        self._questions.take(message, owner.outbound.peer if owner is not None else self._leg.peer)

    def ended(self, error: UpstreamError) -> None:
        """The line is gone: nobody will answer what is running."""
        self._is_open = False
        self.lost.set()
        for running in self._running.values():
            if not running.reply.done():
                running.reply.set_exception(error)

    async def _opened(self) -> None:
        if self._is_open:
            return
        if not self._modern:
            raise SessionLost(f"the conversation with upstream {self._upstream!r} is over", sent=False)
        async with self._opening:
            if not self._is_open:
                await self.begin()

    def _response(self, message: Envelope) -> None:
        known = isinstance(message.id, int) and not isinstance(message.id, bool)
        running = self._running.get(message.id) if known else None  # type: ignore[arg-type]
        if running is None:
            log.info("upstream %s answered a request that nobody waits for", self._upstream)
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
        subscription = subscription_of(message, SUBSCRIPTION_ID_KEY)
        if subscription is not None:
            return self._running.get(subscription)
        if message.method == "notifications/progress":
            token = bytes(message.members.get("progressToken", Raw(b"")))
            return next((running for running in self._running.values() if running.token == token), None)
        calls = self._calls()
        if message.id is not UNSET:
            return calls[-1] if calls else None
        return calls[0] if len(calls) == 1 and message.method == "notifications/message" else None

    def _calls(self) -> list[Running]:
        return [running for running in self._running.values() if running.outbound.method != LISTEN]


def _running(outbound: Outbound, patience: Patience) -> Running:
    token = raw_members(outbound.params.get("_meta")).get("progressToken", Raw(b"none"))
    return Running(outbound, patience, asyncio.get_running_loop().create_future(), bytes(token))
