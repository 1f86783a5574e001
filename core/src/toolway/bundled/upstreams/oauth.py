"""OAuth client credentials (RFC 6749 section 4.4, RFC 8707): one cached access token for one upstream."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from typing import Literal
from urllib.parse import quote_plus

import msgspec
from multidict import MultiDict

from toolway.plugin import UpstreamError, UpstreamProtocol, UpstreamUnauthorized
from toolway.plugin.http import Document, EgressRefused, OutgoingHttp

LEEWAY_SECONDS = 30.0
DEFAULT_SECONDS = 300.0
LONGEST_SECONDS = 24 * 3600.0
RENEWAL_GAP = 1.0
"""Seconds between two renewals that challenges ask for, so that a refusing upstream does not flood the token server."""

_VISIBLE = re.compile(r"[!-~]+")
_ERROR_CODE = re.compile(r"[ -~]{1,64}")


class TokenRefused(UpstreamUnauthorized):
    """The token endpoint gives no token; the message has its error code, never what was sent."""

    code = "token_refused"


class Client(msgspec.Struct, frozen=True):
    """Who asks where and for what; `resources` are the upstream's URLs, `method` is how the secret is sent."""

    token_url: str
    client_id: str
    scope: str = ""
    resources: tuple[str, ...] = ()
    method: Literal["basic", "post"] = "basic"
    allow_private: bool = False


class ClientCredentials:
    """A source of access tokens; concurrent callers share one request to the token endpoint."""

    def __init__(
        self, http: OutgoingHttp, client: Client, secret: Callable[[], Awaitable[str]], monotonic: Callable[[], float]
    ) -> None:
        """`secret` is asked before each token request, so a rotated one is used.

        Raises:
            EgressRefused: the URL is not acceptable; it must be https unless it is loopback or private on purpose.
        """
        self._http = http
        self._client = client
        self._secret = secret
        self._monotonic = monotonic
        self._token = ""
        self._valid_until = 0.0
        self._renewed_at = float("-inf")
        self._fetching: asyncio.Task[str] | None = None
        _check_confidential(http, client)

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
        """Ask with the secret in header or form (RFC 6749 section 2.3.1)."""
        self._token = ""
        client, secret, asked_at = self._client, await self._secret(), self._monotonic()
        form = [("grant_type", "client_credentials"), ("scope", client.scope)]
        form += [("resource", resource) for resource in client.resources]
        headers = {"Accept": "application/json"}
        if client.method == "post":
            form += [("client_id", client.client_id), ("client_secret", secret)]
        else:
            pair = f"{quote_plus(client.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        data = MultiDict((key, value) for key, value in form if value)
        try:
            answer = await self._http.fetch_json(
                "the token endpoint",
                "POST",
                client.token_url,
                headers=headers,
                data=data,
                allow_private=client.allow_private,
            )
            self._token, lifetime = _granted(answer)
        except UpstreamError as error:
            error.sent = False  # to the upstream itself
            raise
        self._valid_until = asked_at + lifetime - min(LEEWAY_SECONDS, lifetime / 2)
        return self._token


class _Grant(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: float = DEFAULT_SECONDS


def _granted(answer: Document) -> tuple[str, float]:
    if answer.status >= 400:
        code = answer.content.get("error") if isinstance(answer.content, dict) else None  # RFC 6749 section 5.2
        shown = f" {code}" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
        message = f"the token endpoint answered {answer.status}{shown}; check client id, secret and scope"
        raise TokenRefused(message)
    try:
        grant = msgspec.convert(answer.content, _Grant, strict=False)
    except msgspec.ValidationError:
        raise UpstreamProtocol("the token endpoint's answer has no usable access_token and token_type") from None
    if grant.token_type.lower() != "bearer" or not _VISIBLE.fullmatch(grant.access_token):
        raise UpstreamProtocol("the token endpoint gave something else than a bearer token")
    return grant.access_token, max(0.0, min(grant.expires_in, LONGEST_SECONDS))


def _check_confidential(http: OutgoingHttp, client: Client) -> None:
    target = http.guard(allow_private=client.allow_private).check_url(client.token_url)
    if target.scheme != "https" and not client.allow_private and target.host not in ("localhost", "127.0.0.1", "::1"):
        raise EgressRefused(
            "the token URL would carry the client secret in clear; use https, or allow_private inside of a site"
        )
