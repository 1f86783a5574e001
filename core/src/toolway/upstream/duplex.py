"""JSON-RPC over one stream in each direction: requests are numbered, replies matched, questions answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

import msgspec
from msgspec import UNSET, Raw

from toolway.errors import ToolwayError, UpstreamError, UpstreamProtocol, UpstreamUnreachable
from toolway.hookspecs.routing import Peer, Reply
from toolway.mcp.messages import Envelope, encode_notification, encode_request
from toolway.mcp.versions import SUBSCRIPTION_ID_KEY
from toolway.upstream.channel import Outbound, answer_upstream, read_message, reply_of
from toolway.upstream.modern import cancelled_notification

log = logging.getLogger(__name__)


class Line(Protocol):
    """A two-way stream of messages."""

    async def open(self, receive: Duplex) -> None:
        """Connect; from then on call `receive.message` for each message and `receive.ended` at the end."""

    async def send(self, message: bytes) -> None:
        """Write one message; raises UpstreamError."""

    async def close(self) -> None:
        """End it."""


class Running(msgspec.Struct, eq=False):
    """A request that waits for its reply; `token` is its progress token, if it has one."""

    outbound: Outbound
    reply: asyncio.Future[Reply]
    token: bytes


class Duplex:
    """A channel on a line. The line is opened on first use, and anew after it ended."""

    def __init__(self, line: Line, peer: Peer) -> None:
        self._line = line
        self._peer = peer
        self._running: dict[int, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()
        self._is_open = False
        self._serial = 0
        self.lost = asyncio.Event()

    async def call(self, outbound: Outbound) -> Reply:
        """See `Channel.call`."""
        await self._open(outbound.method)
        self._serial += 1
        request_id = self._serial
        token = _meta(outbound.params).get("progressToken", Raw(b""))
        running = Running(outbound, asyncio.get_running_loop().create_future(), bytes(token))
        self._running[request_id] = running
        try:
            await self._line.send(encode_request(request_id, outbound.method, outbound.params))
            return await running.reply
        except asyncio.CancelledError:
            if self._is_open and outbound.method != "initialize":
                self._start(self._line.send(cancelled_notification(request_id)))
            raise
        finally:
            self._running.pop(request_id, None)

    async def tell(self, method: str, params: Mapping[str, Raw]) -> None:
        """See `Channel.tell`."""
        await self._line.send(encode_notification(method, params))

    async def opened(self, version: str, *, listen: bool) -> None:
        """Everything comes on the same stream anyway."""

    async def close(self) -> None:
        """End the line and what waits on it."""
        for task in list(self._tasks):
            task.cancel()
        await self._line.close()
        self.ended(UpstreamUnreachable("the conversation was closed"))

    def message(self, data: bytes) -> None:
        """The line received something."""
        try:
            envelope = read_message(data)
        except UpstreamProtocol as error:
            log.warning("%s", error)
            return
        if envelope.method is UNSET:
            self._response(envelope)
        elif envelope.id is UNSET:
            self._peer_of(envelope).notify(envelope.method, envelope.members)
        else:
            self._start(self._answer(envelope, self._peer_of(envelope)))

    def ended(self, error: UpstreamError) -> None:
        """The line is gone: nobody will answer what is running."""
        self._is_open = False
        for running in self._running.values():
            if not running.reply.done():
                running.reply.set_exception(error)

    async def _open(self, method: str) -> None:
        if self._is_open:
            return
        async with self._opening:
            if not self._is_open:
                if method not in ("initialize", "server/discover") and self._serial:
                    self.lost.set()
                await self._line.open(self)
                self._is_open = True

    def _response(self, envelope: Envelope) -> None:
        running = self._running.get(envelope.id) if isinstance(envelope.id, int) else None
        if running is None:
            log.debug("an upstream answered a request that nobody waits for")
        elif not running.reply.done():
            try:
                running.reply.set_result(reply_of(envelope))
            except UpstreamProtocol as error:
                running.reply.set_exception(error)

    def _peer_of(self, envelope: Envelope) -> Peer:
        """Whose this is: by subscription or progress token, else of the only (or latest) call in flight."""
        members = envelope.members
        if envelope.method == "notifications/progress":
            token = bytes(members.get("progressToken", Raw(b"")))
            found = next((r for r in self._running.values() if r.token and r.token == token), None)
            return found.outbound.peer if found else self._peer
        subscription = _meta(members).get(SUBSCRIPTION_ID_KEY)
        if subscription is not None and (known := self._running.get(_number(subscription))) is not None:
            return known.outbound.peer
        calls = [r for r in self._running.values() if r.outbound.method != "subscriptions/listen"]
        is_change = str(envelope.method).endswith(("/list_changed", "/updated"))
        return calls[-1].outbound.peer if calls and not is_change else self._peer

    async def _answer(self, envelope: Envelope, peer: Peer) -> None:
        await self._line.send(await answer_upstream(envelope, peer))

    def _start(self, work: object) -> None:
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(work: object) -> None:
    try:
        await work  # type: ignore[misc]
    except ToolwayError as error:
        log.debug("a message to an upstream was lost: %s", error)


def _meta(members: Mapping[str, Raw]) -> dict[str, Raw]:
    raw = members.get("_meta")
    try:
        return msgspec.json.decode(raw, type=dict[str, Raw]) if raw is not None else {}
    except msgspec.DecodeError:
        return {}


def _number(raw: Raw) -> int:
    try:
        return msgspec.json.decode(raw, type=int)
    except msgspec.DecodeError:
        return -1
