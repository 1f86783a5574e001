"""A conversation of the handshake era over any channel: initialize, then requests in a session."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from toolway.errors import ToolwayError, UpstreamProtocol
from toolway.hookspecs.routing import Discovery, Eras, Leg, Reply, UpstreamRequest, Wants
from toolway.mcp.versions import LEGACY, MODERN
from toolway.upstream.channel import OPENING_SECONDS, Channel, Outbound
from toolway.upstream.discover import Hello, discover, read_hello
from toolway.upstream.modern import identity
from toolway.upstream.questions import NEEDED, Tasks
from toolway.upstream.watch import NOTHING, Backoff, resynchronize

log = logging.getLogger(__name__)


class SessionChannel(Channel, Protocol):
    """A channel that carries sessions. `lost` is set when the upstream has forgotten the current one."""

    lost: asyncio.Event

    async def begin(self) -> None:
        """Start anew: `initialize` is sent next."""

    def agreed(self, version: str) -> None:
        """The handshake is done."""

    def listen(self, missed: Callable[[], None]) -> None:
        """Receive what belongs to no request; `missed` is called when something may have been lost."""


class LegacyConnection:
    """`Connection` of the handshake era. The session is made on first use, and anew after it was lost."""

    def __init__(self, leg: Leg, channel: SessionChannel, upstream: str) -> None:
        self._leg = leg
        self._channel = channel
        self._upstream = upstream
        self._opening = asyncio.Lock()
        self._hello: Hello | None = None
        self._wants = NOTHING
        self._follower: asyncio.Task[None] | None = None
        self._tasks = Tasks()

    async def discover(self) -> Discovery:
        """What initialize said, then all lists."""
        hello = await self._open()
        eras = Eras(legacy=hello.protocol_version)
        return await discover(self._upstream, eras, hello, hello.server_info, self._ask)

    async def greet(self) -> str:
        """The version agreed on; raises UpstreamError when the upstream does not speak this era."""
        return (await self._open()).protocol_version

    async def request(self, request: UpstreamRequest) -> Reply:
        """See `Connection.request`."""
        params = dict(request.params)
        if request.meta:
            params["_meta"] = Raw(msgspec.json.encode(request.meta))
        await self._open()
        if request.method == "logging/setLevel":
            self._channel.listen(self._missed)
        return await self._channel.call(
            Outbound(request.method, params, request.peer, request.headers, request.first_byte, request.deadline)
        )

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """See `Connection.notify`; without a session there is nobody to tell."""
        if self._hello is not None and not self._channel.lost.is_set():
            await self._channel.tell(method, params)

    async def watch(self, wants: Wants) -> None:
        """See `Connection.watch`: resources are subscribed one by one, lists are reported anyway."""
        await self._open()
        before, self._wants = self._wants, wants
        if wants != NOTHING:
            self._channel.listen(self._missed)
            if self._follower is None:
                self._follower = self._tasks.start(self._follow())
        await self._subscribe(wants.uris - before.uris, "resources/subscribe")
        await self._subscribe(before.uris - wants.uris, "resources/unsubscribe")

    async def close(self) -> None:
        """See `Connection.close`."""
        await self._tasks.close()
        await self._channel.close()

    async def _ask(self, method: str, params: dict[str, Raw]) -> Reply:
        deadline = time.monotonic() + OPENING_SECONDS
        return await self._channel.call(Outbound(method, params, self._leg.peer, deadline=deadline))

    async def _open(self) -> Hello:
        if self._hello is not None and not self._channel.lost.is_set():
            return self._hello
        async with self._opening:
            if self._hello is None or self._channel.lost.is_set():
                self._hello = None
                try:
                    self._hello = await self._begin()
                except BaseException:
                    self._channel.lost.set()
                    raise
            return self._hello

    async def _begin(self) -> Hello:
        hello = await self._handshake()
        if self._wants != NOTHING:
            await self._subscribe(self._wants.uris, "resources/subscribe")
            self._missed()
        return hello

    async def _handshake(self) -> Hello:
        client = self._leg.client
        offer: dict[str, Any] = {
            "protocolVersion": self._leg.version if self._leg.version in LEGACY else LEGACY[0],
            "capabilities": client.capabilities,
            "clientInfo": identity(client.info),
        }
        await self._channel.begin()
        params = {key: Raw(msgspec.json.encode(value)) for key, value in offer.items()}
        hello = read_hello(await self._ask("initialize", params))
        if not LEGACY[-1] <= hello.protocol_version < MODERN[-1]:
            raise UpstreamProtocol(f"upstream {self._upstream!r} wants the unknown version {hello.protocol_version!r}")
        self._channel.agreed(hello.protocol_version)
        await self._channel.tell("notifications/initialized", {})
        if self._wants != NOTHING or any(needed in client.capabilities for needed in NEEDED.values()):
            self._channel.listen(self._missed)
        return hello

    async def _subscribe(self, uris: frozenset[str], method: str) -> None:
        for uri in sorted(uris):
            reply = await self._ask(method, {"uri": Raw(msgspec.json.encode(uri))})
            if reply.fault is not None:
                log.info("upstream %s refused %s: %s", self._upstream, method, reply.fault.message)

    def _missed(self) -> None:
        resynchronize(self._leg.peer, self._wants)

    async def _follow(self) -> None:
        """While somebody watches, a session that was lost is made anew."""
        backoff = Backoff()
        while True:
            await self._channel.lost.wait()
            await backoff.pause()
            try:
                await self._open()
            except ToolwayError as error:
                log.info("upstream %s has lost the session and gives no new one: %s", self._upstream, error)
