"""What holds for every policy: fewer rights never see more, and all answers about one thing agree."""

from __future__ import annotations

from hypothesis import given, strategies as st

from toolway.hookspecs.accounts import Account, Accounts, Team, TeamRole
from toolway.hookspecs.auth import ANONYMOUS, Decision, Principal, Resource
from toolway_rbac.authorizer import USING, RbacAuthorizer
from toolway_rbac.definitions import BUILTIN_ROLES
from toolway_rbac.explanation import explain
from toolway_rbac.policy import Bound, Policy

NOW = 1_000_000.0
World = dict[str, dict[str, TeamRole]]
"""The teams of every user, with the role in each: few names, so that bindings meet each other."""

TEAMS = ("ops", "web")
ROLES: tuple[TeamRole, ...] = ("viewer", "member", "owner")
USERS = ("user:alice", "user:bob", "service:bot")
NAMES = ("*", "ops/a", "ops/b", "web/a", "ops", "web", "b0", "b1")
PATTERNS = (*NAMES, "ops/*", "*/a", "o*s/a")
ACTIONS = (
    *("tools:call", "prompts:get", "resources:read", "servers:connect", "servers:read", "upstreams:write"),
    *("bindings:read", "bindings:write", "teams:read", "teams:write", "teams:manage"),
)

names = st.sampled_from(NAMES)
actions = st.sampled_from(ACTIONS)
owners = st.sampled_from(("", *USERS, *(f"team:{team}" for team in TEAMS)))

memberships = st.dictionaries(st.sampled_from(TEAMS), st.sampled_from(ROLES))
worlds = st.fixed_dictionaries(dict.fromkeys(USERS, memberships))

permissions = st.one_of(
    st.just("admin:*"),
    st.builds("{}:{}".format, st.sampled_from((*ACTIONS, "servers:*", "teams:*")), st.sampled_from(PATTERNS)),
)
subjects = st.sampled_from((*USERS, *(f"team:{team}" for team in TEAMS), "group:staff", "*", "anonymous"))


@st.composite
def bindings(draw: st.DrawFn) -> list[Bound]:
    """Some bindings of roles and permissions, some of them over."""
    count = draw(st.integers(0, 6))
    return [draw(_binding(f"b{number}")) for number in range(count)]


@st.composite
def _binding(draw: st.DrawFn, name: str) -> Bound:
    role = draw(st.sampled_from(("", *BUILTIN_ROLES)))
    subject, effect = draw(subjects), draw(st.sampled_from(("allow", "allow", "deny")))
    may_name_role = subject.startswith("team:") and effect == "allow"
    return Bound(
        name,
        subject,
        role,
        "" if role else draw(permissions),
        effect,  # type: ignore[arg-type]
        draw(st.sampled_from((None, *ROLES))) if may_name_role else None,
        draw(st.sampled_from((None, None, NOW - 1, NOW + 1))),
    )


def accounts(world: World) -> Accounts:
    """The users and teams of a world."""
    found = {
        user: Account("service" if user.startswith("service:") else "user", user.partition(":")[2], teams=teams)
        for user, teams in world.items()
    }
    return Accounts(found, {team: Team(team) for team in TEAMS})


def principal(user: str, world: dict[str, dict[str, TeamRole]], groups: tuple[str, ...] = ()) -> Principal:
    """Of a user of this world, or nobody."""
    if user == "anonymous":
        return ANONYMOUS
    return Principal(user, teams=tuple(sorted(world[user])), groups=groups)


users = st.sampled_from((*USERS, "anonymous"))
resources = st.builds(
    Resource,
    names,
    server=st.just("s"),
    access=st.sampled_from(("public", "authenticated")),
    owner=owners,
    visibility=st.sampled_from(("private", "team", "public")),
)


def describe(action: str, name: str) -> Resource:
    return Resource(name)


def decide(bound: list[Bound], world: World, who: Principal, action: str, resource: Resource) -> Decision:
    policy = Policy(bindings=bound, accounts=accounts(world))
    return RbacAuthorizer(lambda: policy, lambda: NOW, describe).decide(who, action, resource)


