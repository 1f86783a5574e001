"""Which authorization server an upstream trusts, and what it says about itself (RFC 9728, RFC 8414, OIDC Discovery)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import aiohttp
import msgspec
from yarl import URL

from toolway.hookspecs.routing import Upstream
from toolway.plugin import Clock, UpstreamProtocol
from toolway.plugin.http import OutgoingHttp, check_url, dial_error
from toolway_user_oauth.challenge import parameters, scopes_in
from toolway_user_oauth.errors import ServerUnusable
from toolway_user_oauth.server import AuthorizationServer, Method, all_checked, checked
from toolway_user_oauth.settings import UserOAuth

REMEMBERED_SECONDS = 600.0
REMEMBERED = 1000
MAX_DOCUMENT = 64 * 1024
PROBE_SECONDS = 10.0
PROTECTED = "/.well-known/oauth-protected-resource"
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


class Wanted(msgspec.Struct, frozen=True):
    """What a person is asked to consent to: which server is to give out tokens, with which scopes, for what."""

    server: AuthorizationServer
    scopes: tuple[str, ...]
    resources: tuple[str, ...]


class _Protected(msgspec.Struct):
    """Protected resource metadata (RFC 9728 section 2)."""

    resource: str
    authorization_servers: list[str]
    scopes_supported: list[str] = []


class _Metadata(msgspec.Struct):
    """Authorization server metadata (RFC 8414 section 2)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    code_challenge_methods_supported: list[str] = []
    revocation_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False
    scopes_supported: list[str] = []


