"""The gateway's outgoing HTTP: guarded aiohttp sessions without cookies, redirects, proxies or shared pools."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar, cast

import aiohttp
import msgspec
from pydantic import Field

from toolway.edge.egress import EgressGuard, GuardedConnector, IPNetwork, Warned
from toolway.errors import ConfigError, UpstreamError, UpstreamProtocol, UpstreamTimeout, UpstreamUnreachable
from toolway.hookspecs.definitions import Definition

log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
IDLE_SECONDS = 30.0
DNS_SECONDS = 60
CONNECTIONS = 256
MAX_DOCUMENT = 1024 * 1024
"""Largest answer of `fetch_json`, in bytes."""


class ClientTls(Definition):
    """TLS towards an upstream."""

    ca: Path | None = Field(None, description="PEM file of the authority to trust instead of the system's.")
    cert: Path | None = Field(None, description="PEM file with the gateway's client certificate.")
    key: Path | None = Field(None, description="PEM file with its private key.")


SYSTEM_TLS = ClientTls()


class Document(msgspec.Struct, frozen=True):
    """An answer of a small JSON endpoint, whatever its status."""

    status: int
    content: Any


class RedirectRefused(UpstreamProtocol):
    """A server redirects, which is never followed."""

    code = "redirect_refused"


class Client(Protocol):
    """Something that holds connections."""

    async def close(self) -> None:
        """Close them; requests in flight fail."""


C = TypeVar("C", bound=Client)


class OutgoingHttp:
    """Makes one client per key and way of dialling, so that upstreams share neither pools nor trust."""

    def __init__(self, allow: Sequence[IPNetwork] = ()) -> None:
        """`allow` names networks that every session may use besides the public ones."""
        self._allow = tuple(allow)
        self._warned = Warned()
        self._clients: dict[Hashable, Client] = {}

    def guard(self, *, allow_private: bool = False) -> EgressGuard:
        """The guard of sessions with that setting."""
        return EgressGuard(self._allow, allow_private=allow_private, warned=self._warned)

    def client(self, key: Hashable, make: Callable[[], C]) -> C:
        """The client of that key, made on first use; it lives as long as the gateway."""
        known = self._clients.get(key)
        if known is None:
            known = self._clients[key] = make()
        return cast(C, known)

    def session(self, key: str, *, allow_private: bool = False, tls: ClientTls = SYSTEM_TLS) -> aiohttp.ClientSession:
        """The session of that key; made on first use, inside of the event loop.

        Requests on it raise EgressRefused for addresses that may not be dialled, and RedirectRefused for a redirect
        unless they pass `allow_redirects=False` and look at it themselves. Bodies are never decompressed.

        Raises:
            ConfigError: a file of the TLS options cannot be used.
        """
        return self.client((key, allow_private, tls), lambda: _open(self.guard(allow_private=allow_private), tls))

    async def fetch_json(
        self,
        who: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        allow_private: bool = False,
        limit: int = MAX_DOCUMENT,
        timeout: float = 10.0,
    ) -> Document:
        """Ask a token endpoint or get a metadata document; errors call it `who`, `data` is sent as a form.

        `limit` is the largest answer in bytes, `timeout` is seconds for everything.

        Raises:
            EgressRefused: the URL or its address may not be dialled.
            UpstreamUnreachable, UpstreamTimeout: no answer.
            UpstreamError: a broken connection; UpstreamProtocol: a redirect, too much, or no JSON.
        """
        target = self.guard(allow_private=allow_private).check_url(url)
        session = self.session("documents", allow_private=allow_private)
        request = session.request(method, target, headers=headers, data=data, allow_redirects=False)
        try:
            async with asyncio.timeout(timeout), request as response:
                if 300 <= response.status < 400:
                    raise RedirectRefused(f"{who} redirects, which is not followed; configure the final URL")
                return Document(response.status, msgspec.json.decode(await read_body(response, limit)))
        except (aiohttp.ClientError, TimeoutError) as error:
            log.info("%s at %s failed: %s", who, target.origin(), type(error).__name__)
            raise dial_error(error, who) from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise UpstreamProtocol(f"{who} answered without JSON") from None

    async def close(self) -> None:
        """Close every client; requests in flight fail."""
        while self._clients:
            await self._clients.popitem()[1].close()


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body; raises UpstreamProtocol above `limit` bytes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            response.close()
            raise UpstreamProtocol(f"the answer is larger than {limit} bytes")
    return bytes(body)


def dial_error(error: Exception, who: str) -> UpstreamError:
    """What a failure of aiohttp means: whether anything may have been sent, without aiohttp's own text."""
    if isinstance(error, UpstreamError):
        return error
    if isinstance(error, aiohttp.ClientSSLError):
        return UpstreamUnreachable(f"no TLS connection to {who}; check its certificate and the authority to trust")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
        return UpstreamUnreachable(f"no connection to {who}; check that it is up and its address")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(f"{who} did not answer in time")
    return UpstreamError(f"the connection to {who} broke ({type(error).__name__})")


def _open(guard: EgressGuard, tls: ClientTls) -> aiohttp.ClientSession:
    connector = GuardedConnector(
        guard, ssl=tls_context(tls), limit=CONNECTIONS, keepalive_timeout=IDLE_SECONDS, ttl_dns_cache=DNS_SECONDS
    )
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
        headers={"Accept-Encoding": "identity", "User-Agent": "toolway"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        trace_configs=[tracing],
    )


async def _refuse_redirect(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
) -> None:
    params.response.close()
    log.info("%s redirects, which is not followed", params.url.origin())
    raise RedirectRefused("the server redirects, which is not followed; configure the final URL")


@lru_cache(maxsize=256)
def tls_context(tls: ClientTls) -> ssl.SSLContext:
    """The context of these options, made once; certificates and host names are always verified.

    Raises:
        ConfigError: a file is missing, unreadable or no PEM.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        files = ", ".join(str(path) for path in (tls.ca, tls.cert, tls.key) if path is not None)
        raise ConfigError(f"cannot use the TLS files {files} ({error.strerror}); give readable PEM files") from None
    return context
