"""The keys of all nodes: sealed in the database, or by reference; older ones verify as long as there is need."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import delete
from sqlmodel import col, func, select

from toolway.hookspecs.system import Transaction
from toolway.plugin import Clock, ConfigError, Conflict, Database, Seal, Secrets, StoreUnavailable
from toolway_tokens.claims import LEEWAY
from toolway_tokens.keys import (
    Algorithm,
    SigningKey,
    UnusableKey,
    VerifyingKey,
    algorithm_name,
    generated,
    key_set,
    signing_key,
)
from toolway_tokens.models import KeyRow, TokenRow

log = logging.getLogger(__name__)

PART = "token-keys"
ALONE = "tokens.keys"
FRESH_SECONDS = 60.0
UNKNOWN_SECONDS = 1.0
"""An unknown kid makes a node look at most this often."""
PATIENT_SECONDS = 3600.0
"""So long what was read last is good enough while the database is away."""


class Loaded(msgspec.Struct, frozen=True):
    """The keys that verify, and when they were read (monotonic seconds)."""

    keys: Mapping[str, VerifyingKey]
    jwks: Sequence[dict[str, Any]]
    at: float


class KeyStore:
    """`reference` names the signing key; without one it is made here, for `algorithm`."""

    def __init__(
        self,
        database: Database,
        seal: Seal,
        secrets: Secrets,
        clock: Clock,
        *,
        algorithm: Algorithm = "ES256",
        reference: str | None = None,
    ) -> None:
        self.database = database
        self._seal = seal
        self._secrets = secrets
        self._clock = clock
        self._algorithm: Algorithm = algorithm
        self._reference = reference
        self._loaded: Loaded | None = None

    async def ensure(self) -> None:
        """Make the first key, or another one where the settings have changed.

        Raises:
            ConfigError: the key that the settings name cannot be used; SecretUnavailable: or not be had.
        """
        async with self.database.read() as tx:
            active = await _active(tx)
        if active is not None and await self._fitting(active) is not None:
            return
        new = await self._new()
        async with self.database.write() as tx:
            await self.database.alone(tx, ALONE)
            active = await _active(tx)
            if active is None or await self._fitting(active) is None:
                await self._replace(tx, active, new)
            tx.before, tx.after = {"kid": active.kid if active else None}, {"kid": new.kid}
        self._loaded = None

    async def signing(self, tx: Transaction) -> SigningKey:
        """The key for a token that this transaction stores; no rotation comes between."""
        await self.database.alone(tx, ALONE)
        active = await _active(tx)
        key = None if active is None else await self._fitting(active)
        if key is None:
            key = await self._new()
            await self._replace(tx, active, key)
            self._loaded = None
        return key

    async def rotate(self, actor: str) -> None:
        """Sign with another key from now on; the one until now verifies until the last token that it signed is over.

        Raises:
            Conflict: the key comes by reference and is still the same.
        """
        new = await self._new()
        async with self.database.change(PART, actor, "token-keys.rotate", f"token-keys/{new.kid}") as tx:
            await self.database.alone(tx, ALONE)
            active = await _active(tx)
            if active is not None and active.kid == new.kid:
                raise Conflict(f"the signing key {self._reference} is still the same; change the secret, then rotate")
            await self._replace(tx, active, new)
            tx.before, tx.after = {"kid": active.kid if active else None}, {"kid": new.kid}
        self._loaded = None

    async def verifying(self, kid: str = "") -> Mapping[str, VerifyingKey]:
        """The public keys by kid; looked up anew for an unknown kid, but not for each of many.

        Raises:
            StoreUnavailable: the database is away, and for too long.
        """
        loaded, now = self._loaded, self._clock.monotonic()
        if loaded is not None:
            age = now - loaded.at
            if age < (FRESH_SECONDS if not kid or kid in loaded.keys else UNKNOWN_SECONDS):
                return loaded.keys
        try:
            loaded = await self._load()
        except StoreUnavailable:
            if loaded is None or now - loaded.at > PATIENT_SECONDS:
                raise
        return loaded.keys

    async def jwks(self) -> Sequence[dict[str, Any]]:
        """The public keys, for the JWK Set (RFC 7517 section 5); the active one first."""
        return (await self._load()).jwks

    async def prune(self) -> None:
        """Remove the keys whose last token is over."""
        async with self.database.write() as tx:
            over = col(KeyRow.verifies_until) < self._clock.now() - LEEWAY
            await tx.session.exec(delete(KeyRow).where(over))

    async def _load(self) -> Loaded:
        now = self._clock.now()
        living = col(KeyRow.verifies_until).is_(None) | (col(KeyRow.verifies_until) > now - LEEWAY)
        async with self.database.read() as tx:
            rows = list(await tx.session.exec(select(KeyRow).where(living)))
        rows.sort(key=lambda row: (row.verifies_until is None, row.created_at), reverse=True)
        jwks = [msgspec.json.decode(row.public, type=dict[str, Any]) for row in rows]
        self._loaded = Loaded(key_set(jwks), jwks, self._clock.monotonic())
        return self._loaded

    async def _new(self) -> SigningKey:
        """The key that the settings name, or a new one."""
        if self._reference is None:
            return await asyncio.to_thread(generated, self._algorithm)
        try:
            return signing_key(await self._secrets.get(self._reference))
        except UnusableKey as error:
            raise ConfigError(f"plugins.tokens.signing_key {self._reference} cannot be used: {error}") from None

    async def _fitting(self, active: KeyRow) -> SigningKey | None:
        """The private key of the active row, if it is what the settings want and can be had."""
        if self._reference is not None:
            key = await self._new()
            return key if key.kid == active.kid else None
        opened = None if active.sealed is None else self._seal.open(_purpose(active.kid), active.sealed)
        if opened is None:
            return None
        key = signing_key(opened.decode())
        return key if key.alg == algorithm_name(self._algorithm) else None

    async def _replace(self, tx: Transaction, active: KeyRow | None, new: SigningKey) -> None:
        if active is not None:
            last = select(func.max(TokenRow.expires_at)).where(col(TokenRow.kid) == active.kid)
            active.verifies_until = (await tx.session.exec(last)).one() or 0.0
            active.sealed = None
            tx.session.add(active)
        sealed = None if self._reference is not None else self._seal.seal(_purpose(new.kid), new.private)
        row = await tx.session.get(KeyRow, new.kid) or KeyRow(kid=new.kid, public="", created_at=0.0)
        row.public, row.sealed = msgspec.json.encode(new.public).decode(), sealed
        row.created_at, row.verifies_until = self._clock.now(), None
        tx.session.add(row)
        await tx.session.flush()
        log.info("tokens are signed with the key %s (%s) from now on", new.kid, new.alg)


async def _active(tx: Transaction) -> KeyRow | None:
    found = await tx.session.exec(select(KeyRow).where(col(KeyRow.verifies_until).is_(None)))
    return found.first()


def _purpose(kid: str) -> str:
    return f"tokens.signing-key:{kid}"