class Discovery:
    """Finds authorization servers; what a server says about itself is remembered for ten minutes."""

    def __init__(self, http: OutgoingHttp, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._known: dict[tuple[str, bool], tuple[float, _Metadata]] = {}

    async def wanted(self, upstream: Upstream, more: tuple[str, ...] = ()) -> Wanted:
        """What a token for the upstream takes; `more` are scopes that it asked for besides.

        Raises:
            ServerUnusable: no server is named, or what is said cannot be used.
            UpstreamError: something does not answer.
        """
        auth, private = cast(UserOAuth, upstream.auth), upstream.settings.allow_private
        said, protected = "", None
        if not (auth.issuer or auth.token_endpoint):
            said, protected = await self._protected(upstream)
        server = await self._server(auth, protected, private)
        scopes = auth.scopes or scopes_in(said) or scopes_in(" ".join(protected.scopes_supported if protected else ()))
        named = auth.resource or (protected.resource if protected else "")
        resources = (named,) if named else tuple(canonical(each.id) for each in upstream.endpoints)
        return Wanted(server, tuple(dict.fromkeys((*scopes, *more))), resources)

    async def _server(self, auth: UserOAuth, protected: _Protected | None, private: bool) -> AuthorizationServer:
        if auth.token_endpoint:
            issuer = auth.issuer or str(check_url(auth.authorization_endpoint).origin())
            method: Method = "none" if auth.client_secret is None else auth.method or "basic"
            endpoints = auth.authorization_endpoint, auth.token_endpoint, auth.revocation_endpoint
            return all_checked(self._http, AuthorizationServer(issuer, *endpoints, method), allow_private=private)
        issuer = auth.issuer or (protected.authorization_servers[0] if protected else "")
        found = await self._metadata(issuer, private)
        server = AuthorizationServer(
            found.issuer,
            found.authorization_endpoint,
            found.token_endpoint,
            found.revocation_endpoint,
            _method(auth, found.token_endpoint_auth_methods_supported),
            found.authorization_response_iss_parameter_supported,
            tuple(found.scopes_supported),
        )
        return all_checked(self._http, server, allow_private=private)

    async def _protected(self, upstream: Upstream) -> tuple[str, _Protected]:
        """The scopes of the upstream's challenge, and its metadata."""
        endpoint = check_url(upstream.endpoints[0].id)
        private, who = upstream.settings.allow_private, f"upstream {upstream.name!r}"
        said = parameters(await self._challenge(endpoint, who, private))
        origin, path = str(endpoint.origin()), endpoint.raw_path.rstrip("/")
        places = [f"{origin}{PROTECTED}{path}", f"{origin}{PROTECTED}"]
        if named := said.get("resource_metadata"):
            if (
                URL(checked(self._http, named, "resource_metadata", allow_private=private)).origin()
                != endpoint.origin()
            ):
                raise ServerUnusable(f"{who} names metadata of another site; set auth.issuer")
            places = [named]
        document = await self._first(f"the metadata of {who}", dict.fromkeys(places), private)
        if document is None:
            raise ServerUnusable(f"{who} does not say which authorization server it trusts; set auth.issuer")
        found: _Protected = _read(document, _Protected, f"the metadata of {who}")
        if not found.authorization_servers or not _is_about(found.resource, endpoint):
            raise ServerUnusable(f"the metadata of {who} name no authorization server, or are about something else")
        return said.get("scope", ""), found

    async def _challenge(self, endpoint: URL, who: str, private: bool) -> str:
        """How the upstream refuses a request without a credential; empty when it does not."""
        session = self._http.session("user-oauth", allow_private=private)
        headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        try:
            async with (
                asyncio.timeout(PROBE_SECONDS),
                session.post(endpoint, data=PING, headers=headers, allow_redirects=False) as answer,
            ):
                return answer.headers.get("www-authenticate", "") if answer.status == 401 else ""
        except (aiohttp.ClientError, TimeoutError) as error:
            raise dial_error(error, who) from None

    async def _metadata(self, issuer: str, private: bool) -> _Metadata:
        key, now = (issuer, private), self._clock.monotonic()
        if key in self._known and self._known[key][0] > now:
            return self._known[key][1]
        parsed = URL(checked(self._http, issuer, "issuer", allow_private=private))
        if parsed.query_string:
            raise ServerUnusable("the issuer has a query, which no issuer has (RFC 8414 section 2)")
        origin, path = str(parsed.origin()), parsed.raw_path.rstrip("/")
        places = [
            f"{origin}/.well-known/oauth-authorization-server{path}",
            f"{origin}/.well-known/openid-configuration{path}",
            f"{origin}{path}/.well-known/openid-configuration",
        ]
        document = await self._first("the authorization server", dict.fromkeys(places), private)
        if document is None:
            raise ServerUnusable("the authorization server has no metadata; set auth.authorization_endpoint and so on")
        found: _Metadata = _read(document, _Metadata, "the metadata of the authorization server")
        if found.issuer.rstrip("/") != issuer.rstrip(
            "/"
        ):  # upstreams write it with and without; it is the same document
            raise ServerUnusable("the authorization server calls itself otherwise than the issuer it is named by")
        if "S256" not in found.code_challenge_methods_supported:
            raise ServerUnusable("the authorization server does not offer PKCE with S256; it cannot be used")
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = now + REMEMBERED_SECONDS, found
        return found

    async def _first(self, who: str, places: Iterable[str], private: bool) -> Any:
        """The first document that is there, or None."""
        for url in places:
            try:
                answer = await self._http.fetch_json(who, "GET", url, allow_private=private, limit=MAX_DOCUMENT)
            except UpstreamProtocol:
                continue  # a page instead of a document, or a redirect
            if answer.status == 200:
                return answer.content
        return None


def canonical(url: str) -> str:
    """The canonical URI of an MCP server (MCP 2026-07-28, authorization): host in lower case, without a last slash."""
    return str(check_url(url)).rstrip("/")


def _method(auth: UserOAuth, supported: tuple[str, ...]) -> Method:
    if auth.client_secret is None:
        return "none"
    if auth.method:
        return auth.method
    return "post" if "client_secret_basic" not in supported and "client_secret_post" in supported else "basic"


def _is_about(resource: str, endpoint: URL) -> bool:
    """Whether the metadata are the endpoint's own, or those of what it is a part of (RFC 9728 section 3.3)."""
    try:
        named = URL(resource)
        if named.origin() != endpoint.origin() or named.query_string:
            return False
    except ValueError:
        return False
    path = named.raw_path.rstrip("/")
    return endpoint.raw_path.rstrip("/") == path or endpoint.raw_path.startswith(f"{path}/")


def _read(document: Any, expected: type[Any], what: str) -> Any:
    try:
        return msgspec.convert(document, expected)
    except msgspec.ValidationError:
        raise ServerUnusable(f"{what} lack something or have something of another kind") from None
