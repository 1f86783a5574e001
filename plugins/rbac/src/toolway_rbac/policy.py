"""The compiled policy: what each principal may do. Immutable but for what it remembers; each change makes one."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TypeVar

import msgspec

from toolway.hookspecs.accounts import ADMIN, NO_ACCOUNTS, Accounts, TeamRole
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.permissions import LONGEST, Permission
from toolway_rbac.definitions import BUILTIN_ROLES, EVERYBODY, MANAGE, NOBODY, Effect, Role
from toolway_rbac.permits import ALL, Permits, parsed

REMEMBERED = 10_000
"""How many principals, sets of rights and decisions of each are remembered at most."""

RANKS: Mapping[TeamRole, int] = {"viewer": 0, "member": 1, "owner": 2}

K = TypeVar("K")
V = TypeVar("V")

LAST = "\U0010ffff"
"""Sorts after every name."""

BASELINE = "baseline"
"""In place of a binding's name: the setting of the plugin."""


class Bound(msgspec.Struct, frozen=True, gc=False):
    """A `Binding` as it is read from the tables: there may be many thousands."""

    name: str
    subject: str
    role: str = ""
    permission: str = ""
    effect: Effect = "allow"
    team_role: TeamRole | None = None
    expires_at: float | None = None

    @property
    def until(self) -> float:
        """When it ends, in seconds since 1970; infinity for never."""
        return math.inf if self.expires_at is None else self.expires_at


class Rules:
    """Allowed and denied permissions of all who have the same ones; `key` stands for them."""

    def __init__(self, allowed: frozenset[Permission], denied: frozenset[Permission]) -> None:
        self.allowed, self.denied = Permits(allowed), Permits(denied)
        self.is_admin = self.allowed.all and not self.denied.all
        text = "\n".join([*map(str, sorted(allowed)), "", *map(str, sorted(denied))])
        self.key = blake2b(text.encode(), digest_size=16).hexdigest()
        self._known: dict[tuple[str, str], bool | None] = {}

    def verdict(self, action: str, name: str) -> bool | None:
        """True for allowed, False for denied, None for neither."""
        asked = (action, name)
        try:
            return self._known[asked]
        except KeyError:
            found = self._verdict(action, name)
            if len(name) <= LONGEST:
                _remember(self._known, asked, found)
            return found

    def _verdict(self, action: str, name: str) -> bool | None:
        if self.denied.permit(action, name):
            return False
        return True if self.allowed.permit(action, name) else None


class Rights(msgspec.Struct, frozen=True):
    """What one principal may do until the first of its bindings expires (`until`, in seconds since 1970).

    `teams` are its teams with its role in each.
    """

    rules: Rules
    is_admin: bool
    teams: Mapping[str, TeamRole]
    until: float

    def manages(self, team: str) -> bool:
        """Whether it administers that team: it owns it, and may."""
        return self.teams.get(team) == "owner" and self.rules.verdict(MANAGE, team) is True


class Policy:
    """All roles and bindings, by whom they are for."""

    def __init__(
        self,
        roles: Mapping[str, Role] = BUILTIN_ROLES,
        bindings: Iterable[Bound] = (),
        accounts: Accounts = NO_ACCOUNTS,
        baseline: Sequence[str] = (),
    ) -> None:
        self.roles = roles
        self.accounts = accounts
        self.bindings = {each.name: each for each in bindings}
        self._permissions = {name: tuple(map(parsed, role.permissions)) for name, role in roles.items()}
        self._for: dict[str, list[Bound]] = {EVERYBODY: [Bound(BASELINE, EVERYBODY, role) for role in baseline]}
        for each in self.bindings.values():
            self._for.setdefault(each.subject, []).append(each)
        self._ends = sorted((each.until, each.name) for each in self.bindings.values() if each.expires_at is not None)
        self._rights: dict[tuple[object, ...], Rights] = {}
        self._seen: dict[int, tuple[Principal, Rights]] = {}
        self._rules: dict[tuple[frozenset[Permission], frozenset[Permission]], Rules] = {}

    def given(self, role: str, permission: str) -> tuple[Permission, ...]:
        """What a binding of a role or a permission gives or denies; a role that is gone gives nothing."""
        return (parsed(permission),) if permission else self._permissions.get(role, ())

    def needed(self, role: str, permission: str) -> tuple[Permission, ...]:
        """What whoever makes a binding of a role or a permission must hold: everything, of a role that is not known."""
        return self.given(role, permission) if permission or role in self.roles else (ALL,)

    def rights(self, principal: Principal, now: float) -> Rights:
        """What the principal may do at this time, in seconds since 1970; the same object asks again and again."""
        seen = self._seen.get(id(principal))
        if seen is not None and seen[0] is principal and seen[1].until > now:
            return seen[1]
        key = (principal.id, principal.kind, principal.teams, principal.groups, principal.scopes)
        known = self._rights.get(key)
        if known is None or known.until <= now:
            known = self._compiled(principal, now)
            _remember(self._rights, key, known)
        _remember(self._seen, id(principal), (principal, known))
        return known

    def bound(self, principal: Principal, now: float) -> Iterator[Bound]:
        """The bindings that are for this principal and not expired."""
        teams = self.team_roles(principal)
        for subject in _subjects(principal):
            for binding in self._for.get(subject, ()):
                if binding.until > now and _has_role(binding, teams):
                    yield binding

    def ended(self, after: float, until: float) -> list[tuple[str, float]]:
        """The bindings whose end is later than `after` and not later than `until`, with it."""
        start, stop = bisect_right(self._ends, (after, LAST)), bisect_right(self._ends, (until, LAST))
        return [(name, end) for end, name in self._ends[start:stop]]

    def team_roles(self, principal: Principal) -> Mapping[str, TeamRole]:
        """The principal's role in each of its teams: the least one where its account does not say."""
        account = self.accounts.get(principal.id)
        known: Mapping[str, TeamRole] = account.teams if account else {}
        return {team: known.get(team, "viewer") for team in principal.teams}

    def _compiled(self, principal: Principal, now: float) -> Rights:
        found = list(self.bound(principal, now))
        allowed = self._all(each for each in found if each.effect == "allow")
        denied = self._all(each for each in found if each.effect == "deny")
        if ADMIN in principal.scopes:
            allowed, denied = frozenset({ALL}), frozenset()
        rules = self._rules.get((allowed, denied))
        if rules is None:
            rules = Rules(allowed, denied)
            _remember(self._rules, (allowed, denied), rules)
        until = min((each.until for each in found), default=math.inf)
        return Rights(rules, rules.is_admin, self.team_roles(principal), until)

    def _all(self, bindings: Iterable[Bound]) -> frozenset[Permission]:
        return frozenset(one for each in bindings for one in self.given(each.role, each.permission))


def _remember(known: dict[K, V], key: K, value: V) -> None:
    """Keep it; what was kept is forgotten when there is too much of it."""
    if len(known) >= REMEMBERED:
        known.clear()
    known[key] = value


def _subjects(principal: Principal) -> Iterator[str]:
    """Every subject that means this principal."""
    if principal.kind == "anonymous":
        yield NOBODY
        return
    yield EVERYBODY
    if principal.id.startswith(("user:", "service:")):
        yield principal.id
    yield from (f"team:{team}" for team in principal.teams)
    yield from (f"group:{group}" for group in principal.groups)


def _has_role(binding: Bound, teams: Mapping[str, TeamRole]) -> bool:
    """Whether the role in the team is at least the one that the binding asks for."""
    if binding.team_role is None:
        return True
    return RANKS[teams[binding.subject.removeprefix("team:")]] >= RANKS[binding.team_role]
