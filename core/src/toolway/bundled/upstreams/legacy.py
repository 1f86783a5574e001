"""A conversation of the handshake era over any channel: initialize, then requests in a session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import msgspec
from msgspec import Raw

from toolway.bundled.upstreams.channel import Channel, raw
from toolway.bundled.upstreams.conversation import Conversation, identity
from toolway.bundled.upstreams.discover import Hello, read_hello
from toolway.bundled.upstreams.repeat import NOTHING, repeat, resynchronize
from toolway.hookspecs.routing import Eras, Leg, Reply, UpstreamRequest, Wants
from toolway.mcp.clients import can_be_asked
from toolway.mcp.versions import LEGACY, MODERN
from toolway.plugin import UpstreamError, UpstreamProtocol

log = logging.getLogger(__name__)


class LegacyConnection(Conversation):
    """`Connection` of the handshake era. The session is made on first use, and anew after it was lost."""

    def __init__(self, leg: Leg, channel: Channel, upstream: str) -> None:
        super().__init__(leg, channel, upstream)
        self._opening, self._subscribing = asyncio.Lock(), asyncio.Lock()
        self._hello: Hello | None = None
        self._follower: asyncio.Task[None] | None = None
        self._subscribed: dict[str, bool] = {}
        self._level: dict[str, Raw] = {}

    async def hello(self) -> tuple[Eras, Hello]:
        """What `initialize` said."""
        hello = await self._open()
        return Eras(legacy=hello.protocol_version), hello

    async def request(self, request: UpstreamRequest) -> Reply:
        """See `Connection.request`."""
        if not self._is_open():
            await self._open()
        if request.method == "logging/setLevel":
            self._channel.listen(self._missed)
            self._level = request.params
        if request.meta:
            params = {**request.params, "_meta": raw(request.meta)}
            request = msgspec.structs.replace(request, params=params)
        return await self._channel.call(request)

    async def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """See `Connection.notify`; without a session there is nobody to tell."""
        if self._is_open():
            await self._channel.tell(method, params)

    async def watch(self, wants: Wants) -> None:
        """See `Connection.watch`: resources are subscribed one by one, lists are reported anyway."""
        await self._open()
        self._wants = wants
        if wants != NOTHING:
            self._channel.listen(self._missed)
            if self._follower is None:
                follow = repeat(self._follow, f"upstream {self._upstream!r} has lost the session and gives no new one")
                self._follower = self._tasks.start(follow)
            await self._channel.listening()
            await self._open()  # the session may have been lost meanwhile
        if await self._subscribe():
            raise UpstreamError(f"upstream {self._upstream!r} refused a subscription that was not asked for before")

    def _is_open(self) -> bool:
        return self._hello is not None and not self._channel.lost.is_set()

    async def _open(self) -> Hello:
        if self._hello is not None and self._is_open():
            return self._hello
        async with self._opening:
            if self._hello is None or not self._is_open():
                self._hello = None
                try:
                    self._tasks.check_open(self._upstream)
                    self._hello = await self._begin()
                    self._tasks.check_open(self._upstream)
                except BaseException:
                    self._channel.lost.set()
                    if self._tasks.is_closed:
                        await self.close()  # what was begun meanwhile
                    raise
            return self._hello

    async def _begin(self) -> Hello:
        client, channel, self._subscribed = self._leg.client, self._channel, {}
        await channel.begin()
        offer = {
            "protocolVersion": raw(self._leg.version if self._leg.version in LEGACY else LEGACY[0]),
            "capabilities": raw(client.capabilities),
            "clientInfo": raw(identity(client.info)),
        }
        hello = read_hello(await channel.call(self._own("initialize", offer)))
        if not LEGACY[-1] <= hello.protocol_version < MODERN[-1]:
            raise UpstreamProtocol(f"upstream {self._upstream!r} wants the unknown version {hello.protocol_version!r}")
        channel.agreed(hello.protocol_version)
        await channel.tell("notifications/initialized", {})
        if self._wants != NOTHING or self._level or can_be_asked(client):
            channel.listen(self._missed)
        if self._level:
            with suppress(UpstreamError):  # which is no reason to fail calls
                await channel.call(self._own("logging/setLevel", self._level))
        if self._wants != NOTHING:
            what = f"upstream {self._upstream!r} does not take up subscriptions in a new session"
            self._tasks.start(repeat(partial(self._make_up, self._subscribed), what))
        return hello

    async def _subscribe(self) -> bool:
        """To what is wanted; what was given up before it was answered is asked for again, or called off.

        Whether all that is wanted anew was refused: this is said once, and asked for again after it was called off.
        """
        answers: list[bool] = []
        async with self._subscribing:
            await self._open()
            wanted, known = self._wants.uris, self._subscribed  # True once it was answered
            for uri in sorted({*(known.keys() - wanted), *(each for each in wanted if not known.get(each))}):
                method, known[uri] = "resources/subscribe" if uri in wanted else "resources/unsubscribe", False
                reply = await self._channel.call(self._own(method, {"uri": raw(uri)}))
                if uri in wanted:
                    known[uri] = True
                else:
                    del known[uri]
                if reply.fault is not None:
                    log.info("upstream %s refused %s: %s", self._upstream, method, reply.fault.message)
                answers += [reply.fault is None] if uri in wanted else []
        return bool(answers) and not any(answers)

    async def _make_up(self, subscribed: dict[str, bool]) -> bool:
        """What changed between two sessions is told once it would be heard of in the new one."""
        if subscribed is self._subscribed:  # else there is a newer one
            await self._subscribe()
            await self._channel.listening()
            self._missed()
        return False

    def _missed(self) -> None:
        resynchronize(self._leg.peer, self._wants)

    async def _follow(self) -> bool:
        """While somebody watches, a session that was lost is made anew."""
        await self._channel.lost.wait()
        await self._open()
        return True
