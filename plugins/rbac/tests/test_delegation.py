"""Nobody gives away more than they have."""

from __future__ import annotations

import msgspec
import pytest

from toolway.hookspecs.accounts import ADMIN, Account, Accounts, Team
from toolway.hookspecs.auth import Principal, Resource
from toolway.hookspecs.permissions import Limits, Permission
from toolway.plugin import Forbidden
from toolway_rbac.definitions import BUILTIN_ROLES, Binding
from toolway_rbac.delegation import Delegation
from toolway_rbac.policy import Bound, Policy

ACCOUNTS = Accounts(
    {
        "user:olga": Account("user", "olga", teams={"ops": "owner"}),
        "user:fred": Account("user", "fred"),
        "user:vera": Account("user", "vera", teams={"ops": "viewer"}),
    },
    {"ops": Team("ops")},
)
OLGA = Principal("user:olga", teams=("ops",))
FRED = Principal("user:fred")
ADMINISTRATOR = Principal("user:root", scopes=frozenset({ADMIN}))


def describe(action: str, name: str) -> Resource:
    """Olga's team owns the upstream `theirs`."""
    return Resource(name, owner="team:ops" if name == "theirs" else "")


def delegation(principal: Principal, *bound: Bound) -> Delegation:
    return Delegation(Policy(BUILTIN_ROLES, bound, ACCOUNTS), principal, 0.0, describe)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("tools:call:billing/refund", True),
        ("tools:call:billing/*", True),
        ("tools:call:*", False),
        ("tools:call:b*", False),
        ("tools:*:billing/*", False),
        ("prompts:get:billing/x", False),
        ("admin:*", False),
    ],
)
def test_who_has_a_permission_holds_what_is_within_it(wanted: str, expected: bool) -> None:
    mine = delegation(FRED, Bound("b", "user:fred", permission="tools:call:billing/*"))

    assert mine.holds(Permission.parse(wanted)) is expected


def test_what_is_partly_denied_is_not_held() -> None:
    denial = Bound("d", "*", permission="tools:call:*/refund", effect="deny")
    mine = delegation(FRED, Bound("b", "user:fred", permission="tools:call:billing/*"), denial)

    assert not mine.holds(Permission.parse("tools:call:billing/*"))
    assert mine.holds(Permission.parse("tools:call:billing/list"))


def test_an_administrator_holds_everything_within_the_limits_of_the_credential() -> None:
    limited = msgspec.structs.replace(ADMINISTRATOR, limits=Limits(("bindings:*:*", "tools:call:*")))

    assert delegation(ADMINISTRATOR).holds(Permission.parse("admin:*"))
    assert delegation(limited).holds(Permission.parse("tools:call:billing/*"))
    assert not delegation(limited).holds(Permission.parse("admin:*"))


def test_what_a_team_owns_its_members_may_hand_out_object_by_object() -> None:
    assert delegation(OLGA).holds(Permission.parse("upstreams:write:theirs"))
    assert not delegation(OLGA).holds(Permission.parse("upstreams:write:the*"))
    assert not delegation(OLGA).holds(Permission.parse("servers:*:theirs"))
    assert not delegation(FRED).holds(Permission.parse("upstreams:write:theirs"))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(Forbidden, match="tools:call:\\*, which you do not have yourself"):
        delegation(FRED).demand([Permission.parse("tools:call:*")])


@pytest.mark.parametrize(
    ("subject", "effect", "allowed"),
    [
        ("team:ops", "allow", True),
        ("user:vera", "allow", True),
        ("team:ops", "deny", False),
        ("user:fred", "allow", False),
        ("*", "allow", False),
        ("group:staff", "allow", False),
        ("anonymous", "allow", False),
    ],
)
def test_who_administers_a_team_may_allow_something_to_its_subjects(subject: str, effect: str, allowed: bool) -> None:
    mine = delegation(OLGA, Bound("t", "team:ops", "team-admin"))
    binding = Binding.model_validate({"name": "b", "subject": subject, "role": "caller", "effect": effect})

    if allowed:
        mine.check_subject(binding)
    else:
        with pytest.raises(Forbidden, match="bindings:write"):
            mine.check_subject(binding)


def test_who_administers_a_team_ends_only_what_they_hold() -> None:
    mine = delegation(OLGA, Bound("t", "team:ops", "team-admin"))

    mine.check_binding(Binding(name="b", subject="user:vera", role="viewer"), None)
    with pytest.raises(Forbidden, match="takes admin:\\*, which you do not have yourself"):
        mine.check_binding(Binding(name="b", subject="user:vera", role="admin"), None)


def test_who_has_the_permission_ends_what_they_do_not_hold() -> None:
    mine = delegation(FRED, Bound("t", "user:fred", permission="bindings:write:*"))

    mine.check_binding(Binding(name="b", subject="user:vera", role="admin"), None)


def test_who_has_the_permission_may_write_bindings_of_every_subject() -> None:
    mine = delegation(FRED, Bound("t", "user:fred", permission="bindings:write:*"))

    mine.check_subject(Binding(name="b", subject="*", role="caller", effect="deny"))
