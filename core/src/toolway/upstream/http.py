"""Upstreams of kind `http`: streamable HTTP of both eras and HTTP+SSE, found out by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import aiohttp
from pydantic import Field

from toolway.errors import InvalidInput, UpstreamError, UpstreamProtocol, UpstreamUnauthorized, UpstreamUnreachable
from toolway.hookspecs.definitions import Definition, SecretRef, UpstreamSettings
from toolway.hookspecs.routing import ClientProfile, Connection, Endpoint, Eras, Leg, Upstream
from toolway.mcp.versions import LEGACY, MODERN
from toolway.plugin.kernel import Secrets
from toolway.upstream.channel import OPENING_SECONDS
from toolway.upstream.duplex import Duplex
from toolway.upstream.egress import EgressRefused, check_url
from toolway.upstream.legacy import LegacyConnection, SessionChannel
from toolway.upstream.modern import ModernConnection, ModernHttp
from toolway.upstream.outgoing import Dialling, OutgoingHttp, TlsOptions
from toolway.upstream.sse import SseLine
from toolway.upstream.streamable import StreamableHttp
from toolway.upstream.wire import Wire

Transport = Literal["streamable", "sse"]


class ClientTls(Definition):
    """TLS towards an upstream."""

    ca: Path | None = Field(None, description="PEM file of the authority to trust instead of the system's.")
    cert: Path | None = Field(None, description="PEM file with the gateway's client certificate.")
    key: Path | None = Field(None, description="PEM file with its private key.")


class HttpUpstream(UpstreamSettings):
    """An MCP server that is reached over HTTP."""

    kind: Literal["http"] = Field("http", description="An MCP server over HTTP.")
    endpoints: tuple[str, ...] = Field(min_length=1, max_length=64, description="URLs of its replicas.")
    headers: dict[str, SecretRef] = Field({}, description="Headers sent with every request, as secret references.")
    tls: ClientTls | None = Field(None, description="Own authority or client certificate.")


class HttpKind:
    """Provider of the kind; remembers which endpoints speak the old transport."""

    kind = "http"
    settings: type[UpstreamSettings] = HttpUpstream
    file_only = False

    def __init__(self, outgoing: OutgoingHttp, secrets: Secrets) -> None:
        self._outgoing = outgoing
        self._secrets = secrets
        self._transports: dict[str, Transport] = {}

    def endpoints(self, settings: UpstreamSettings) -> tuple[Endpoint, ...]:
        """One for each URL; raises InvalidInput for what is no http(s) URL."""
        urls = cast(HttpUpstream, settings).endpoints
        for url in urls:
            try:
                check_url(url)
            except EgressRefused as refused:
                raise InvalidInput(f"upstream {settings.name!r}: endpoint {url!r}: {refused.message}") from None
        return tuple(Endpoint(url) for url in dict.fromkeys(urls))

    def connect(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Connection:
        """A connection of the leg's era; the old transport where the probe found it."""
        wire = self._wire(upstream, endpoint, leg)
        if leg.era == "modern":
            return ModernConnection(leg, ModernHttp(wire), upstream.name)
        channel: SessionChannel
        if self._transports.get(endpoint.id) == "sse":
            channel = Duplex(SseLine(wire), leg.peer)
        else:
            channel = StreamableHttp(wire, leg)
        return LegacyConnection(leg, channel, upstream.name)

    async def probe(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Eras:
        """`server/discover`, then `initialize`, then HTTP+SSE (MCP 2026-07-28, versioning)."""
        modern = await self._answers(upstream, endpoint, leg, "modern")
        self._transports[endpoint.id] = "streamable"
        legacy = await self._answers(upstream, endpoint, leg, "legacy")
        if not modern and not legacy:
            self._transports[endpoint.id] = "sse"
            legacy = await self._answers(upstream, endpoint, leg, "legacy")
        if not modern and not legacy:
            raise UpstreamProtocol(f"{endpoint.id} speaks no known transport of MCP; check the URL")
        return Eras(modern or None, legacy or None)

    async def _answers(self, upstream: Upstream, endpoint: Endpoint, leg: Leg, era: Literal["modern", "legacy"]) -> str:
        """The version spoken in this era, or nothing."""
        version = MODERN[0] if era == "modern" else LEGACY[0]
        client = ClientProfile(version, {}, leg.client.info)
        connection = self.connect(upstream, endpoint, Leg(era, leg.key, client, leg.peer, leg.authorize))
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                if isinstance(connection, ModernConnection | LegacyConnection):
                    return await connection.greet()
                return ""
        except (UpstreamUnreachable, UpstreamUnauthorized):
            raise
        except (UpstreamError, TimeoutError):
            return ""
        finally:
            await connection.close()

    def _wire(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Wire:
        settings = cast(HttpUpstream, upstream.settings)
        tls = settings.tls or ClientTls()
        options = TlsOptions(tls.ca, tls.cert, tls.key)
        dialling = Dialling(allow_private=settings.allow_private, tls=options, read_timeout=None)

        def session() -> aiohttp.ClientSession:
            return self._outgoing.session(f"upstream:{upstream.name}", dialling)

        async def own_headers() -> Mapping[str, str]:
            return {name: await self._secrets.get(reference) for name, reference in settings.headers.items()}

        return Wire(session, endpoint.id, leg.authorize, own_headers)
