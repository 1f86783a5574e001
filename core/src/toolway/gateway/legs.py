"""The gateway's own conversations with upstreams: which one a call uses, and when one ends."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec import Raw

from toolway.background import Background
from toolway.catalog.snapshot import Snapshot
from toolway.errors import ClientCannot, Overloaded, ToolwayError
from toolway.gateway.exchange import Exchange
from toolway.hookspecs import routing
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.catalog import UpstreamView
from toolway.hookspecs.routing import ClientProfile, Endpoint, Era, Upstream, UpstreamRequest
from toolway.hookspecs.secrets import Challenge, UpstreamAuth
from toolway.mcp.clients import LEVELS, check_capability, passes_level
from toolway.mcp.messages import decoded
from toolway.plugin.kernel import Clock

if TYPE_CHECKING:
    from toolway.gateway.sessions import ClientSession
    from toolway.gateway.subscriptions import Listener

log = logging.getLogger(__name__)

Owner: TypeAlias = "Exchange | Listener"
IDLE_SECONDS = 600.0
PER_UPSTREAM = 256
LegKey = tuple[str, Era, str]


class HeldLeg:
    """A leg with its connection; the peer of everything that belongs to no request. `owner` is None where shared."""

    connection: routing.Connection

    def __init__(
        self,
        upstream: Upstream,
        endpoint: Endpoint,
        key: LegKey,
        owner: Owner | None,
        heard: Callable[[str, str, str], None] = lambda upstream, method, uri: None,
    ) -> None:
        self.upstream, self.endpoint, self.key, self.era = upstream, endpoint, key, key[1]
        self.principal = owner.principal.id if owner else ""
        self.session = owner.session if owner and owner.session and owner.session.id == key[2] else None
        self.users, self.last_used = 0, 0.0
        self.wants: dict[Listener, frozenset[str]] = {}
        self._wanted: frozenset[str] | None = frozenset()
        self._heard, self._watching = heard, asyncio.Lock()
        self._level: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nobody uses or watches it."""
        return not self.users and not self.wants

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Updates go to their listeners, log messages to the session; a changed list is discovered again."""
        if method.endswith(("/list_changed", "/updated")):
            uri = decoded(params, "uri", str) or ""
            self._heard(self.upstream.name, method, uri)
            for listener, uris in list(self.wants.items()):
                if uri in uris:
                    listener.updated(self.upstream.name, uri)
        elif self.session is not None and (
            method == "notifications/elicitation/complete"
            or (method == "notifications/message" and passes_level(params, self.session.client.log_level))
        ):
            self.session.notify(method, params)

    async def ask(self, method: str, params: Raw) -> Raw:
        """Only a client session can be asked outside of a request."""
        if self.session is None:
            raise ClientCannot(f"{method} belongs to no request, and this conversation has no client to ask")
        check_capability(self.session.client, method, params)
        return await self.session.ask(method, params)

    async def set_level(self, level: str | None) -> None:
        """Ask a legacy upstream for log messages from this level on; where several clients share it, the lowest."""
        if self.era != "legacy" or level not in LEVELS or level == self._level:
            return
        if self.session is None and self._level in LEVELS[: LEVELS.index(level)]:
            return
        params = {"level": Raw(msgspec.json.encode(level))}
        reply = await self.connection.request(UpstreamRequest("logging/setLevel", params, {}, self, math.inf))
        if reply.fault is None:
            self._level = level

    async def want(self, listener: Listener, uris: frozenset[str]) -> bool:
        """Set what `listener` wants to hear of; returns once the upstream agreed (or did not: False)."""
        if not uris:
            self.wants.pop(listener, None)
        async with self._watching:
            before = {listener: old} if (old := self.wants.get(listener)) else {}
            self.wants |= {listener: uris} if uris else {}
            union = frozenset[str]().union(*self.wants.values())
            try:
                if union != self._wanted:
                    self._wanted = None  # unknown, if it is given up on the way
                    await self.connection.watch(routing.Wants(uris=union))
                    self._wanted = union
            except ToolwayError as error:
                log.info("upstream %s does not report its resources: %s", self.upstream.name, error.message)
                if listener in self.wants:  # else it was called off meanwhile
                    self.wants = {each: own for each, own in self.wants.items() if each is not listener} | before
                return False
        return True


class Legs(msgspec.Struct, eq=False):
    """Finds or makes the leg for a call; closes idle ones, those of ended sessions and of changed upstreams.

    `heard` gets what upstreams say on some leg of changed lists and updated resources, see `Catalog.on_news`.
    """

    clock: Clock
    kinds: Mapping[str, routing.UpstreamKind] = {}
    auths: dict[str, UpstreamAuth] = {}
    heard: Callable[[str, str, str], None] = lambda upstream, method, uri: None
    held: dict[LegKey, dict[str, HeldLeg]] = {}
    closing: Background = msgspec.field(default_factory=Background)

    def serve(
        self,
        kinds: Mapping[str, routing.UpstreamKind],
        auths: Mapping[str, UpstreamAuth],
        heard: Callable[[str, str, str], None],
    ) -> None:
        """Those of the gateway that serves from now on; conversations that go on use its credentials too."""
        self.kinds, self.heard = kinds, heard
        self.auths.clear()
        self.auths.update(auths)

    def key(self, view: UpstreamView, owner: Owner) -> LegKey:
        """Who shares a conversation with this upstream (architecture, "Legs")."""
        upstream, sharing, era = view.upstream, view.upstream.settings.sharing, owner.client.era
        eras = view.discovery.eras if view.discovery else None
        if eras is not None and not (eras.modern and eras.legacy):
            era = "modern" if eras.modern else "legacy"
        if era == "modern" or sharing == "shared":
            auth: Any = upstream.auth
            is_personal = auth is not None and self.auths[auth.type].per == "principal"
            return upstream.name, era, owner.principal.id if is_personal else ""
        if sharing == "session" and owner.session is not None:
            return upstream.name, era, owner.session.id
        return upstream.name, era, f"{owner.principal.id}|{owner.client.capability_digest()}"

    def bound_endpoint(self, key: LegKey) -> Endpoint | None:
        """The endpoint that the caller's legacy leg is bound to already: the one it went to last."""
        held = self.held.get(key) if key[1] == "legacy" else None
        return next(reversed(held.values())).endpoint if held else None

    def get(self, key: LegKey, view: UpstreamView, endpoint: Endpoint, owner: Owner) -> HeldLeg:
        """The leg for this principal and client; raises Overloaded when the upstream has too many in use."""
        legs = self.held.get(key)
        held = legs.get(endpoint.id) if legs else None
        if held is None:
            self._make_room(key[0], owner)
            held = self._open(view.upstream, endpoint, key, owner)
            self.held.setdefault(key, {})[endpoint.id] = held
            held.last_used = self.clock.monotonic()
        return held

    def discard(self, held: HeldLeg) -> None:
        """Forget a leg whose conversation is broken or over."""
        legs = self.held.get(held.key, {})
        if legs.get(held.endpoint.id) is not held:
            return
        del legs[held.endpoint.id]
        if not legs:
            del self.held[held.key]
        held.wants, held._wanted = {}, frozenset()  # it ends with the conversation, nothing has to be called off
        self.closing.start(held.connection.close(), f"closing a conversation with upstream {held.upstream.name!r}")

    def discard_all(self, matches: Callable[[HeldLeg], bool]) -> None:
        """End those that match."""
        for held in self._all():
            if matches(held):
                self.discard(held)

    def swapped(self, old: Snapshot, new: Snapshot) -> None:
        """Conversations with upstreams that changed or are gone end."""
        for name, view in old.upstreams.items():
            now = new.upstreams.get(name)
            if now is None or view.upstream != now.upstream:
                self.discard_all(lambda held, name=name: held.upstream.name == name)  # type: ignore[misc]

    def close_idle(self) -> None:
        """End legs that nobody used or watched for ten minutes."""
        limit = self.clock.monotonic() - IDLE_SECONDS
        self.discard_all(lambda held: held.is_idle and held.last_used < limit)

    def of_session(self, session: ClientSession) -> list[HeldLeg]:
        """The legs that serve only this client session."""
        return [held for held in self._all() if held.session is session]

    async def close(self) -> None:
        """End all of them."""
        self.discard_all(lambda held: True)
        await self.closing.done()

    def _all(self) -> list[HeldLeg]:
        return [held for legs in self.held.values() for held in legs.values()]

    def _open(self, upstream: Upstream, endpoint: Endpoint, key: LegKey, owner: Owner) -> HeldLeg:
        shared = key[1] == "modern" or upstream.settings.sharing == "shared"

        def hear(*news: str) -> None:  # a reload changes who does
            self.heard(*news)

        held = HeldLeg(upstream, endpoint, key, owner if key[2] else None, hear)
        profile = ClientProfile(owner.client.version, {}, {}) if shared else owner.client
        leg = routing.Leg(key[1], key[2], profile, held, authorizer(self.auths, upstream, owner.principal))
        held.connection = self.kinds[upstream.kind].connect(upstream, endpoint, leg)
        return held

    def _make_room(self, upstream: str, owner: Owner) -> None:
        """End one that nobody uses, or for a call one that only watches, of whoever has the most; raises Overloaded."""
        mine = [held for held in self._all() if held.upstream.name == upstream]
        if len(mine) < PER_UPSTREAM:
            return
        free = [held for held in mine if held.is_idle or (isinstance(owner, Exchange) and not held.users)]
        if not free:
            raise Overloaded(f"upstream {upstream!r} has {PER_UPSTREAM} conversations in use; try again later")
        whose = [held.principal for held in mine]
        self.discard(min(free, key=lambda held: (not held.is_idle, -whose.count(held.principal), held.last_used)))


def authorizer(
    auths: Mapping[str, UpstreamAuth], upstream: Upstream, principal: Principal
) -> Callable[[Challenge | None], Awaitable[Mapping[str, str]]]:
    """What makes the headers of a leg's HTTP requests."""
    auth: Any = upstream.auth

    async def headers(challenge: Challenge | None) -> Mapping[str, str]:
        return await auths[auth.type].headers(upstream, principal, challenge) if auth is not None else {}

    return headers
