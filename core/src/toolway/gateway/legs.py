"""The gateway's own conversations with upstreams: which one a call uses, and when one ends."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Raw

from toolway.catalog.discovery import is_same
from toolway.errors import ClientCannot, Overloaded
from toolway.gateway.exchange import check_capability
from toolway.gateway.progress import passes_level
from toolway.hookspecs.routing import (
    Call,
    ClientProfile,
    Connection,
    Endpoint,
    Era,
    Leg,
    Upstream,
    UpstreamKind,
    UpstreamRequest,
    Wants,
)
from toolway.hookspecs.secrets import Challenge, UpstreamAuth

if TYPE_CHECKING:
    from toolway.catalog.snapshot import Snapshot
    from toolway.gateway.sessions import ClientSession
    from toolway.hookspecs.auth import Principal
    from toolway.plugin import Clock

log = logging.getLogger(__name__)

IDLE_SECONDS = 600.0
PER_UPSTREAM = 256


class UpdateListener(Protocol):
    """Hears of updated resources, by the upstream's own URI."""

    def updated(self, upstream: str, uri: str) -> None:
        """The resource changed."""


class HeldLeg:
    """A leg with its connection; the peer of everything that belongs to no request."""

    def __init__(
        self,
        upstream: Upstream,
        endpoint: Endpoint,
        era: Era,
        session: ClientSession | None,
        relisted: Callable[[str], None],
    ) -> None:
        self._relisted = relisted
        self.upstream = upstream
        self.era = era
        self.endpoint = endpoint
        self.session = session
        self.connection: Connection
        self.users = 0
        self.last_used = 0.0
        self.wants: dict[UpdateListener, frozenset[str]] = {}
        self._watching = asyncio.Lock()
        self._level: str | None = None

    def notify(self, method: str, params: Mapping[str, Raw]) -> None:
        """Updates go to their listeners, log messages to the session; a changed list is discovered again."""
        if method.endswith("/list_changed"):
            self._relisted(self.upstream.name)
            return
        if method == "notifications/resources/updated" and "uri" in params:
            uri = msgspec.json.decode(params["uri"])
            for listener, uris in list(self.wants.items()):
                if uri in uris:
                    listener.updated(self.upstream.name, uri)
        elif self.session is not None and method == "notifications/message":
            if passes_level(params, self.session.client.log_level):
                self.session.notify(method, params)
        elif self.session is not None and method == "notifications/elicitation/complete":
            self.session.notify(method, params)

    async def ask(self, method: str, params: Raw) -> Raw:
        """Only a client session can be asked outside of a request."""
        if self.session is None:
            raise ClientCannot(f"{method} belongs to no request, and this conversation has no client to ask")
        check_capability(self.session.client, method, params)
        return await self.session.ask(method, params)

    async def set_level(self, level: str | None) -> None:
        """Ask a legacy upstream for log messages from this level on, unless it was asked already."""
        if self.era != "legacy" or level is None or level == self._level:
            return
        self._level = level
        params = {"level": Raw(msgspec.json.encode(level))}
        await self.connection.request(UpstreamRequest("logging/setLevel", params, {}, self, math.inf))

    async def want(self, listener: UpdateListener, uris: frozenset[str]) -> None:
        """Set what `listener` wants to hear of; returns once the upstream agreed."""
        if uris:
            self.wants[listener] = uris
        else:
            self.wants.pop(listener, None)
        async with self._watching:
            union = frozenset().union(*self.wants.values()) if self.wants else frozenset()
            await self.connection.watch(Wants(uris=union))


LegKey = tuple[str, str, str, str]


