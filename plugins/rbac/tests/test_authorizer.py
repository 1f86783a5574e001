"""Who may do what under a policy, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from toolway.hookspecs.accounts import ADMIN, Account, Accounts, Team
from toolway.hookspecs.auth import ANONYMOUS, Decision, Principal, Resource
from toolway_rbac.authorizer import RbacAuthorizer
from toolway_rbac.definitions import BUILTIN_ROLES, Role
from toolway_rbac.policy import Bound, Policy
from toolway_testing.clock import MovedClock

ALLOW, DENY, ABSTAIN = Decision.ALLOW, Decision.DENY, Decision.ABSTAIN
ACCOUNTS = Accounts(
    {
        "user:olga": Account("user", "olga", teams={"ops": "owner"}),
        "user:max": Account("user", "max", teams={"ops": "member"}),
        "user:vera": Account("user", "vera", teams={"ops": "viewer"}),
        "user:fred": Account("user", "fred", teams={"web": "owner"}),
        "service:bot": Account("service", "bot", owner="team:ops"),
    },
    {"ops": Team("ops"), "web": Team("web")},
)
OWNED = Resource("up", owner="team:ops", visibility="team")


def who(name: str, **more: Any) -> Principal:
    account = ACCOUNTS.accounts[name]
    return Principal(account.id, account.kind, account.name, tuple(account.teams), **more)


OLGA, MAX, VERA, FRED = who("user:olga"), who("user:max"), who("user:vera"), who("user:fred")


def describe(action: str, name: str) -> Resource:
    return OWNED if name == OWNED.name else Resource(name)


def decide(
    principal: Principal, action: str, resource: Resource | str, *bound: Bound, baseline: tuple[str, ...] = ()
) -> Decision:
    about = Resource(resource) if isinstance(resource, str) else resource
    policy = Policy(BUILTIN_ROLES, bound, ACCOUNTS, baseline)
    return RbacAuthorizer(lambda: policy, MovedClock().now, describe).decide(principal, action, about)


@pytest.mark.parametrize("subject", ["user:max", "team:ops", "group:staff", "*"])
def test_a_binding_is_for_its_subject(subject: str) -> None:
    binding = Bound("b", subject, permission="tools:call:up/*")

    assert decide(who("user:max", groups=("staff",)), "tools:call", "up/x", binding) is ALLOW
    assert decide(who("user:max", groups=("staff",)), "tools:call", "other/x", binding) is ABSTAIN
    assert decide(ANONYMOUS, "tools:call", "up/x", binding) is ABSTAIN


def test_a_principal_whose_id_is_no_accounts_gets_what_everybody_gets() -> None:
    odd = Principal("team:ops", "service")

    assert decide(odd, "tools:call", "up/x", Bound("b", "team:ops", "caller")) is ABSTAIN
    assert decide(odd, "tools:call", "up/x", Bound("b", "*", "caller")) is ALLOW


@pytest.mark.parametrize(("team_role", "allowed"), [("viewer", "omv"), ("member", "om"), ("owner", "o"), (None, "omv")])
def test_a_binding_of_a_team_may_ask_for_a_role_in_it(team_role: Any, allowed: str) -> None:
    binding = Bound("b", "team:ops", "caller", team_role=team_role)

    found = [name for name, each in zip("omvf", (OLGA, MAX, VERA, FRED), strict=True)
             if decide(each, "tools:call", "up/x", binding) is ALLOW]  # fmt: skip

    assert "".join(found) == allowed


def test_a_role_in_a_team_that_no_account_tells_is_the_least() -> None:
    guest = Principal("guest", teams=("ops",))

    assert decide(guest, "tools:call", "up/x", Bound("b", "team:ops", "caller", team_role="member")) is ABSTAIN
    assert decide(guest, "upstreams:read", OWNED) is ALLOW
    assert decide(guest, "upstreams:write", OWNED) is ABSTAIN


def test_what_is_denied_is_denied_to_owners_and_to_whom_something_else_allows_it() -> None:
    denial = Bound("d", "*", permission="upstreams:write:up", effect="deny")
    allowed = Bound("a", "user:max", permission="upstreams:*:*")

    assert decide(MAX, "upstreams:write", OWNED, allowed, denial) is DENY
    assert decide(MAX, "upstreams:read", OWNED, allowed, denial) is ALLOW


def test_a_role_that_is_denied_takes_all_its_permissions() -> None:
    denial = Bound("d", "user:max", "caller", effect="deny")

    assert decide(MAX, "tools:call", "up/x", denial, baseline=("caller",)) is DENY
    assert decide(VERA, "tools:call", "up/x", denial, baseline=("caller",)) is ALLOW


def test_administrators_do_everything_whatever_is_denied_or_private() -> None:
    denial = Bound("d", "*", permission="upstreams:write:*", effect="deny")
    hidden = Resource("up", owner="user:max", visibility="private")

    assert decide(who("user:fred", scopes=frozenset({ADMIN})), "upstreams:write", hidden, denial) is ALLOW
    assert decide(FRED, "upstreams:write", hidden, denial, Bound("a", "user:fred", "admin")) is ALLOW


def test_a_denial_of_everything_ends_what_a_binding_made_but_not_an_administrators_account() -> None:
    bindings = (Bound("a", "user:fred", "admin"), Bound("d", "user:fred", permission="admin:*", effect="deny"))

    assert decide(FRED, "upstreams:read", "up", *bindings) is DENY
    assert decide(who("user:fred", scopes=frozenset({ADMIN})), "upstreams:read", "up", *bindings) is ALLOW


def test_members_and_owners_of_a_team_change_what_it_owns_and_viewers_read_it() -> None:
    assert [decide(each, "upstreams:write", OWNED) for each in (OLGA, MAX, VERA, FRED)] == [ALLOW, ALLOW, ABSTAIN, DENY]
    assert [decide(each, "upstreams:read", OWNED) for each in (OLGA, MAX, VERA, FRED)] == [ALLOW, ALLOW, ALLOW, DENY]


def test_what_is_not_for_somebody_is_refused_in_spite_of_a_permission() -> None:
    private = Resource("up", owner="user:max", visibility="private")

    assert decide(OLGA, "upstreams:read", private, Bound("b", "*", "developer")) is DENY
    assert decide(MAX, "upstreams:read", private) is ALLOW


def test_to_own_something_is_not_to_use_it() -> None:
    assert decide(MAX, "servers:connect", Resource("s", owner="user:max")) is ABSTAIN
    assert decide(MAX, "tools:call", Resource("up/x", owner="user:max")) is ABSTAIN


def test_to_own_an_account_is_not_to_change_it() -> None:
    assert decide(MAX, "service-accounts:write", Resource("bot", owner="team:ops")) is ABSTAIN
    assert decide(MAX, "service-accounts:read", Resource("bot", owner="team:ops")) is ALLOW


@pytest.mark.parametrize("principal", [ANONYMOUS, FRED])
def test_a_public_server_is_for_everybody_to_whom_it_is_not_denied(principal: Principal) -> None:
    public = Resource("s", "s", "public")
    denial = Bound("d", "*" if principal is FRED else "anonymous", permission="servers:connect:s", effect="deny")

    assert decide(principal, "servers:connect", public) is ALLOW
    assert decide(principal, "tools:call", Resource("up/x", "s", "public")) is ALLOW
    assert decide(principal, "servers:read", public) is ABSTAIN
    assert decide(principal, "servers:connect", public, denial) is DENY


def test_the_baseline_is_what_everybody_with_a_credential_has() -> None:
    assert decide(FRED, "servers:connect", "s", baseline=("caller",)) is ALLOW
    assert decide(FRED, "servers:connect", "s") is ABSTAIN
    assert decide(ANONYMOUS, "servers:connect", "s", baseline=("caller",)) is ABSTAIN


def test_a_role_that_is_gone_gives_nothing() -> None:
    assert decide(FRED, "tools:call", "up/x", Bound("b", "user:fred", "gone")) is ABSTAIN


def test_a_declared_role_gives_what_it_says() -> None:
    role = Role(name="biller", permissions=("tools:call:billing/*",))
    policy = Policy({**BUILTIN_ROLES, "biller": role}, [Bound("b", "user:fred", "biller")], ACCOUNTS)
    authorizer = RbacAuthorizer(lambda: policy, MovedClock().now, describe)

    assert authorizer.decide(FRED, "tools:call", Resource("billing/pay")) is ALLOW
    assert authorizer.decide(FRED, "tools:call", Resource("other/pay")) is ABSTAIN


def test_a_binding_ends_at_its_time_for_decisions_and_lists() -> None:
    clock = MovedClock()
    policy = Policy(BUILTIN_ROLES, [Bound("b", "user:fred", "caller", expires_at=clock.time + 10)], ACCOUNTS)
    authorizer = RbacAuthorizer(lambda: policy, clock.now, describe)
    before = authorizer.visibility(FRED, "s")
    assert authorizer.decide(FRED, "tools:call", Resource("up/x")) is ALLOW

    clock.time += 10

    assert authorizer.decide(FRED, "tools:call", Resource("up/x")) is ABSTAIN
    assert authorizer.visibility(FRED, "s") != before


def test_what_ended_meanwhile_is_told() -> None:
    ends = {"a": 10.0, "b": 20.0, "c": 20.0, "d": None}
    policy = Policy(bindings=[Bound(name, "*", "caller", expires_at=end) for name, end in ends.items()])

    assert policy.ended(10.0, 20.0) == [("b", 20.0), ("c", 20.0)]
    assert policy.ended(0.0, 19.9) == [("a", 10.0)]
    assert policy.ended(20.0, 30.0) == []


@pytest.mark.parametrize(
    ("principal", "subject", "expected"),
    [
        (OLGA, "team:ops", ALLOW),
        (OLGA, "user:vera", ALLOW),
        (OLGA, "service:bot", ALLOW),
        (OLGA, "user:fred", ABSTAIN),
        (OLGA, "*", ABSTAIN),
        (MAX, "team:ops", ABSTAIN),
        (FRED, "team:ops", ABSTAIN),
    ],
)
def test_who_administers_a_team_handles_the_bindings_of_its_subjects(
    principal: Principal, subject: str, expected: Decision
) -> None:
    bindings = (Bound("t", "*", "team-admin"), Bound("b", subject, "viewer"))

    assert decide(principal, "bindings:write", "b", *bindings) is expected
    assert decide(principal, "bindings:read", "b", *bindings) is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"role": "viewer"}, ALLOW),
        ({"permission": "upstreams:write:up"}, ALLOW),
        ({"permission": "upstreams:write:other"}, ABSTAIN),
        ({"role": "admin"}, ABSTAIN),
        ({"role": "gone"}, ABSTAIN),
        ({"role": "viewer", "effect": "deny"}, ABSTAIN),
    ],
)
def test_who_administers_a_team_handles_only_bindings_that_they_could_make(
    given: dict[str, Any], expected: Decision
) -> None:
    bindings = (Bound("t", "*", "team-admin"), Bound("b", "user:vera", **given))

    assert decide(OLGA, "bindings:write", "b", *bindings) is expected
    assert decide(OLGA, "bindings:read", "b", *bindings) is expected


def test_who_administers_a_team_changes_that_team() -> None:
    binding = Bound("t", "*", "team-admin")

    assert decide(OLGA, "teams:write", "ops", binding) is ALLOW
    assert decide(OLGA, "teams:write", "web", binding) is ABSTAIN
    assert decide(MAX, "teams:write", "ops", binding) is ABSTAIN
    assert decide(OLGA, "teams:write", "ops") is ABSTAIN


def test_decisions_on_names_that_somebody_makes_up_are_not_remembered() -> None:
    policy = Policy(BUILTIN_ROLES, [], ACCOUNTS, ["caller"])
    rules = policy.rights(Principal("user:fred"), 0.0).rules
    assert rules.verdict("resources:read", "a/x") is True
    before = len(rules._known)

    assert rules.verdict("resources:read", "a/" + "x" * 100_000) is True

    assert len(rules._known) == before
