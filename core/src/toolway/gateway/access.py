"""Who is asking and may they: walks the authenticators and authorizers, remembers verified credentials."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from toolway.catalog.parts import EVERY_KEY
from toolway.errors import StoreUnavailable, TooManyFailures, Unauthenticated
from toolway.hookspecs import auth
from toolway.hookspecs.auth import ANONYMOUS, Authenticated, Principal, Resource, Visit
from toolway.hookspecs.permissions import is_within
from toolway.plugin.kernel import Clock

replace = msgspec.structs.replace
log = logging.getLogger(__name__)

REMEMBERED = 10_000
REFUSED_SECONDS = 5.0
"""How long a bad credential is refused without being verified again."""
FAILURES, FAILURE_SECONDS = 60, 60.0
"""How many bad credentials of one address are answered in which time."""
ALLOW, DENY = auth.Decision.ALLOW, auth.Decision.DENY
NOBODY = Authenticated(ANONYMOUS, math.inf)


class Access:
    """Authentication and authorization for every request.

    `dropped` hears which principals lost a credential and have no other one here, after a revocation.
    """

    def __init__(
        self, authenticators: Sequence[auth.Authenticator], authorizers: Sequence[auth.Authorizer], clock: Clock
    ) -> None:
        self._authenticators, self._authorizers = tuple(authenticators), tuple(authorizers)
        self._clock, self._revocations, self._refusals = clock, 0, Refusals(clock)
        self._known: dict[bytes | None, Authenticated] = {}
        self.dropped: Callable[[frozenset[str]], None] = lambda principals: None

    async def authenticate(self, visit: Visit, *, remember: bool = True) -> Authenticated:
        """Who this is, asked again once it may not be trusted any more; anonymous means no credential at all.

        What is not to be remembered is where clients make up the name of the place: others would be forgotten for it.

        Raises:
            Unauthenticated: a credential that no authenticator accepts, or not from there.
            InvalidInput: two credentials.
            StoreUnavailable: a credential that cannot be looked up now.
            TooManyFailures: one of many bad credentials from this address.
        """
        known = NOBODY if visit.key is None else self._known.get(visit.key)
        if known is None or known.cache_until <= self._clock.monotonic():
            known = await self._verified(visit, remember=remember)
        if known.networks and not is_within(visit.context.address, known.networks):
            what = "the credential is not accepted from this address; use it where it is meant to be used"
            raise Unauthenticated(what)
        return known

    def remembered(self, credential: bytes | None) -> Authenticated | None:
        """Whose credential has this digest (`credential_key`); None when more has to be looked at."""
        known = NOBODY if credential is None else self._known.get(credential)
        is_good = known is not None and not known.networks and known.cache_until > self._clock.monotonic()
        return known if is_good else None

    def allowed(self, principal: Principal, action: str, resource: Resource) -> bool:
        """One ALLOW and no DENY, within the limits of the credential; an authorizer that fails denies."""
        limits = principal.limits
        if limits is not None and not limits.permit(action, resource.name, resource.server):
            return False
        asking, allowed = principal.on_behalf_of or principal, False
        for authorizer in self._authorizers:
            try:
                decision = authorizer.decide(asking, action, resource)
            except Exception:
                log.exception("authorizer %r failed; the action is denied", authorizer.name)
                return False
            if decision is DENY:
                return False
            allowed = allowed or decision is ALLOW
        return allowed

    def out_of_scope(self, principal: Principal, action: str, resource: Resource) -> bool:
        """Whether only the limits of the credential are in the way: its holder may do this with another one."""
        limits = principal.limits
        if limits is None or limits.permit(action, resource.name, resource.server):
            return False
        return self.allowed(replace(principal, limits=None), action, resource)

    def visibility(self, principal: Principal, server: str, *, is_for_all: bool = True) -> str:
        """Equal keys mean equal lists on this server within one snapshot; `is_for_all`: all of it is public."""
        asking = principal.on_behalf_of or principal
        keys = [authorizer.visibility(asking, server) for authorizer in self._authorizers]
        if principal.limits is not None:
            keys.append(repr(principal.limits))
        if not is_for_all:
            keys.append(f"{asking.id} {asking.teams}")
        return "|".join(keys)

    def revoke(self, keys: frozenset[str]) -> None:
        """Forget every credential with one of these revoke keys; `EVERY_KEY` is in all of them."""
        self._revocations += 1  # what is being verified just now is not remembered
        self._refusals.forget()
        is_all, known = EVERY_KEY in keys, self._known
        digests = [digest for digest, each in known.items() if is_all or not keys.isdisjoint(each.revoke_keys)]
        gone = frozenset(known.pop(digest).principal.id for digest in digests)
        self.dropped(gone - {each.principal.id for each in known.values()})

    async def _verified(self, visit: Visit, *, remember: bool) -> Authenticated:
        before = self._revocations
        self._refusals.check(visit)
        try:
            verified = await self._ask(visit.credentials(), visit.context)
        except Unauthenticated:
            self._refusals.count(visit)
            raise
        if remember and verified.cache_until > self._clock.monotonic() and before == self._revocations:
            self._known[visit.key] = verified
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return verified

    async def _ask(self, credentials: auth.Credentials, context: auth.AuthContext) -> Authenticated:
        for authenticator in self._authenticators:
            try:
                verified = await authenticator.authenticate(credentials, context)
            except (Unauthenticated, StoreUnavailable):
                raise
            except Exception:
                log.exception("authenticator %r failed; the request is refused", authenticator.name)
                raise Unauthenticated("the credential could not be verified; try again later") from None
            if verified is not None:
                return verified
        what = "the credential is not valid here; check that it is complete, current and meant for this gateway"
        raise Unauthenticated(what)


class Refusals:
    """Bad credentials: not verified again for a while, and from one address only so many are told from each other.

    Whoever presents a good one is never in the way of this: it is verified first.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: OrderedDict[bytes | None, float] = OrderedDict()
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def check(self, visit: Visit) -> None:
        """Raise Unauthenticated for what was refused a moment ago."""
        if self._refused.get(visit.key, 0.0) > self._clock.monotonic():
            self._fail(visit.context.address)
            raise Unauthenticated("the credential was refused a moment ago; get a valid one before the next request")

    def count(self, visit: Visit) -> None:
        """It was refused; raises TooManyFailures when that happened too often from there."""
        self._refused[visit.key] = self._clock.monotonic() + REFUSED_SECONDS
        if len(self._refused) > REMEMBERED:
            self._refused.popitem(last=False)
        self._fail(visit.context.address)

    def forget(self) -> None:
        """What was refused may be good now."""
        self._refused.clear()

    def _fail(self, address: str) -> None:
        now = self._clock.monotonic()
        until, count = self._failures.pop(address, (0.0, 0))
        until, count = (until, count + 1) if until > now else (now + FAILURE_SECONDS, 1)
        self._failures[address] = until, count
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)
        if count > FAILURES:
            wait = math.ceil(until - now)
            raise TooManyFailures(f"too many bad credentials came from there; try again in {wait} s", retry_after=wait)