class Legs:
    """Finds or makes the leg for a call; closes idle ones, those of ended sessions and of changed upstreams."""

    def __init__(
        self,
        kinds: Mapping[str, UpstreamKind],
        auths: Mapping[str, UpstreamAuth],
        clock: Clock,
        relisted: Callable[[str], None],
    ) -> None:
        """`relisted` hears the name of an upstream that says on some leg that a list of it changed."""
        self._relisted = relisted
        self._kinds = kinds
        self._auths = auths
        self._clock = clock
        self._held: dict[LegKey, HeldLeg] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def bound_endpoint(self, upstream: Upstream, era: Era, client: Call) -> Endpoint | None:
        """The endpoint that the caller's legacy leg is bound to already."""
        key = self._key(upstream, era, client.principal, client.client, client.session)
        if era == "legacy":
            for held_key, held in self._held.items():
                if held_key[:3] == (upstream.name, era, key):
                    return held.endpoint
        return None

    def get(
        self,
        upstream: Upstream,
        endpoint: Endpoint,
        era: Era,
        principal: Principal,
        client: ClientProfile,
        session: ClientSession | None,
    ) -> HeldLeg:
        """The leg for this principal and client; raises Overloaded when the upstream has too many in use."""
        key = self._key(upstream, era, principal, client, session.id if session else "")
        full_key = (upstream.name, era, key, endpoint.id)
        held = self._held.get(full_key)
        if held is None:
            self._make_room(upstream.name)
            held = self._held[full_key] = self._open(upstream, endpoint, era, key, principal, client, session)
        held.last_used = self._clock.monotonic()
        return held

    def discard(self, held: HeldLeg) -> None:
        """Forget a leg whose conversation is broken."""
        for key in [key for key, known in self._held.items() if known is held]:
            self._close(key)

    def close_session(self, session: ClientSession) -> None:
        """A client session ended: its legs end."""
        for key in [key for key, held in self._held.items() if held.session is session]:
            self._close(key)

    def close_upstream(self, name: str) -> None:
        """An upstream changed or is gone: its legs end."""
        for key in [key for key in self._held if key[0] == name]:
            self._close(key)

    def swapped(self, old: Snapshot, new: Snapshot) -> None:
        """Conversations with upstreams that changed or are gone end."""
        for name, view in old.upstreams.items():
            now = new.upstreams.get(name)
            if now is None or not is_same(view.upstream, now.upstream):
                self.close_upstream(name)

    def close_idle(self) -> None:
        """End legs that nobody used or watched for ten minutes."""
        limit = self._clock.monotonic() - IDLE_SECONDS
        for key in [k for k, h in self._held.items() if not h.users and not h.wants and h.last_used < limit]:
            self._close(key)

    def of_session(self, session: ClientSession) -> list[HeldLeg]:
        """The legs that serve only this client session."""
        return [held for held in self._held.values() if held.session is session]

    async def close(self) -> None:
        """End all of them."""
        for key in list(self._held):
            self._close(key)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _key(self, upstream: Upstream, era: Era, principal: Principal, client: ClientProfile, session: str) -> str:
        auth = upstream.auth
        personal = auth is not None and self._auths[auth.type].per == "principal"  # type: ignore[attr-defined]
        sharing = upstream.settings.sharing
        if era == "modern" or sharing == "shared":
            return principal.id if personal else ""
        if sharing == "session" and session:
            return session
        return f"{principal.id}|{client.capability_digest()}"

    def _open(
        self,
        upstream: Upstream,
        endpoint: Endpoint,
        era: Era,
        key: str,
        principal: Principal,
        client: ClientProfile,
        session: ClientSession | None,
    ) -> HeldLeg:
        shared = era == "modern" or upstream.settings.sharing == "shared"
        own = session if key and session and key == session.id else None
        held = HeldLeg(upstream, endpoint, era, own, self._relisted)
        profile = ClientProfile(client.version, {}, {}) if shared else client
        leg = Leg(era, key, profile, held, authorizer(self._auths, upstream, principal))
        held.connection = self._kinds[upstream.kind].connect(upstream, endpoint, leg)
        return held

    def _make_room(self, upstream: str) -> None:
        mine = [(key, held) for key, held in self._held.items() if key[0] == upstream]
        if len(mine) < PER_UPSTREAM:
            return
        idle = [(held.last_used, key) for key, held in mine if not held.users and not held.wants]
        if not idle:
            raise Overloaded(f"upstream {upstream!r} has {PER_UPSTREAM} conversations in use; try again later")
        self._close(min(idle)[1])

    def _close(self, key: LegKey) -> None:
        held = self._held.pop(key)
        task = asyncio.create_task(_close_quietly(held))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def authorizer(
    auths: Mapping[str, UpstreamAuth], upstream: Upstream, principal: Principal
) -> Callable[[Challenge | None], Awaitable[Mapping[str, str]]]:
    """What makes the headers of a leg's HTTP requests."""
    auth = upstream.auth

    async def headers(challenge: Challenge | None) -> Mapping[str, str]:
        if auth is None:
            return {}
        return await auths[auth.type].headers(upstream, principal, challenge)  # type: ignore[attr-defined]

    return headers


async def _close_quietly(held: HeldLeg) -> None:
    try:
        await held.connection.close()
    except Exception:
        log.warning("closing a conversation with upstream %r failed", held.upstream.name, exc_info=True)
