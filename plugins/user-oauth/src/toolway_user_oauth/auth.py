"""The upstream auth `oauth-user`: every request to the upstream carries the token of its caller, or is not sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from toolway.hookspecs.auth import GATEWAY, Principal
from toolway.hookspecs.routing import Upstream
from toolway.hookspecs.secrets import Challenge, SettingsModel
from toolway.plugin import Unauthenticated
from toolway_user_oauth.challenge import missing_scopes
from toolway_user_oauth.errors import ConsentNeeded, UpstreamForbids
from toolway_user_oauth.settings import UserOAuth
from toolway_user_oauth.wallet import Wallet


class OAuthUser:
    """`auth = { type = "oauth-user", client_id = "toolway", client_secret = "env:SECRET" }`."""

    type = "oauth-user"
    settings: SettingsModel = UserOAuth
    per: Literal["gateway", "principal"] = "principal"

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet

    async def headers(self, upstream: Upstream, principal: Principal, challenge: Challenge | None) -> Mapping[str, str]:
        """The token of that principal, of nobody else; after a 401 a fresh one.

        Raises:
            ConsentNeeded: there is none, or it lacks scopes that the upstream wants.
            UpstreamForbids: the account may not do this there.
            Unauthenticated: an anonymous client has no account.
        """
        who = principal.id
        if principal == GATEWAY:
            who = cast(UserOAuth, upstream.auth).discover_as
            if not who:
                return {}
        elif principal.kind == "anonymous":
            raise Unauthenticated(f"upstream {upstream.name!r} wants an account of yours; send your credential")
        if challenge is not None:
            _refuse_forbidden(upstream, challenge)
        is_refused = challenge is not None and challenge.status == 401
        found = await (self._wallet.renew if is_refused else self._wallet.connection)(who, upstream)
        if found is None:
            todo = f"{who} has to run: toolway connections connect {upstream.name}"
            raise ConsentNeeded(
                f"upstream {upstream.name!r} wants the account of {who}, which is not connected; {todo}"
            )
        return {"authorization": f"Bearer {found.tokens.access_token}"}


def _refuse_forbidden(upstream: Upstream, challenge: Challenge) -> None:
    """A refusal that no fresh token would change."""
    scopes = missing_scopes(challenge.header)
    if scopes is not None:
        raise ConsentNeeded(f"upstream {upstream.name!r} wants more scopes: {' '.join(scopes)}", scopes)
    if challenge.status == 403:
        raise UpstreamForbids(f"upstream {upstream.name!r} does not let your account do this (403)", sent=False)
