"""Who is asking and what they may do: principals, credentials, authenticators, authorizers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from toolway.errors import InvalidInput, Unauthenticated
from toolway.hookspecs.definitions import Visibility
from toolway.hookspecs.markers import hookspec
from toolway.hookspecs.permissions import Limits, Network

if TYPE_CHECKING:
    from toolway.plugin import Kernel


class Principal(msgspec.Struct, frozen=True):
    """Who is asking. `id` is stable and unique over all providers; `credential` is a name, never a value.

    `limits` are those of the credential: the gateway itself keeps to them, whatever authorizers say. A `single_use`
    credential is used up by one call or administrative request. Whoever acts `on_behalf_of` another one may do, within
    these limits, what that one may: authorizers are asked about it alone.
    """

    id: str
    kind: Literal["user", "service", "anonymous"] = "user"
    name: str = ""
    teams: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    credential: str = ""
    limits: Limits | None = None
    single_use: bool = False
    on_behalf_of: Principal | None = None


ANONYMOUS = Principal(id="anonymous", kind="anonymous", name="anonymous")
GATEWAY = Principal(id="gateway", kind="service", name="gateway")
"""Who asks an upstream what it offers: nobody's request, so no anonymous client's either."""


class Credentials(msgspec.Struct, frozen=True):
    """What a request presented: the scheme in lower case (`bearer`, `basic`, `x-api-key`) and its value.

    The scheme of a session cookie is `session`; only the REST API takes one.
    """

    scheme: str
    value: str


def csrf_token(cookie: str) -> str:
    """What a page must send as `X-CSRF-Token` with a change that a session cookie authenticates."""
    return blake2b(cookie.encode(), digest_size=24, person=b"csrf").hexdigest()


class AuthContext(msgspec.Struct, frozen=True):
    """Where a credential was presented: the virtual server's name (None for the admin API), client address and path.

    `client` is what the client calls itself (`User-Agent`), not to be trusted.
    """

    server: str | None
    address: str
    path: str
    client: str = ""


class Visit(msgspec.Struct, frozen=True):
    """The headers of a request that may carry a credential, and where it was presented.

    `cookie` is that of a session: a header is preferred to it, and only the REST API looks for one.
    """

    authorization: bytes | None
    api_key: bytes | None
    context: AuthContext
    cookie: str | None = None

    @property
    def is_cookie(self) -> bool:
        """Whether the cookie is the credential."""
        return self.cookie is not None and self.authorization is None and self.api_key is None

    @property
    def key(self) -> bytes | None:
        """A digest of the credential and of where it is presented; None without one."""
        if self.cookie is not None and self.is_cookie:
            return credential_key("/session", self.cookie.encode(), None)
        return credential_key(self.context.server, self.authorization, self.api_key)

    def credentials(self) -> Credentials:
        """The one credential; raises InvalidInput when there are two, Unauthenticated when it is malformed."""
        if self.authorization is not None and self.api_key is not None:
            raise InvalidInput("the request carries two credentials; send either Authorization or X-API-Key")
        if self.cookie is not None and self.is_cookie:
            return Credentials("session", self.cookie)
        if self.api_key is not None:
            return Credentials("x-api-key", self.api_key.decode("latin-1"))
        scheme, _, value = (self.authorization or b"").decode("latin-1").partition(" ")
        if not value.strip() or scheme.lower() == "session":  # a header would need no CSRF token
            raise Unauthenticated("the Authorization header has no credential; send 'Bearer <token>'")
        return Credentials(scheme.lower(), value.strip())


def credential_key(server: str | None, authorization: bytes | None, api_key: bytes | None) -> bytes | None:
    """A digest of a credential and of the server where it is presented (None: the REST API); None without one."""
    if authorization is None and api_key is None:
        return None
    return blake2b(b"%b\0%b\0%b" % ((server or "/").encode(), authorization or b"", api_key or b"")).digest()


class Authenticated(msgspec.Struct, frozen=True):
    """A verified credential. It may be cached until `cache_until` (monotonic seconds; 0 means never).

    Revoking any of `revoke_keys` drops it at once from every cache, with the streams and legs that it opened. It is
    accepted from clients in `networks` only, if there are any; that is looked at for every request. `claim` uses up a
    single-use credential before an administrative request, or raises Unauthenticated; calls are its provider's matter.
    `ends_at` (Unix seconds; 0: it does not) bounds what is made with it; then the principal's `credential` revokes it.
    """

    principal: Principal
    cache_until: float = 0.0
    revoke_keys: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    claim: Callable[[], Awaitable[None]] | None = None
    ends_at: float = 0.0


class Identity(msgspec.Struct, frozen=True):
    """Whom a password verifier or a login flow found: `subject` is what `provider` knows them by, for ever.

    Accounts are linked by these two, never by an e-mail address; `username` is what was typed, as the provider has it.
    """

    provider: str
    subject: str
    username: str


class Verdict(Enum):
    """No identity: the password is wrong, or there is nobody of that name and the next verifier may know them."""

    WRONG = "wrong"
    UNKNOWN = "unknown"


WRONG, UNKNOWN = Verdict.WRONG, Verdict.UNKNOWN


class PasswordVerifier(Protocol):
    """Says whether a password is somebody's. The `provider` of an account is the `name` of who answers for it."""

    name: str

    async def verify(self, username: str, password: str) -> Identity | Verdict:
        """Whose password it is, WRONG, or UNKNOWN; it takes the same time for whoever is not there.

        Raises:
            StoreUnavailable: nobody can say now; this is not held against whoever tries.
        """


