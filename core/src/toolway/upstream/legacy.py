"""A conversation of the handshake era over any channel: initialize, then requests in a session."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from toolway.errors import SessionLost, UpstreamProtocol
from toolway.hookspecs.routing import Discovery, Eras, Leg, Reply, UpstreamRequest, Wants
from toolway.mcp.versions import LEGACY
from toolway.upstream.channel import OPENING_SECONDS, Channel, Outbound
from toolway.upstream.discover import discover, expect_result
from toolway.upstream.modern import IDENTITY
from toolway.upstream.watch import resynchronize


class SessionChannel(Channel, Protocol):
    """A channel that knows what the handshake agreed on."""

    lost: asyncio.Event

    async def opened(self, version: str, *, listen: bool) -> None:
        """The handshake is done; `listen` asks for the stream of what belongs to no request."""


class LegacyConnection:
    """`Connection` of the handshake era. The session is made on first use, and anew after it was lost."""

    def __init__(self, leg: Leg, channel: SessionChannel, upstream: str) -> None:
        self._leg = leg
        self._channel = channel
        self._upstream = upstream
        self._opening = asyncio.Lock()
        self._is_open = False
        self._hello: dict[str, Any] = {}
        self._wants = Wants()
        self._follower: asyncio.Task[None] | None = None

    async def discover(self) -> Discovery:
        """What initialize said, then all lists."""
        await self._open()
        return await discover(
            self._upstream,
            Eras(legacy=self._hello["protocolVersion"]),
            self._hello.get("capabilities") or {},
            self._hello.get("serverInfo") or {},
            self._hello.get("instructions"),
            self._ask,
        )

    async def greet(self) -> str:
        """The version agreed on; raises UpstreamError when the upstream does not speak this era."""
        await self._open()
        return str(self._hello["protocolVersion"])

    async def request(self, request: UpstreamRequest) -> Reply:
        """See `Connection.request`."""
        params = dict(request.params)
        if request.meta:
            params["_meta"] = Raw(msgspec.json.encode(request.meta))
        return await self._call(Outbound(request.method, params, request.peer, request.headers, request.first_byte))

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """See `Connection.notify`."""
        if self._is_open:
            await self._channel.tell(method, params)

    async def watch(self, wants: Wants) -> None:
        """See `Connection.watch`: resources are subscribed one by one, lists are reported anyway."""
        before, self._wants = self._wants, wants
        await self._open()
        if wants != Wants() and self._follower is None:
            await self._channel.opened(self._hello["protocolVersion"], listen=True)
            self._follower = asyncio.create_task(self._follow())
        await self._subscribe(wants.uris - before.uris, "resources/subscribe")
        await self._subscribe(before.uris - wants.uris, "resources/unsubscribe")

    async def close(self) -> None:
        """See `Connection.close`."""
        if self._follower is not None:
            self._follower.cancel()
        await self._channel.close()

    async def _call(self, outbound: Outbound) -> Reply:
        await self._open()
        try:
            return await self._channel.call(outbound)
        except SessionLost:
            self._is_open = False
            raise

    async def _ask(self, method: str, params: dict[str, Raw]) -> Reply:
        return await self._call(Outbound(method, params, self._leg.peer))

    async def _open(self) -> None:
        if self._is_open:
            return
        async with self._opening:
            if not self._is_open:
                await self._handshake()
                self._is_open = True

    async def _handshake(self) -> None:
        client = self._leg.client
        hello = {
            "protocolVersion": LEGACY[0],
            "capabilities": client.capabilities,
            "clientInfo": client.info or {**IDENTITY, "version": "1"},
        }
        params = {key: Raw(msgspec.json.encode(value)) for key, value in hello.items()}
        reply = await self._channel.call(Outbound("initialize", params, self._leg.peer, first_byte=OPENING_SECONDS))
        self._hello = msgspec.json.decode(expect_result(reply))
        version = self._hello.get("protocolVersion") if isinstance(self._hello, dict) else None
        if version not in LEGACY:
            raise UpstreamProtocol(f"the upstream wants to speak version {version!r}, which is not known")
        can_be_asked = any(key in client.capabilities for key in ("elicitation", "sampling", "roots"))
        await self._channel.opened(str(version), listen=can_be_asked or self._wants != Wants())
        await self._channel.tell("notifications/initialized", {})

    async def _subscribe(self, uris: frozenset[str], method: str) -> None:
        for uri in sorted(uris):
            expect_result(await self._ask(method, {"uri": Raw(msgspec.json.encode(uri))}))

    async def _follow(self) -> None:
        """After the stream of changes broke and is back, what was missed is reported."""
        while True:
            await self._channel.lost.wait()
            self._channel.lost.clear()
            resynchronize(self._leg.peer, self._wants)
