"""Makes keys and replaces their secrets: who may, what for, and how long they live."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from toolway.hookspecs.api import ANY, Incoming
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.permissions import Limits, Permission, Permissions
from toolway.plugin import Forbidden, Kernel, NotFound
from toolway_server_keys.authenticator import CACHE_SECONDS
from toolway_server_keys.key import NO_DIGEST, Key, resource
from toolway_server_keys.key_store import KeyStore
from toolway_server_keys.lifetimes import Lifetimes
from toolway_server_keys.notation import digest, new_id, new_secret, written
from toolway_server_keys.owners import objection, own
from toolway_server_keys.schemas import NewKey, Rotation

WRITE = "server-keys:write"


class KeyMaker:
    """Whoever gets a secret must be allowed to change the servers that it opens, and to act for the key's owner."""

    def __init__(self, kernel: Kernel, store: KeyStore, lifetimes: Lifetimes) -> None:
        self._kernel = kernel
        self._store = store
        self._lifetimes = lifetimes

    async def make(self, incoming: Incoming, asked: NewKey) -> tuple[Key, str]:
        """A new key, and how it is written.

        Raises:
            Forbidden: a permission is missing, or the maker would gain by it.
            NotFound: there is no such server. InvalidInput: it lives too long.
        """
        principal, now = incoming.principal, math.floor(self._kernel.clock.now())
        owner = own(principal) if asked.owner is None else asked.owner
        incoming.demand(WRITE, resource(ANY, owner), is_new=True)
        lifetime = self._lifetimes.asked(
            now, asked.ttl, None if asked.expires_at is None else asked.expires_at.timestamp()
        )
        secret = new_secret()
        key = Key(
            new_id(),
            owner,
            principal.id,
            tuple(dict.fromkeys(asked.servers)),
            digest(secret),
            expires_at=float(now + lifetime),
            lifetime=lifetime,
            created_at=float(now),
            description=asked.description,
            items=tuple(asked.items),
            scopes=_scopes(principal, tuple(asked.scopes)),
            networks=tuple(asked.networks),
        )
        self._check(incoming, key)
        await self._store.add(key, principal.id)
        return key, written(key.id, secret)

    async def rotate(self, incoming: Incoming, key: Key, asked: Rotation) -> tuple[Key, str]:
        """The key with a new secret, and how it is written; what it opens stays as it is.

        Raises:
            Forbidden, NotFound: as for a new key.
            Conflict: it is revoked or has expired.
            InvalidInput: it would live too long.
        """
        self._check(incoming, key)
        now, secret = self._kernel.clock.now(), new_secret()
        lifetime = self._lifetimes.again(key.lifetime, asked.ttl)
        grace = self._lifetimes.grace if asked.grace is None else asked.grace

        def replaced(old: Key) -> Key:
            return msgspec.structs.replace(
                old,
                generation=old.generation + 1,
                digest=digest(secret),
                expires_at=float(math.floor(now) + lifetime),
                lifetime=lifetime,
                previous=old.digest if grace else NO_DIGEST,
                previous_until=min(now + grace, old.expires_at) if grace else 0.0,
                rotated_at=now,
            )

        new = await self._store.rotate(key.id, incoming.principal.id, replaced, short=CACHE_SECONDS)
        return new, written(new.id, secret)

    def _check(self, incoming: Incoming, key: Key) -> None:
        """Whether this principal may have a secret of this key; raises Forbidden and NotFound."""
        principal, servers = incoming.principal, self._kernel.catalog.snapshot.servers
        for server in key.servers:
            incoming.demand("servers:write", server)
            if server not in servers:
                raise NotFound(f"servers has no {server!r}")
        if complaint := objection(self._kernel.accounts, principal, key.owner):
            raise Forbidden(complaint)
        if principal.single_use:
            raise Forbidden("a one-time token makes no keys; use another credential")
        if beyond := _beyond(principal.limits, key):
            raise Forbidden(f"the credential in use does not cover {beyond}; use another one, or ask for less")


def _scopes(principal: Principal, asked: Sequence[str]) -> tuple[str, ...]:
    """The scopes of a new key: those asked for, or else those of the credential that makes it."""
    inherited = principal.limits.scopes if principal.limits is not None else ()
    return tuple(asked) or inherited


def _beyond(limits: Limits | None, key: Key) -> str:
    """The first thing that a key could do and the credential in use could not, in words; empty when there is none."""
    if limits is None or not limits.scopes:
        return ""
    for server in key.servers:
        if not limits.permit("servers:connect", server, server):
            return f"the use of server {server}"
    own_scopes = Permissions([Permission.parse(text) for text in limits.scopes])
    for text in key.scopes or ("admin:*",):
        scope = Permission.parse(text)
        if not own_scopes.permit(scope.action, scope.pattern):
            return f"the scope {text}"
    return ""
