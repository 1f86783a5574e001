"""Upstreams of kind `http`: streamable HTTP of both eras and HTTP+SSE, found out by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

from pydantic import Field, field_validator

from toolway.bundled.upstreams.aio import AiohttpTransport
from toolway.bundled.upstreams.conversation import Conversation, greeted
from toolway.bundled.upstreams.handshake import Found, LegacyHttp
from toolway.bundled.upstreams.modern import ModernConnection
from toolway.bundled.upstreams.pool import TOKEN, Pool
from toolway.bundled.upstreams.streamable import StreamableHttp
from toolway.bundled.upstreams.wire import Transport, Wire
from toolway.hookspecs.definitions import SecretRef, UpstreamSettings
from toolway.hookspecs.routing import Endpoint, Era, Eras, Leg, Upstream
from toolway.plugin import InvalidInput, Secrets, UpstreamProtocol
from toolway.plugin.http import ClientTls, EgressRefused, OutgoingHttp, check_url

if TYPE_CHECKING:
    import aiohttp

PROBE_SECONDS = 10.0
"""For each way in which an endpoint is greeted."""

RESERVED = ("host", "connection", "last-event-id", "expect", "upgrade", "te")
RESERVED_PREFIXES = ("content-", "transfer-", "accept", "mcp-")
"""Headers that no setting may touch."""


class HttpUpstream(UpstreamSettings):
    """An MCP server that is reached over HTTP."""

    kind: Literal["http"] = Field("http", description="An MCP server over HTTP.")
    endpoints: tuple[str, ...] = Field(min_length=1, max_length=64, description="URLs of its replicas.")
    headers: dict[str, SecretRef] = Field({}, description="Headers sent with every request, as secret references.")
    tls: ClientTls | None = Field(None, description="Own authority or client certificate.")
    proxy: str | None = Field(None, description="URL of the HTTP proxy that leads there; the guard judges its address.")

    @field_validator("headers")
    @classmethod
    def _are_free(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is no header name (RFC 9110 section 5.1)")
            if name.lower() in RESERVED or name.lower().startswith(RESERVED_PREFIXES):
                raise ValueError(f"header {name!r} is set by the gateway itself")
        return headers


class HttpKind:
    """Provider of the kind; remembers which transport each endpoint speaks."""

    kind = "http"
    settings: type[UpstreamSettings] = HttpUpstream
    file_only = False

    def __init__(self, outgoing: OutgoingHttp, secrets: Secrets) -> None:
        self._outgoing = outgoing
        self._secrets = secrets
        self._found: defaultdict[str, Found] = defaultdict(Found)

    def endpoints(self, settings: UpstreamSettings) -> tuple[Endpoint, ...]:
        """One for each URL; raises InvalidInput for what is no http(s) URL."""
        http = cast(HttpUpstream, settings)
        urls = http.endpoints
        for what, url in [("endpoint", url) for url in urls] + ([("proxy", http.proxy)] if http.proxy else []):
            try:
                check_url(url)
            except EgressRefused as refused:
                place = url.partition("?")[0].rpartition("@")[2]  # the rest may be secret
                raise InvalidInput(f"upstream {settings.name!r}: {what} {place!r}: {refused.message}") from None
        return tuple(Endpoint(url) for url in dict.fromkeys(urls))

    def connect(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Conversation:
        """A connection of the leg's era; a legacy one finds out the transport when it is not known."""
        wire = self._wire(upstream, endpoint, leg)
        if leg.era == "legacy":
            return LegacyHttp(leg, wire, self._found[endpoint.id])
        channel = StreamableHttp(wire, leg, is_replica=len(upstream.endpoints) > 1)
        return ModernConnection(leg, channel, upstream.name)

    async def probe(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Eras:
        """`server/discover`, then `initialize`, over HTTP+SSE if that fails (MCP 2026-07-28, versioning).

        Raises:
            UpstreamUnreachable, UpstreamUnauthorized: nobody listens or lets us in.
            UpstreamProtocol: no transport of MCP is spoken there.
        """

        async def greet(era: Era) -> tuple[str | None, str]:
            return await greeted(lambda own: self.connect(upstream, endpoint, own), leg, era, PROBE_SECONDS)

        modern, _ = await greet("modern")
        legacy, why = await greet("legacy")
        if not modern and not legacy:
            raise UpstreamProtocol(f"upstream {upstream.name!r} speaks no transport of MCP; check the URL ({why})")
        return Eras(modern, legacy)

    def _wire(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Wire:
        settings = cast(HttpUpstream, upstream.settings)

        async def own_headers() -> Mapping[str, str]:
            return {name: await self._secrets.get(reference) for name, reference in settings.headers.items()}

        calls, streams = (self._transport(settings, endpoint.id, use) for use in ("calls", "streams"))
        own = own_headers if settings.headers else None
        authorize = leg.authorize if upstream.auth is not None else None
        return Wire(upstream.name, endpoint.id, calls, streams, authorize, own)

    def _transport(self, settings: HttpUpstream, url: str, use: str) -> Transport:
        """The one of that use; all legs share it."""
        who, target, tls = f"upstream {settings.name!r}", check_url(url), settings.tls or ClientTls()
        guard = self._outgoing.guard(allow_private=settings.allow_private)
        if settings.proxy is None:
            key = (settings.name, url, use, settings.allow_private, tls)
            return self._outgoing.client(key, lambda: Pool(who, target, guard, tls))

        def session() -> aiohttp.ClientSession:
            key = f"{use} of upstream {settings.name}"
            return self._outgoing.session(key, allow_private=settings.allow_private, tls=tls)

        return AiohttpTransport(who, target, session, guard, check_url(settings.proxy))
