"""From a key to its principal."""

from __future__ import annotations

import secrets
from typing import NoReturn

from toolway.hookspecs.auth import AuthContext, Authenticated, Credentials, Principal
from toolway.hookspecs.permissions import networks
from toolway.plugin import Kernel, Unauthenticated
from toolway_server_keys.endings import EndedCredentials
from toolway_server_keys.key import GATEWAY, Key, Secret
from toolway_server_keys.key_store import Use
from toolway_server_keys.known_keys import KnownKeys
from toolway_server_keys.notation import PREFIX, read
from toolway_server_keys.owners import acting

SCHEMES = ("bearer", "x-api-key")
CACHE_SECONDS = 60.0

_NOBODY = Key("", GATEWAY, "", (), secrets.token_bytes(32), expires_at=0.0, lifetime=0, created_at=0.0)
"""In place of a key that does not exist: refusing it takes as long."""


class KeyAuthenticator:
    """Credentials that begin with `twk_`. `uses` are the last ones that are not written down yet."""

    name = "server-keys"

    def __init__(self, kernel: Kernel, keys: KnownKeys, ended: EndedCredentials) -> None:
        self._kernel = kernel
        self._keys = keys
        self._ended = ended
        self.uses: dict[str, Use] = {}
        by, what = {"outcome": ("accepted", "refused", "failed")}, "Keys that were looked at anew."
        self._count = kernel.metrics.counter("toolway_server_key_checks_total", what, by)
        for outcome in by["outcome"]:
            self._count.add(0, outcome)

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        """See `Authenticator`. A key is unknown everywhere but on its servers, whatever else exists there."""
        if credentials.scheme not in SCHEMES or not credentials.value.startswith(PREFIX):
            return None
        outcome = "failed"
        try:
            verified = await self._verified(credentials, context)
            outcome = "accepted"
        except Unauthenticated:
            outcome = "refused"
            raise
        finally:
            self._count.add(1, outcome)
        return verified

    async def _verified(self, credentials: Credentials, context: AuthContext) -> Authenticated:
        presented = read(credentials.value)
        if presented is None:
            refuse()
        key = await self._keys.find(presented.id)
        secret = (key or _NOBODY).match(presented.secret)
        if key is None or secret is None or context.server not in key.servers:
            refuse()
        verified = self._authenticated(key, secret)
        self.uses[key.id] = Use(self._kernel.clock.now(), context.address, context.client)
        return verified

    def _authenticated(self, key: Key, secret: Secret) -> Authenticated:
        clock = self._kernel.clock
        left, made_with = secret.until - clock.now(), key.credentials(secret.generation)
        if key.revoked_at is not None or left <= 0 or self._ended.among(made_with):
            raise Unauthenticated("the key was revoked, rotated or has expired; use the new one, or have one made")
        principal = Principal(
            key.principal,
            "service",
            key.description or key.principal,
            credential=key.principal,
            limits=key.limits,
            on_behalf_of=acting(self._kernel.accounts, key.owner, key.principal),
        )
        return Authenticated(
            principal,
            cache_until=clock.monotonic() + min(CACHE_SECONDS, left),
            revoke_keys=(
                key.principal,
                key.revoke_key(secret.generation),
                *([key.owner] if key.owner else ()),
                *made_with,
            ),
            networks=networks(key.networks),
        )


def refuse() -> NoReturn:
    """The answer to everything that is wrong with a key: whoever tries one learns nothing."""
    raise Unauthenticated("the key is not valid here; check that it is complete, current and meant for this server")