class Authenticator(Protocol):
    """Turns a credential into a principal."""

    name: str

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        """Return who this is, or None when the credential is not of this provider's kind.

        Raises:
            Unauthenticated: the credential is of this provider's kind and not valid; nobody else is asked.
        """


class Decision(Enum):
    """The answer of one authorizer: one ALLOW and no DENY is needed."""

    ALLOW = "allow"
    DENY = "deny"
    ABSTAIN = "abstain"


class Resource(msgspec.Struct, frozen=True):
    """What a decision is about: `name` is canonical (`upstream/item`, or a server's or upstream's name).

    `server` is the virtual server of the request and `access` that server's setting, where there is one. `owner` is
    the id of a principal (`user:alice`) or a team (`team:ops`), or empty; whom of those who have the permission the
    object is for says `visibility`: its owner, the owning team, everybody; what a team owns is for the team at least.
    """

    name: str
    server: str = ""
    access: Literal["public", "authenticated", ""] = ""
    owner: str = ""
    visibility: Visibility = "public"

    def is_for(self, principal: Principal) -> bool:
        """Whether its visibility lets this principal see it; administrators may all the same."""
        if self.visibility == "public" or self.owner == principal.id:
            return True
        kind, _, team = self.owner.partition(":")
        return kind == "team" and team in principal.teams


class Authorizer(Protocol):
    """Decides in memory, synchronously.

    A `complete` one has an answer for every principal: with it, the built-in one, which lets every known principal use
    every server, does not act.
    """

    name: str
    complete: bool

    def decide(self, principal: Principal, action: str, resource: Resource) -> Decision:
        """Answer for one action such as `tools:call`, `servers:connect` or `upstreams:write`."""

    def visibility(self, principal: Principal, server: str) -> str:
        """A key such that principals with equal keys get equal decisions on `server` within one snapshot."""


@hookspec
def toolway_authenticators(kernel: Kernel) -> Iterable[Authenticator]:
    """Offer ways to turn a request into a `Principal`.

    Called: once, when the gateway is built.
    Used: for every request with a credential, in the order of `plugins.enable`; the first answer wins.
    On error: the request is refused with 401; an authenticator never falls through to the next by raising.
    Since: 1.0
    """


@hookspec
def toolway_authorizers(kernel: Kernel) -> Iterable[Authorizer]:
    """Offer decisions on who may do what.

    Called: once, when the gateway is built.
    Used: for every request and list; one `ALLOW` and no `DENY` is needed. A complete one replaces the built-in one.
    On error: the action is denied.
    Since: 1.0
    """


@hookspec
def toolway_password_verifiers(kernel: Kernel) -> Iterable[PasswordVerifier]:
    """Offer ways to verify a user name with a password.

    Called: once, when the gateway is built.
    Used: for sign-ins: the one that the account names as its provider, or for names without an account each in the
        order of `plugins.enable`, after the local passwords, until one does not answer UNKNOWN.
    On error: the sign-in is refused.
    Since: 1.0
    """
