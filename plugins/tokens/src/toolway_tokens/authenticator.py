"""From a token to its principal: the signature, the claims, the catalog, the account and the maker must all agree."""

from __future__ import annotations

import logging
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from toolway.hookspecs.auth import AuthContext, Authenticated, Credentials
from toolway.hookspecs.permissions import networks
from toolway.hookspecs.system import Transaction
from toolway.plugin import Kernel, StoreUnavailable, Unauthenticated
from toolway_tokens.catalog import TokenCatalog, Use
from toolway_tokens.claims import LEEWAY, Claims, accepted
from toolway_tokens.key_store import KeyStore
from toolway_tokens.makers import is_bounded, maker_now, objection, principal_of
from toolway_tokens.signatures import BadSignature, parts_of, verified
from toolway_tokens.single_use import claim_request
from toolway_tokens.token import Token

log = logging.getLogger(__name__)

CACHE_SECONDS = 60.0
BOUNDED_CACHE_SECONDS = 5.0
"""A token that is only good for what its maker may do too is looked at more often: permissions revoke nothing."""
PATIENT_SECONDS = 3600.0
"""So long a token that was read once goes on while the database is away."""
REMEMBERED = 10_000
LONGEST_LOOK = 65_536
"""Characters; of longer credentials not even the issuer is looked at."""


class Names(msgspec.Struct, frozen=True):
    """What tokens say of the gateway: who issued them, and for whom they are."""

    issuer: str
    audience: str


class Remembered(msgspec.Struct, frozen=True):
    """A token, and when it was read (monotonic seconds)."""

    token: Token
    at: float


class TokenAuthenticator:
    """Bearer tokens that say that they are ours; other JWTs are left to other plugins.

    Every question goes to the database, because a revocation must count at once; it is the gateway that remembers the
    answer. What is remembered here is for when the database is away. `uses` are the last ones that are not written yet.
    """

    name = "tokens"

    def __init__(self, kernel: Kernel, catalog: TokenCatalog, keys: KeyStore, names: Names) -> None:
        self._kernel = kernel
        self._catalog = catalog
        self._keys = keys
        self._names = names
        self._remembered: OrderedDict[str, Remembered] = OrderedDict()
        self._revocations = 0
        self.uses: dict[str, Use] = {}
        by, what = {"outcome": ("accepted", "refused", "failed")}, "Tokens that were looked at anew."
        self._count = kernel.metrics.counter("toolway_token_checks_total", what, by)
        for outcome in by["outcome"]:
            self._count.add(0, outcome)

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        """See `Authenticator`; the sentence of a refusal tells nothing of a token that is not signed by us."""
        if credentials.scheme != "bearer" or not await self._is_ours(credentials.value):
            return None
        outcome = "failed"
        try:
            token = await self._token(await self._claims(credentials.value))
            verified_token = self._authenticated(token)
            outcome = "accepted"
        except Unauthenticated:
            outcome = "refused"
            raise
        finally:
            self._count.add(1, outcome)
        self._note(token, context)
        return verified_token

    def forget(self, keys: frozenset[str]) -> None:
        """Tokens with these revoke keys must be read again; `*` is in all of them."""
        self._revocations += 1  # what is being read just now is not remembered
        for jti, known in list(self._remembered.items()):
            if not keys.isdisjoint({"*", *_revoke_keys(known.token)}):
                del self._remembered[jti]

    async def _is_ours(self, value: str) -> bool:
        """Whether it says so: by its issuer, or by a key that is ours."""
        if value.count(".") != 2 or len(value) > LONGEST_LOOK:
            return False
        header, payload = _said(value)
        if payload.get("iss") == self._names.issuer:
            return True
        kid = header.get("kid")
        return isinstance(kid, str) and kid in await self._keys.verifying()

    async def _claims(self, value: str) -> Claims:
        try:
            kid = parts_of(value)[0].get("kid")
            keys = await self._keys.verifying(kid if isinstance(kid, str) else "")
            signed = verified(value, keys)
            return accepted(signed, self._names.issuer, self._names.audience, self._kernel.clock.now())
        except BadSignature:
            refuse()

    async def _token(self, claims: Claims) -> Token:
        """The catalog's entry; raises Unauthenticated unless it says the same and lets the token in."""
        token = await self._read(claims.jti)
        if token is None or (token.subject, token.scopes) != (claims.sub, claims.scopes):
            refuse()
        if not token.is_accepted(self._kernel.clock.now()):
            raise Unauthenticated("the token was revoked, is used up or has expired; have a new one made")
        return token

    async def _read(self, jti: str) -> Token | None:
        now, before = self._kernel.clock.monotonic(), self._revocations
        try:
            token = await self._catalog.find(jti)
        except StoreUnavailable:
            known = self._remembered.get(jti)
            if known is None or known.token.single_use or now - known.at > PATIENT_SECONDS:
                raise
            return known.token
        self._remembered.pop(jti, None)
        if token is not None and before == self._revocations:
            self._remembered[jti] = Remembered(token, now)
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return token

    def _authenticated(self, token: Token) -> Authenticated:
        kernel, clock = self._kernel, self._kernel.clock
        principal = principal_of(kernel, token.subject, token.credential, token.limits, single_use=token.single_use)
        remember = CACHE_SECONDS
        if token.maker != token.subject:
            maker = maker_now(kernel, token.maker)
            if complaint := objection(kernel, maker, token.subject, token.limits):
                log.info("token %s is refused: %s", token.jti, complaint)
                raise Unauthenticated("whoever made this token could not make it any more; have it made anew")
            remember = BOUNDED_CACHE_SECONDS if is_bounded(maker, token.subject) else CACHE_SECONDS
        left = min(remember, token.expires_at + LEEWAY - clock.now())
        return Authenticated(
            principal,
            cache_until=0.0 if token.single_use else clock.monotonic() + left,
            revoke_keys=_revoke_keys(token),
            networks=networks(token.networks),
            claim=claim_request(self._catalog, token.jti) if token.single_use else None,
            ends_at=token.expires_at,
        )

    def _note(self, token: Token, context: AuthContext) -> None:
        self.uses[token.jti] = Use(self._kernel.clock.now(), context.address, context.client)


class RevokedTokens:
    """A part of the snapshot without a value: hears which tokens were revoked, and so must not be good any more."""

    name = "tokens-revoked"
    after: tuple[str, ...] = ("revocations",)

    def __init__(self, authenticator: TokenAuthenticator) -> None:
        self._authenticator = authenticator

    async def load(self, tx: Transaction, parts: Mapping[str, Any]) -> None:
        """See `SnapshotPart`."""
        self._authenticator.forget(parts["revocations"].keys)


def refuse() -> NoReturn:
    """The answer to everything that is wrong with a token: whoever forges one learns nothing."""
    raise Unauthenticated("the token is not valid here; check that it is complete, current and meant for this gateway")


def _revoke_keys(token: Token) -> tuple[str, ...]:
    return tuple(dict.fromkeys((token.credential, token.subject, token.maker)))


def _said(value: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What header and payload claim, however badly they are encoded; nothing is verified."""
    header, payload, _ = value.split(".")
    return _object(header), _object(payload)


def _object(segment: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(urlsafe_b64decode(f"{segment.rstrip('=')}==="), type=dict[str, Any])
    except (ValueError, RecursionError):
        return {}
