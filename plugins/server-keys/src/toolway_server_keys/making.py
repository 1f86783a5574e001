"""Makes keys and replaces their secrets: who may, what for, and how long they live."""

from __future__ import annotations

import contextlib
import math

import msgspec

from toolway.hookspecs.api import ANY, Incoming
from toolway.plugin import Conflict, Forbidden, Kernel, NotFound, ToolwayError, Unauthenticated
from toolway_server_keys.authenticator import CACHE_SECONDS
from toolway_server_keys.endings import EndedCredentials
from toolway_server_keys.key import NO_DIGEST, Key, resource
from toolway_server_keys.key_store import KeyStore
from toolway_server_keys.lifetimes import Lifetimes
from toolway_server_keys.narrowing import excess, narrowed
from toolway_server_keys.notation import digest, new_id, new_secret, written
from toolway_server_keys.owners import objection, own
from toolway_server_keys.schemas import NewKey, Rotation

WRITE = "server-keys:write"


class KeyMaker:
    """Whoever gets a secret must be allowed to change the servers that it opens, and to act for the key's owner."""

    def __init__(self, kernel: Kernel, store: KeyStore, lifetimes: Lifetimes, ended: EndedCredentials) -> None:
        self._kernel = kernel
        self._store = store
        self._lifetimes = lifetimes
        self._ended = ended

    async def make(self, incoming: Incoming, asked: NewKey) -> tuple[Key, str]:
        """A new key, and how it is written.

        Raises:
            Forbidden: a permission is missing, or the maker would gain by it.
            NotFound: there is no such server. InvalidInput: it lives too long.
        """
        who, principal, now = incoming.who, incoming.principal, math.floor(self._kernel.clock.now())
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
            expires_at=self._lifetimes.end(now, lifetime, [who.ends_at], is_asked=bool(asked.ttl or asked.expires_at)),
            lifetime=lifetime,
            created_at=float(now),
            description=asked.description,
            made_with=principal.credential if who.ends_at else "",
            ends_at=who.ends_at,
            **narrowed(who, asked),
        )
        self._check(incoming, key)
        await self._store.add(key, principal.id)
        await self._confirm(key)
        try:
            self._check(incoming, key)
        except ToolwayError:  # a server was deleted before the key was there to lose it
            await self._store.revoke(key, principal.id)
            raise
        return key, written(key.id, secret)

    async def rotate(self, incoming: Incoming, key: Key, asked: Rotation) -> tuple[Key, str]:
        """The key with a new secret, and how it is written; what it opens stays as it is.

        Raises:
            Forbidden, NotFound: as for a new key.
            Conflict: it is revoked or has expired.
            InvalidInput: it would live too long.
        """
        self._check(incoming, key)
        who, now, secret = incoming.who, self._kernel.clock.now(), new_secret()
        lifetime = self._lifetimes.again(key.lifetime, asked.ttl)
        grace = self._lifetimes.grace if asked.grace is None else asked.grace

        def replaced(old: Key) -> Key:
            return msgspec.structs.replace(
                old,
                generation=old.generation + 1,
                digest=digest(secret),
                expires_at=self._lifetimes.end(
                    now, lifetime, (old.ends_at, who.ends_at), is_asked=asked.ttl is not None
                ),
                lifetime=lifetime,
                previous=old.digest if grace else NO_DIGEST,
                previous_until=min(now + grace, old.expires_at) if grace else 0.0,
                rotated_at=now,
                present_with=who.principal.credential if who.ends_at else "",
                previous_with=old.present_with if grace else "",
            )

        new = await self._store.rotate(key.id, incoming.principal.id, replaced, short=CACHE_SECONDS)
        await self._confirm(new)
        return new, written(new.id, secret)

    async def _confirm(self, key: Key) -> None:
        """Hear of what was revoked until the key was there to be found by whoever ends it; raises Unauthenticated."""
        await self._kernel.catalog.reload()
        if over := self._ended.among(key.credentials(key.generation)):
            with contextlib.suppress(Conflict):
                await self._store.end(key.id, over)
            raise Unauthenticated("the credential in use was revoked; use another one")

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
        if beyond := excess(incoming.who, key):
            raise Forbidden(f"the credential in use does not cover {beyond}; use another one, or ask for less")