@given(bindings(), worlds, users, actions, resources, st.data())
def test_without_one_of_its_bindings_nobody_may_do_more(
    bound: list[Bound], world: World, user: str, action: str, resource: Resource, data: st.DataObject
) -> None:
    allowing = [each for each in bound if each.effect == "allow"]
    gone = data.draw(st.sampled_from([None, *allowing]))
    who = principal(user, world, ("staff",))

    less = decide([each for each in bound if each is not gone], world, who, action, resource)

    assert less is not Decision.ALLOW or decide(bound, world, who, action, resource) is Decision.ALLOW


@given(bindings(), worlds, users, actions, resources, permissions, st.sampled_from(("*", "anonymous", "team:ops")))
def test_one_more_denial_never_allows_anything(
    bound: list[Bound], world: World, user: str, action: str, resource: Resource, permission: str, subject: str
) -> None:
    who = principal(user, world)
    denial = Bound("denial", subject, "", permission, "deny")

    with_denial = decide([*bound, denial], world, who, action, resource)

    assert with_denial is not Decision.ALLOW or decide(bound, world, who, action, resource) is Decision.ALLOW


@given(bindings(), worlds, users, actions, resources)
def test_fewer_teams_and_groups_never_allow_more_but_for_what_was_denied_to_them(
    bound: list[Bound], world: World, user: str, action: str, resource: Resource
) -> None:
    allowing = [each for each in bound if each.effect == "allow"]
    member, alone = principal(user, world, ("staff",)), Principal(user, kind="user")
    if user == "anonymous":
        return

    less = decide(allowing, world, alone, action, resource)

    assert less is not Decision.ALLOW or decide(allowing, world, member, action, resource) is Decision.ALLOW


@given(bindings(), worlds, users, actions, resources)
def test_what_is_denied_is_denied_to_all_but_administrators(
    bound: list[Bound], world: World, user: str, action: str, resource: Resource
) -> None:
    who = principal(user, world)
    policy = Policy(bindings=bound, accounts=accounts(world))
    found = explain(policy, who, action, resource, NOW, describe)

    decision = RbacAuthorizer(lambda: policy, lambda: NOW, describe).decide(who, action, resource)

    if found.denied_by and not policy.rights(who, NOW).is_admin:
        assert decision is Decision.DENY


@given(bindings(), worlds, users, actions, resources)
def test_an_explanation_agrees_with_the_decision_and_names_what_decided(
    bound: list[Bound], world: World, user: str, action: str, resource: Resource
) -> None:
    who = principal(user, world, ("staff",))
    policy = Policy(bindings=bound, accounts=accounts(world))

    found = explain(policy, who, action, resource, NOW, describe)

    decision = RbacAuthorizer(lambda: policy, lambda: NOW, describe).decide(who, action, resource)
    assert found.allowed == (decision is Decision.ALLOW)
    assert found.reason


@given(bindings(), worlds, users, users, resources)
def test_equal_keys_mean_equal_decisions_about_what_everybody_may_see(
    bound: list[Bound], world: World, one: str, other: str, resource: Resource
) -> None:
    policy = Policy(bindings=bound, accounts=accounts(world), baseline=("caller",))
    authorizer = RbacAuthorizer(lambda: policy, lambda: NOW, describe)
    first, second = principal(one, world), principal(other, world)
    shown = Resource(resource.name, resource.server, resource.access, resource.owner)

    if authorizer.visibility(first, "s") == authorizer.visibility(second, "s"):
        for action in USING:
            assert authorizer.decide(first, action, shown) is authorizer.decide(second, action, shown)


@given(bindings(), worlds, users)
def test_decisions_are_the_same_when_they_are_remembered(bound: list[Bound], world: World, user: str) -> None:
    policy = Policy(bindings=bound, accounts=accounts(world))
    authorizer = RbacAuthorizer(lambda: policy, lambda: NOW, describe)
    who = principal(user, world)
    asked = [(action, Resource(name)) for action in ACTIONS for name in NAMES]

    first = [authorizer.decide(who, *each) for each in asked]

    assert [authorizer.decide(who, *each) for each in asked] == first
    assert [decide(bound, world, who, *each) for each in asked] == first
