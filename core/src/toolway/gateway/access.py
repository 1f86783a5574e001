"""Who is asking and may they: walks the authenticators and authorizers, remembers verified credentials."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

from toolway.errors import InvalidInput, Unauthenticated
from toolway.hookspecs.auth import (
    ANONYMOUS,
    AuthContext,
    Authenticated,
    Authenticator,
    Authorizer,
    Credentials,
    Decision,
    Principal,
    Resource,
)
from toolway.plugin.kernel import Clock

log = logging.getLogger(__name__)

REMEMBERED = 10_000


def presented(authorization: str | None, api_key: str | None) -> Credentials | None:
    """The one credential of a request; raises InvalidInput when there are two or it is malformed."""
    if authorization is not None and api_key is not None:
        raise InvalidInput("the request carries two credentials; send either Authorization or X-API-Key")
    if api_key is not None:
        return Credentials("x-api-key", api_key)
    if authorization is None:
        return None
    scheme, _, value = authorization.partition(" ")
    if not value.strip():
        raise Unauthenticated("the Authorization header has no credential; send 'Bearer <token>'")
    return Credentials(scheme.lower(), value.strip())


class Access:
    """Authentication and authorization for every request; `dropped` hears whose credential is revoked."""

    def __init__(
        self, authenticators: Sequence[Authenticator], authorizers: Sequence[Authorizer], clock: Clock
    ) -> None:
        self._authenticators = tuple(authenticators)
        self._authorizers = tuple(authorizers)
        self._clock = clock
        self._known: OrderedDict[bytes, Authenticated] = OrderedDict()
        self._revocations = 0
        self.dropped: list[Callable[[Callable[[str], bool]], None]] = []

    async def authenticate(self, credentials: Credentials | None, context: AuthContext) -> Principal:
        """The principal; anonymous means no credential at all.

        Raises:
            Unauthenticated: a credential that no authenticator accepts.
        """
        if credentials is None:
            return ANONYMOUS
        key = hashlib.sha256(f"{context.server}\0{credentials.scheme}\0{credentials.value}".encode()).digest()
        known = self._known.get(key)
        if known is not None and known.cache_until > self._clock.monotonic():
            return known.principal
        before = self._revocations
        verified = await self._ask(credentials, context)
        if verified.cache_until > self._clock.monotonic() and before == self._revocations:
            self._remember(key, verified)
        return verified.principal

    def allowed(self, principal: Principal, action: str, resource: Resource) -> bool:
        """One ALLOW and no DENY; an authorizer that fails denies."""
        allowed = False
        for authorizer in self._authorizers:
            try:
                decision = authorizer.decide(principal, action, resource)
            except Exception:
                log.exception("authorizer %r failed; the action is denied", authorizer.name)
                return False
            if decision is Decision.DENY:
                return False
            allowed = allowed or decision is Decision.ALLOW
        return allowed

    def visibility(self, principal: Principal, server: str) -> str:
        """Equal keys mean equal lists on this server within one snapshot."""
        return "|".join(authorizer.visibility(principal, server) for authorizer in self._authorizers)

    def revoke(self, key: str) -> None:
        """Forget every credential with this revoke key, with all that it opened."""
        self._revocations += 1  # what is being verified just now is not remembered
        gone = {digest: known.principal.id for digest, known in self._known.items() if key in known.revoke_keys}
        for digest in gone:
            del self._known[digest]
        ids = set(gone.values())
        for listener in self.dropped:
            listener(ids.__contains__)

    async def _ask(self, credentials: Credentials, context: AuthContext) -> Authenticated:
        for authenticator in self._authenticators:
            try:
                verified = await authenticator.authenticate(credentials, context)
            except Unauthenticated:
                raise
            except Exception:
                log.exception("authenticator %r failed; the request is refused", authenticator.name)
                raise Unauthenticated("the credential could not be verified; try again later") from None
            if verified is not None:
                return verified
        raise Unauthenticated(
            "the credential is not valid here; check that it is complete, current and meant for this gateway"
        )

    def _remember(self, key: bytes, verified: Authenticated) -> None:
        self._known[key] = verified
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
