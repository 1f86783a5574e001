"""The gateway's outgoing HTTP: guarded aiohttp sessions without cookies, redirects, proxies or shared pools."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec

from toolway.errors import ConfigError, UpstreamError, UpstreamProtocol, UpstreamTimeout, UpstreamUnreachable
from toolway.upstream.egress import EgressGuard, GuardedConnector, IPNetwork

CONNECT_SECONDS = 2.0
IDLE_SECONDS = 30.0
DNS_SECONDS = 60
CONNECTIONS = 256
MAX_DOCUMENT = 1024 * 1024
"""Largest answer of `fetch_json`, in bytes."""


class TlsOptions(msgspec.Struct, frozen=True):
    """PEM files: the authority to trust instead of the system's, and what to identify with."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


SYSTEM_TLS = TlsOptions()


class _Dialling(msgspec.Struct, frozen=True):
    key: str
    allow_private: bool
    tls: TlsOptions
    read_timeout: float | None


class Document(msgspec.Struct, frozen=True):
    """An answer of a small JSON endpoint, whatever its status; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: Any


class OutgoingHttp:
    """Makes one session per key and way of dialling, so that upstreams share neither pools nor trust."""

    def __init__(self, allow: Sequence[IPNetwork] = ()) -> None:
        """`allow` names networks that every session may use besides the public ones."""
        self._allow = tuple(allow)
        self._sessions: dict[_Dialling, aiohttp.ClientSession] = {}

    def guard(self, *, allow_private: bool = False) -> EgressGuard:
        """The guard of sessions with that setting."""
        return EgressGuard(self._allow, allow_private=allow_private)

    def session(
        self,
        key: str,
        *,
        allow_private: bool = False,
        tls: TlsOptions = SYSTEM_TLS,
        read_timeout: float | None = None,
    ) -> aiohttp.ClientSession:
        """The session of that key; made on first use, inside of the event loop.

        Requests on it raise EgressRefused for addresses that may not be dialled, and RedirectRefused for a redirect
        unless they pass `allow_redirects=False` and look at it themselves. Bodies are never decompressed.
        `read_timeout` is seconds between two reads, None without bound.

        Raises:
            ConfigError: a file of the TLS options cannot be used.
        """
        dialling = _Dialling(key, allow_private, tls, read_timeout)
        known = self._sessions.get(dialling)
        if known is None or known.closed:
            known = self._sessions[dialling] = _open(self.guard(allow_private=allow_private), dialling)
        return known

    async def fetch_json(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        allow_private: bool = False,
        limit: int = MAX_DOCUMENT,
        timeout: float = 10.0,
    ) -> Document:
        """Ask a token endpoint or get a metadata document; `data` is sent as a form.

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
                return _document(response, await _read(response, limit))
        except aiohttp.ClientError as error:
            raise dial_error(error, url) from None
        except TimeoutError:
            raise UpstreamTimeout(f"{_shown(url)} did not answer within {timeout:g} seconds") from None

    async def drop(self, key: str) -> None:
        """Close the sessions of a key that is no longer used."""
        for dialling in [each for each in self._sessions if each.key == key]:
            await self._sessions.pop(dialling).close()

    async def close(self) -> None:
        """Close every session; requests in flight fail."""
        while self._sessions:
            await self._sessions.popitem()[1].close()


class RedirectRefused(UpstreamProtocol):
    """A server redirects, which is never followed."""

    code = "redirect_refused"


def dial_error(error: Exception, url: str) -> UpstreamError:
    """What a failure of aiohttp means: whether anything may have been sent to `url`, without aiohttp's own text."""
    if isinstance(error, UpstreamError):
        return error
    if isinstance(error, aiohttp.ClientSSLError):
        return UpstreamUnreachable(
            f"no TLS connection to {_shown(url)}; check its certificate and the authority to trust"
        )
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
        return UpstreamUnreachable(f"no connection to {_shown(url)}; check that it is up and its address")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(f"{_shown(url)} stopped answering")
    return UpstreamError(f"the connection to {_shown(url)} broke ({type(error).__name__})")


def _open(guard: EgressGuard, dialling: _Dialling) -> aiohttp.ClientSession:
    connector = GuardedConnector(
        guard,
        ssl=tls_context(dialling.tls),
        limit=CONNECTIONS,
        keepalive_timeout=IDLE_SECONDS,
        ttl_dns_cache=DNS_SECONDS,
    )
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=dialling.read_timeout),
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
    raise RedirectRefused(f"{params.url.origin()} redirects, which is not followed; configure the final URL")


@lru_cache(maxsize=256)
def tls_context(options: TlsOptions) -> ssl.SSLContext:
    """The context of these options, made once; certificates and host names are always verified.

    Raises:
        ConfigError: a file is missing, unreadable or no PEM.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca)
        if options.certificate is not None:
            context.load_cert_chain(options.certificate, options.key)
    except OSError as error:
        files = ", ".join(str(path) for path in (options.ca, options.certificate, options.key) if path is not None)
        raise ConfigError(f"cannot use the TLS files {files} ({error.strerror}); give readable PEM files") from None
    return context


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            response.close()
            raise UpstreamProtocol(f"the answer of {response.url.origin()} is larger than {limit} bytes")
    return bytes(body)


def _document(response: aiohttp.ClientResponse, body: bytes) -> Document:
    where = response.url.origin()
    if 300 <= response.status < 400:
        raise RedirectRefused(f"{where} redirects, which is not followed; configure the final URL")
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UpstreamProtocol(f"{where} answered {response.status} without JSON") from None
    return Document(response.status, {name.lower(): value for name, value in response.headers.items()}, content)


def _shown(url: str) -> str:
    return url.partition("?")[0]
