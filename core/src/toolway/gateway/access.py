"""Who is asking and may they: walks the authenticators and authorizers, remembers verified credentials."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b

import msgspec

from toolway.errors import InvalidInput, Unauthenticated
from toolway.hookspecs import auth
from toolway.hookspecs.auth import ANONYMOUS, AuthContext, Authenticated, Credentials, Principal, Resource
from toolway.plugin.kernel import Clock

log = logging.getLogger(__name__)

REMEMBERED = 10_000
ALLOW, DENY = auth.Decision.ALLOW, auth.Decision.DENY
NOBODY = Authenticated(ANONYMOUS, math.inf)


class Visit(msgspec.Struct, frozen=True):
    """The two headers of a request that may carry a credential, and where it was presented."""

    authorization: bytes | None
    api_key: bytes | None
    context: AuthContext

    def credentials(self) -> Credentials:
        """The one credential; raises InvalidInput when there are two, Unauthenticated when it is malformed."""
        if self.authorization is not None and self.api_key is not None:
            raise InvalidInput("the request carries two credentials; send either Authorization or X-API-Key")
        if self.api_key is not None:
            return Credentials("x-api-key", self.api_key.decode("latin-1"))
        scheme, _, value = (self.authorization or b"").decode("latin-1").partition(" ")
        if not value.strip():
            raise Unauthenticated("the Authorization header has no credential; send 'Bearer <token>'")
        return Credentials(scheme.lower(), value.strip())


class Access:
    """Authentication and authorization for every request; `dropped` hears whose credential is revoked."""

    def __init__(
        self, authenticators: Sequence[auth.Authenticator], authorizers: Sequence[auth.Authorizer], clock: Clock
    ) -> None:
        self._authenticators = tuple(authenticators)
        self._authorizers = tuple(authorizers)
        self._clock = clock
        self._known: OrderedDict[bytes, Authenticated] = OrderedDict()
        self._revocations = 0
        self.dropped: Callable[[Callable[[str], bool]], None] = lambda matches: None

    async def authenticate(self, visit: Visit) -> Authenticated:
        """Who this is, asked again once it may not be trusted any more; anonymous means no credential at all.

        Raises:
            Unauthenticated: a credential that no authenticator accepts.
            InvalidInput: two credentials.
        """
        who = visit.context.server, visit.authorization, visit.api_key
        if (known := self.remembered(*who)) is not None:
            return known
        before = self._revocations
        verified = await self._ask(visit.credentials(), visit.context)
        if verified.cache_until > self._clock.monotonic() and before == self._revocations:
            self._known[_key(*who)] = verified
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return verified

    def remembered(
        self, server: str | None, authorization: bytes | None, api_key: bytes | None
    ) -> Authenticated | None:
        """Who presents these on this server; None when somebody has to be asked."""
        if authorization is None and api_key is None:
            return NOBODY
        known = self._known.get(_key(server, authorization, api_key))
        return known if known is not None and known.cache_until > self._clock.monotonic() else None

    def allowed(self, principal: Principal, action: str, resource: Resource) -> bool:
        """One ALLOW and no DENY; an authorizer that fails denies."""
        allowed = False
        for authorizer in self._authorizers:
            try:
                decision = authorizer.decide(principal, action, resource)
            except Exception:
                log.exception("authorizer %r failed; the action is denied", authorizer.name)
                return False
            if decision is DENY:
                return False
            allowed = allowed or decision is ALLOW
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
        self.dropped(set(gone.values()).__contains__)

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


def _key(server: str | None, authorization: bytes | None, api_key: bytes | None) -> bytes:
    return blake2b(b"%b\0%b\0%b" % ((server or "/").encode(), authorization or b"", api_key or b"")).digest()
