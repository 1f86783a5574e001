"""Requests to a token endpoint for a person: redeem a code, refresh, revoke (RFC 6749, RFC 7636, RFC 7009)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote_plus

import msgspec
from multidict import MultiDict

from toolway.plugin import Kernel, UpstreamError, UpstreamProtocol
from toolway.plugin.http import Document
from toolway_user_oauth.challenge import scopes_in
from toolway_user_oauth.errors import GrantRefused
from toolway_user_oauth.server import AuthorizationServer
from toolway_user_oauth.settings import UserOAuth

LONGEST_SECONDS = 366 * 86_400.0
_VISIBLE = re.compile(r"[!-~]{1,16384}")
_ERROR_CODE = re.compile(r"[ !#-\[\]-~]{1,64}")

Form = Iterable[tuple[str, str]]


class Tokens(msgspec.Struct, frozen=True):
    """What was granted, and where it came from. Times are seconds since 1970; `expires_at` 0 means unknown."""

    access_token: str
    refresh_token: str
    obtained_at: float
    expires_at: float
    scopes: tuple[str, ...]
    resources: tuple[str, ...]
    server: AuthorizationServer

    def __repr__(self) -> str:
        return f"Tokens(server={self.server.issuer!r}, expires_at={self.expires_at!r})"


class _Grant(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: float = 0.0
    refresh_token: str = ""
    scope: str = ""


class Grants:
    """Talks to token endpoints as the client that an upstream's settings name."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def redeem(
        self,
        auth: UserOAuth,
        server: AuthorizationServer,
        form: Form,
        scopes: tuple[str, ...],
        resources: tuple[str, ...],
        *,
        allow_private: bool,
    ) -> Tokens:
        """The tokens for a code; `form` has it and what proves that it is ours.

        Raises:
            GrantRefused: the server refuses it.
            UpstreamError: the server does not answer, or not properly.
            SecretUnavailable: the client secret cannot be resolved.
        """
        asked = [("grant_type", "authorization_code"), *form]
        return await self._grant(auth, server, asked, scopes, resources, allow_private=allow_private)

    async def refresh(self, auth: UserOAuth, old: Tokens, *, allow_private: bool) -> Tokens:
        """New tokens for old ones; raises as `redeem`. Without a new refresh token the old one stands."""
        asked = [("grant_type", "refresh_token"), ("refresh_token", old.refresh_token)]
        new = await self._grant(auth, old.server, asked, old.scopes, old.resources, allow_private=allow_private)
        return new if new.refresh_token else msgspec.structs.replace(new, refresh_token=old.refresh_token)

    async def revoke(self, auth: UserOAuth, old: Tokens, *, allow_private: bool) -> bool:
        """Tell the server that the tokens are of no use any more; False when it has no place for that.

        Raises:
            UpstreamError: it does not answer, or refuses.
        """
        endpoint = old.server.revocation_endpoint
        if not endpoint:
            return False
        for hint, token in (("refresh_token", old.refresh_token), ("access_token", old.access_token)):
            if token:
                form = [("token", token), ("token_type_hint", hint)]
                try:
                    answer = await self._post(auth, old.server, endpoint, form, allow_private=allow_private)
                except UpstreamProtocol:
                    continue  # the answer has no content (RFC 7009 section 2.2)
                if answer.status >= 400 and _reason(answer) != "unsupported_token_type":
                    raise GrantRefused(f"the revocation endpoint answered {answer.status}", _reason(answer))
        return True

    async def _grant(
        self,
        auth: UserOAuth,
        server: AuthorizationServer,
        form: list[tuple[str, str]],
        scopes: tuple[str, ...],
        resources: tuple[str, ...],
        *,
        allow_private: bool,
    ) -> Tokens:
        form += [("resource", resource) for resource in resources]
        now = self._kernel.clock.now()
        answer = await self._post(auth, server, server.token_endpoint, form, allow_private=allow_private)
        if answer.status >= 400:
            reason = _reason(answer)
            what = f"the token endpoint answered {answer.status} {reason}".rstrip()
            raise GrantRefused(f"{what}; connect again, or check client id and secret", reason)
        try:
            grant = msgspec.convert(answer.content, _Grant, strict=False)
        except msgspec.ValidationError:
            raise UpstreamProtocol("the token endpoint's answer has no usable access_token and token_type") from None
        if grant.token_type.lower() != "bearer" or not _VISIBLE.fullmatch(grant.access_token):
            raise UpstreamProtocol("the token endpoint gave something else than a bearer token")
        self._kernel.secrets.know(grant.access_token, grant.refresh_token)
        lifetime = max(0.0, min(grant.expires_in, LONGEST_SECONDS))
        return Tokens(
            grant.access_token,
            grant.refresh_token,
            now,
            now + lifetime if lifetime else 0.0,
            scopes_in(grant.scope) or scopes,
            resources,
            server,
        )

    async def _post(
        self, auth: UserOAuth, server: AuthorizationServer, url: str, form: Form, *, allow_private: bool
    ) -> Document:
        """A form with the client's own credential, which is never sent where the server's metadata do not say so."""
        headers, data = {"Accept": "application/json"}, MultiDict(form)
        secret = await self._kernel.secrets.get(auth.client_secret) if auth.client_secret else ""
        if server.method == "basic" and secret:
            pair = f"{quote_plus(auth.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            data["client_id"] = auth.client_id
            if secret:
                data["client_secret"] = secret
        try:
            return await self._kernel.http.fetch_json(
                "the token endpoint", "POST", url, headers=headers, data=data, allow_private=allow_private
            )
        except UpstreamError as error:
            error.sent = False  # to the upstream itself
            raise


def _reason(answer: Document) -> str:
    code = answer.content.get("error") if isinstance(answer.content, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
