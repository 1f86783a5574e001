"""Whoever makes a token gains nothing by it."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from token_node import ACCOUNTS, ADMIN_PRINCIPAL, Node

from toolway.hookspecs.accounts import Account
from toolway.hookspecs.auth import Authenticated, Principal
from toolway.hookspecs.permissions import Limits, Permission, Permissions, networks
from toolway.plugin import Forbidden, Unauthenticated
from toolway_tokens.makers import objection
from toolway_tokens.narrowing import Reach, excess, narrowed


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


def principal(name: str, limits: Limits | None = None) -> Principal:
    return ACCOUNTS.principal(name, "session:1", limits)


BOUNDED: dict[str, Any] = {"scopes": ["tools:call:a/x"], "servers": ["s"]}


def allow(node: Node, who: str, *permissions: str) -> None:
    rights = Permissions(Permission.parse(text) for text in permissions)
    node.allowed = lambda asking, action, resource: asking == who and rights.permit(action, resource.name)


@pytest.mark.parametrize(
    ("maker", "subject"),
    [("user:alice", ""), ("service:ci", ""), ("user:root", "user:bob"), ("user:root", "service:lone")],
)
async def test_for_oneself_and_by_administrators(node: Node, maker: str, subject: str) -> None:
    token, value = await node.make(principal(maker), subject=subject)

    assert (token.maker, token.subject) == (maker, subject or maker)
    assert (await node.maker_with(value)).principal.id == token.subject


@pytest.mark.parametrize("subject", ["user:bob", "user:root", "service:lone", "service:bot", "admin", "user:nobody"])
async def test_not_for_strangers_who_look_like_those_that_do_not_exist(node: Node, subject: str) -> None:
    allow(node, "user:alice", "tools:call:*", "servers:connect:*")

    with pytest.raises(Forbidden):
        await node.make(principal("user:alice"), subject=subject, **BOUNDED)


async def test_what_a_credential_of_another_kind_makes_ends_with_it_and_stays_in_its_networks(node: Node) -> None:
    who = Authenticated(
        ACCOUNTS.principal("user:alice", "card:1"), networks=networks(["10.0.0.0/8"]), ends_at=node.clock.time + 60
    )

    token, _ = await node.make(who)
    narrower, _ = await node.make(who, ttl="59s", networks=["10.1.0.0/16"])

    assert (token.expires_at, token.networks) == (who.ends_at, ("10.0.0.0/8",))
    assert (narrower.expires_at, narrower.networks) == (node.clock.time + 59, ("10.1.0.0/16",))
    with pytest.raises(Forbidden, match="does not cover its end"):
        await node.make(who, ttl="61s")
    with pytest.raises(Forbidden, match="does not cover its networks"):
        await node.make(who, networks=["192.0.2.0/24"])


async def test_administrators_do_not_become_the_local_admin(node: Node) -> None:
    with pytest.raises(Forbidden, match="only the local admin"):
        await node.make(principal("user:root"), subject="admin")
    token, value = await node.make(ADMIN_PRINCIPAL)
    assert (await node.maker_with(value)).principal.id == token.subject == "admin"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "must name its scopes"),
        ({"scopes": ["tools:call:*"], "servers": ["s"]}, "tools:call:\\* may have no \\*"),
        ({"scopes": ["admin:*"]}, "admin:\\* may have no"),
        ({"scopes": ["tools:*:a/x"], "servers": ["s"]}, "may have no"),
        ({"scopes": ["tools:call:a/x"]}, "must name its servers"),
        ({"scopes": ["tools:call:a/x"], "servers": ["s*"]}, "may have no"),
        ({"scopes": ["tools:call:a/y"], "servers": ["s"]}, "its maker may not tools:call a/y"),
        ({"scopes": ["tools:call:a/x"], "servers": ["t"]}, "its maker may not servers:connect t"),
    ],
)
async def test_an_owner_hands_on_only_what_is_theirs(node: Node, asked: dict[str, Any], sentence: str) -> None:
    allow(node, "user:alice", "tools:call:a/x", "servers:connect:s")

    with pytest.raises(Forbidden, match=sentence):
        await node.make(principal("user:alice"), subject="service:ci", **asked)


async def test_an_owner_makes_a_bounded_token_that_ends_with_their_own_rights(node: Node) -> None:
    allow(node, "user:alice", "tools:call:a/x", "servers:connect:s")
    _, value = await node.make(principal("user:alice"), subject="service:ci", **BOUNDED)
    found = await node.ask(value)
    assert found is not None and found.principal.id == "service:ci"
    assert found.cache_until - node.clock.monotonic() == 5 and "user:alice" in found.revoke_keys

    allow(node, "user:alice", "servers:connect:s")

    with pytest.raises(Unauthenticated, match="could not make it any more"):
        await node.ask(value)


async def test_a_token_ends_when_its_maker_is_demoted_or_gone(node: Node) -> None:
    _, value = await node.make(principal("user:root"), subject="user:bob")
    without = {one: account for one, account in ACCOUNTS.accounts.items() if one != "user:root"}

    for changed in (without, {**without, "user:root": Account("user", "root")}):
        node.accounts = msgspec.structs.replace(ACCOUNTS, accounts=changed)
        with pytest.raises(Unauthenticated):
            await node.ask(value)


async def test_what_is_made_with_a_token_of_another_maker_is_that_makers(node: Node) -> None:
    _, value = await node.make(principal("user:root"), subject="service:lone", ttl="2d")
    sponsored = await node.maker_with(value)

    token, _ = await node.make(sponsored, ttl="1d")

    assert (token.subject, token.maker) == ("service:lone", "user:root")
    with pytest.raises(Forbidden):
        await node.make(sponsored, subject="service:ci", **BOUNDED)


@pytest.mark.parametrize(
    ("own", "asked", "sentence"),
    [
        ({"scopes": ["tokens:*:*", "tools:call:a/*"]}, {"scopes": ["tools:call:b/x"]}, "the scope tools:call:b/x"),
        ({"scopes": ["tokens:*:*", "tools:call:a/*"]}, {"scopes": ["admin:*"]}, "the scope admin:"),
        ({"scopes": ["tokens:*:*", "tools:call:a/*"]}, {"scopes": ["tools:*:a/*"]}, "the scope tools:"),
        ({"networks": ["10.0.0.0/8"]}, {"networks": ["0.0.0.0/0"]}, "its networks"),
        ({"networks": ["10.0.0.0/8"]}, {"networks": ["::/0"]}, "its networks"),
        ({"ttl": "1d"}, {"ttl": "2d"}, "its end"),
        ({"servers": ["s"]}, {"servers": ["s"]}, "not good for making tokens"),
        ({"items": ["a/*"]}, {}, "not good for making tokens"),
        ({"scopes": ["tools:call:*"]}, {"scopes": ["tools:call:*"]}, "not good for making tokens"),
    ],
)
async def test_a_limited_token_makes_none_beyond_its_limits(
    node: Node, own: dict[str, Any], asked: dict[str, Any], sentence: str
) -> None:
    _, value = await node.make(subject="user:root", **own)

    with pytest.raises(Forbidden, match=sentence):
        await node.make(await node.maker_with(value), **asked)


async def test_what_is_not_asked_for_is_as_limited_as_what_makes_it(node: Node) -> None:
    limits: dict[str, Any] = {"scopes": ["tokens:*:*", "tools:call:a/*"], "networks": ["10.0.0.0/8"]}
    first, value = await node.make(subject="user:alice", ttl="1h", **limits)

    second, _ = await node.make(await node.maker_with(value))

    assert (second.scopes, second.networks, second.expires_at) == (first.scopes, first.networks, first.expires_at)
    assert second.parent == first.jti


NAMES = ["a/x", "a/y", "b/x"]
ACTIONS = ["tools:call", "tools:list", "prompts:get", "servers:connect", "upstreams:write"]
SERVERS = ["s", "t"]
patterns = st.sampled_from([*NAMES, *SERVERS, "*", "a/*", "*x", "?/x", "a/[x]"])
actions = st.sampled_from([*ACTIONS, "tools:*", "prompts:*"])
scopes = st.one_of(st.builds("{}:{}".format, actions, patterns), st.just("admin:*"))
all_limits = st.builds(
    lambda scopes, servers, items: Limits(tuple(scopes), tuple(servers), tuple(items)),
    st.lists(scopes, max_size=3),
    st.lists(st.sampled_from([*SERVERS, "*", "s*"]), max_size=2),
    st.lists(patterns, max_size=2),
)
EVERY_DECISION = [
    (action, name, server)
    for action in ACTIONS
    for name in (SERVERS if action == "servers:connect" else NAMES)
    for server in (SERVERS if action in ("tools:call", "prompts:get") else [name])
]


@given(own=all_limits, wanted=all_limits, inherits=st.booleans())
@settings(max_examples=300)
def test_what_is_within_the_limits_permits_nothing_beyond_them(own: Limits, wanted: Limits, inherits: bool) -> None:
    reach = narrowed(Reach(wanted), Reach(own)) if inherits else Reach(wanted)
    if excess(reach, Reach(own)):
        return
    for action, name, server in EVERY_DECISION:
        assert not reach.limits.permit(action, name, server) or own.permit(action, name, server)


EXACT = st.builds("{}:{}".format, st.sampled_from(ACTIONS), st.sampled_from([*NAMES, *SERVERS]))
exact_limits = st.builds(
    lambda scopes, servers: Limits(tuple(scopes), tuple(servers)),
    st.lists(EXACT, min_size=1, max_size=3),
    st.lists(st.sampled_from(SERVERS), max_size=2),
)


@given(denied=st.lists(st.sampled_from(EVERY_DECISION), max_size=6), limits=st.one_of(exact_limits, all_limits))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_bounded_token_may_do_nothing_that_its_maker_may_not(
    node: Node, denied: list[tuple[str, str, str]], limits: Limits
) -> None:
    """Its maker may do everything but some things, as no set of patterns could say it, and not the same everywhere."""
    node.allowed = lambda _, action, about: (action, about.name, about.server or about.name) not in denied
    if objection(node, principal("user:alice"), "service:ci", limits):  # type: ignore[arg-type]
        return
    for action, name, server in EVERY_DECISION:
        if limits.permit(action, name, server):
            assert (action, name, server) not in denied
