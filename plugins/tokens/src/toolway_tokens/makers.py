"""Who may make tokens for whom, so that nobody gains by it; asked for a new token, and again for each verification.

- For oneself: the token is the account's own, within the limits of the credential that made it.
- Administrators may make tokens for every account: none has more rights than they.
- Others may make tokens for a service account that they or a team which they own owns, and for accounts whose
  tokens they may write. That account may have rights that the maker lacks, now or later, so such a token is
  *bounded*: it names each thing that it may do, without patterns, and the maker must be allowed every one of them.

A token made for another account ends working once its maker could not make it any more: is demoted, disabled, gone, no
owner any more, or lost a permission that a bounded token names.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from toolway.hookspecs.accounts import ADMIN, Account
from toolway.hookspecs.auth import Principal, Resource
from toolway.hookspecs.permissions import ITEM_ACTIONS, ITEM_AREAS, Limits, Permission
from toolway.plugin import Kernel, Unauthenticated

LOCAL_ADMIN = "admin"
"""The id of the principal of the local admin token, which is no account."""


def principal_of(
    kernel: Kernel, subject: str, credential: str, limits: Limits | None, *, single_use: bool
) -> Principal:
    """Whoever uses a token of this subject; raises Unauthenticated when that account is disabled or gone."""
    if subject == LOCAL_ADMIN:
        return Principal(
            LOCAL_ADMIN,
            "service",
            "local admin",
            scopes=frozenset({ADMIN}),
            credential=credential,
            limits=limits,
            single_use=single_use,
        )
    return kernel.accounts.principal(subject, credential, limits, single_use=single_use)


def resource_of(kernel: Kernel, jti: str, subject: str) -> Resource:
    """What a decision on a token of this subject is about: a service account's are its owner's as well."""
    account = kernel.accounts.get(subject)
    if account is not None and account.kind == "service" and account.owner:
        visible = "team" if account.owner.startswith("team:") else "private"
        return Resource(jti, owner=account.owner, visibility=visible)  # type: ignore[arg-type]
    return Resource(jti, owner=subject, visibility="private")


def owns(maker: Principal, account: Account | None, own: Account | None) -> bool:
    """Whether a service account belongs to the maker, whose own account is `own`, or to a team that they own."""
    if account is None or account.kind != "service" or not account.owner:
        return False
    kind, _, name = account.owner.partition(":")
    if kind == "team":
        return own is not None and own.teams.get(name) == "owner"
    return account.owner == maker.id


def objection(kernel: Kernel, maker: Principal, subject: str, limits: Limits | None) -> str:
    """Why this principal may not have a token of this subject with these limits; empty when it may.

    The maker's own limits are another matter: see `narrowing`.
    """
    if maker.id == subject or (ADMIN in maker.scopes and subject != LOCAL_ADMIN):
        return ""
    if subject == LOCAL_ADMIN:
        return "only the local admin makes tokens for the local admin"
    account, own = kernel.accounts.get(subject), kernel.accounts.get(maker.id)
    if account is None or not (
        owns(maker, account, own)
        or kernel.authorized(_unlimited(maker), "tokens:write", resource_of(kernel, "*", subject))
    ):
        return f"only {subject}, its owner or an administrator may make tokens for {subject}"
    return beyond(kernel, _unlimited(maker), limits or Limits())


def is_bounded(maker: Principal, subject: str) -> bool:
    """Whether a token is good only for what its maker may do too, so that it must be looked at more often."""
    return maker.id != subject and ADMIN not in maker.scopes


def beyond(kernel: Kernel, maker: Principal, limits: Limits) -> str:
    """The first thing that a bounded token could do and its maker could not, in words; empty when there is none."""
    if not limits.scopes:
        return "a token for another account must name its scopes"
    for text in (*limits.scopes, *limits.servers):
        if "*" in text:
            return f"a token for another account must name each thing that it may do, so {text} may have no *"
    scopes = [Permission.parse(text) for text in limits.scopes]
    uses_servers = any(scope.action.partition(":")[0] in ITEM_AREAS for scope in scopes)
    if uses_servers and not limits.servers:
        return "a token for another account that uses items must name its servers"
    connects = [Permission("servers:connect", name) for name in limits.servers] if uses_servers else []
    for needed in (*connects, *scopes):
        if not all(kernel.authorized(maker, needed.action, about) for about in _abouts(kernel, needed, limits.servers)):
            return f"its maker may not {needed.action} {needed.pattern}"
    return ""


def _abouts(kernel: Kernel, needed: Permission, servers: Iterable[str]) -> Iterable[Resource]:
    """What the decisions will be about: an item as each of the servers shows it."""
    about = kernel.describe(needed.action, needed.pattern)
    if needed.action not in ITEM_ACTIONS:
        return (about,)
    return [msgspec.structs.replace(about, server=server) for server in servers]


def maker_now(kernel: Kernel, maker: str) -> Principal:
    """The maker of a token as they are now; raises Unauthenticated when they are disabled or gone."""
    try:
        return principal_of(kernel, maker, "", None, single_use=False)
    except Unauthenticated:
        raise Unauthenticated("whoever made this token is disabled or gone; have it made anew") from None


def _unlimited(maker: Principal) -> Principal:
    """The principal without the limits of a credential: what counts here are the rights of the account."""
    return msgspec.structs.replace(maker, limits=None)
