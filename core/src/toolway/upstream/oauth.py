"""OAuth client credentials (RFC 6749 section 4.4, RFC 8707): one cached access token for one upstream."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from urllib.parse import quote_plus

import msgspec

from toolway.errors import UpstreamError, UpstreamProtocol, UpstreamUnauthorized
from toolway.upstream.egress import EgressRefused
from toolway.upstream.outgoing import Document, OutgoingHttp

LEEWAY_SECONDS = 30.0
DEFAULT_SECONDS = 300.0
LONGEST_SECONDS = 24 * 3600.0
RENEWAL_GAP = 1.0
"""Seconds between two renewals that challenges ask for, so that a refusing upstream does not flood the token server."""


class TokenRefused(UpstreamUnauthorized):
    """The token endpoint gives no token; the message has its error code, never what was sent."""

    code = "token_refused"


class ClientCredentials:
    """A source of access tokens; concurrent callers share one request to the token endpoint."""

    def __init__(
        self,
        http: OutgoingHttp,
        token_url: str,
        client_id: str,
        secret: Callable[[], Awaitable[str]],
        *,
        monotonic: Callable[[], float],
        scope: str = "",
        resource: str = "",
        auth_method: Literal["basic", "post"] = "basic",
        allow_private: bool = False,
    ) -> None:
        """`secret` is asked before each token request, so a rotated one is used; `resource` is the upstream's URL.

        Raises:
            EgressRefused: `token_url` is not acceptable; it must be https unless it is loopback or private on purpose.
        """
        self._http = http
        self._url = token_url
        self._client_id = client_id
        self._secret = secret
        self._monotonic = monotonic
        self._form = {"grant_type": "client_credentials"}
        self._form.update({key: value for key, value in (("scope", scope), ("resource", resource)) if value})
        self._auth_method = auth_method
        self._allow_private = allow_private
        self._token = ""
        self._valid_until = 0.0
        self._renewed_at = float("-inf")
        self._fetching: asyncio.Task[str] | None = None
        _check_confidential(http, token_url, allow_private)

    async def token(self, *, challenged: bool = False) -> str:
        """The current access token; `challenged` after the upstream refused it (401), which gets a new one.

        Raises:
            TokenRefused: the token endpoint refuses the client.
            SecretUnavailable: the client secret cannot be resolved.
            UpstreamUnreachable, UpstreamTimeout, UpstreamProtocol: the token endpoint does not answer properly.
        """
        now = self._monotonic()
        renewal = challenged and now - self._renewed_at >= RENEWAL_GAP
        if self._fetching is None:
            if self._token and now < self._valid_until and not renewal:
                return self._token
            if challenged:
                self._renewed_at = now
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        return await asyncio.shield(self._fetching)

    def _fetched(self, task: asyncio.Task[str]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # everyone who waited may be gone; then nobody else looks at it

    async def _fetch(self) -> str:
        self._token = ""
        headers, form = self._identify(await self._secret())
        asked_at = self._monotonic()
        try:
            answer = await self._http.fetch_json(
                "POST", self._url, headers=headers, data=form, allow_private=self._allow_private
            )
            self._token, lifetime = _granted(answer)
        except UpstreamError as error:
            error.sent = False  # to the upstream itself
            raise
        self._valid_until = asked_at + lifetime - min(LEEWAY_SECONDS, lifetime / 2)
        return self._token

    def _identify(self, secret: str) -> tuple[dict[str, str], dict[str, str]]:
        """Headers and form of a token request (RFC 6749 section 2.3.1)."""
        headers = {"Accept": "application/json"}
        if self._auth_method == "post":
            return headers, {**self._form, "client_id": self._client_id, "client_secret": secret}
        pair = f"{quote_plus(self._client_id)}:{quote_plus(secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return headers, self._form


class _Grant(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: float = DEFAULT_SECONDS


def _granted(answer: Document) -> tuple[str, float]:
    if answer.status >= 400:
        raise TokenRefused(f"the token endpoint answered {_error(answer)}; check client id, secret and scope")
    try:
        grant = msgspec.convert(answer.content, _Grant, strict=False)
    except msgspec.ValidationError:
        raise UpstreamProtocol("the token endpoint's answer has no usable access_token and token_type") from None
    if grant.token_type.lower() != "bearer" or not _is_b64token(grant.access_token):
        raise UpstreamProtocol("the token endpoint gave something else than a bearer token")
    return grant.access_token, max(0.0, min(grant.expires_in, LONGEST_SECONDS))


def _error(answer: Document) -> str:
    """The error code of RFC 6749 section 5.2, if it is one: its characters are bounded there."""
    content: Any = answer.content
    code = content.get("error") if isinstance(content, dict) else None
    if isinstance(code, str) and len(code) <= 64 and code.isascii() and code.isprintable():
        return f"{answer.status} {code}"
    return str(answer.status)


def _is_b64token(token: str) -> bool:
    """Whether it can stand in an Authorization header: visible ASCII, no space."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _check_confidential(http: OutgoingHttp, url: str, allow_private: bool) -> None:
    target = http.guard(allow_private=allow_private).check_url(url)
    if target.scheme == "https" or allow_private or target.host in ("localhost", "127.0.0.1", "::1"):
        return
    raise EgressRefused(
        f"token URL {target} would carry the client secret in clear; use https, or allow_private inside of a site"
    )
