"""Who gets in, within which limits, and what revoked and bad credentials meet."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from toolway.catalog.parts import EVERY_KEY
from toolway.errors import StoreUnavailable, TooManyFailures, Unauthenticated
from toolway.gateway.access import FAILURES, REFUSED_SECONDS, Access
from toolway.hookspecs.auth import (
    AuthContext,
    Authenticated,
    Credentials,
    Decision,
    Principal,
    Resource,
    Visit,
    credential_key,
    csrf_token,
)
from toolway.hookspecs.permissions import Limits, Permission, Permissions, networks
from toolway_testing.clock import MovedClock

BILLING = Resource("billing/pay", "support")


class Door:
    """Accepts the bearer `good`, for a while and perhaps from some networks only."""

    name = "door"

    def __init__(self, clock: MovedClock) -> None:
        self.clock, self.asked, self.networks = clock, 0, networks(())
        self.is_away = False

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable("the database does not answer")
        if credentials.value != "good":
            raise Unauthenticated("not good")
        until = self.clock.monotonic() + 60
        return Authenticated(Principal("user:alice"), until, ("token:1", "user:alice"), self.networks)


class Everybody:
    """Allows everything, but for what is called `secret`."""

    name = "everybody"
    complete = True

    def decide(self, principal: Principal, action: str, resource: Resource) -> Decision:
        return Decision.DENY if resource.name == "secret" else Decision.ALLOW

    def visibility(self, principal: Principal, server: str) -> str:
        return ""


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def door(clock: MovedClock) -> Door:
    return Door(clock)


@pytest.fixture
def access(door: Door, clock: MovedClock) -> Access:
    return Access([door], [Everybody()], clock)


def visit(value: str = "good", address: str = "127.0.0.1", server: str = "all") -> Visit:
    return Visit(f"Bearer {value}".encode(), None, AuthContext(server, address, "/mcp"))


async def test_a_revoked_credential_is_asked_about_again(access: Access, door: Door) -> None:
    gone: list[frozenset[str]] = []
    access.dropped = gone.append
    for keys in ({"token:2"}, {"user:alice"}, {EVERY_KEY}):
        await access.authenticate(visit())
        access.revoke(frozenset(keys))

    await access.authenticate(visit())

    assert door.asked == 3
    assert gone == [frozenset(), {"user:alice"}, {"user:alice"}]


async def test_a_credential_is_accepted_from_its_networks_only_however_often_it_was_seen(
    access: Access, door: Door
) -> None:
    door.networks = networks(["10.0.0.0/8", "2001:db8::/32"])

    for address in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"):
        await access.authenticate(visit(address=address))
        assert access.remembered(credential_key("all", b"Bearer good", None)) is None
    for address in ("127.0.0.1", "11.0.0.1", "", "10.0.0.0/8"):
        with pytest.raises(Unauthenticated, match="not accepted from this address"):
            await access.authenticate(visit(address=address))
    assert door.asked == 1


async def test_a_bad_credential_is_verified_once_in_a_while(access: Access, door: Door, clock: MovedClock) -> None:
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await access.authenticate(visit("bad"))
    assert door.asked == 1

    clock.time += REFUSED_SECONDS + 1
    with pytest.raises(Unauthenticated, match="not good"):
        await access.authenticate(visit("bad"))
    assert door.asked == 2


async def test_many_bad_credentials_are_told_to_wait_and_good_ones_are_not_in_the_way(access: Access) -> None:
    for number in range(FAILURES):
        with pytest.raises(Unauthenticated):
            await access.authenticate(visit(f"bad {number}"))

    with pytest.raises(TooManyFailures) as refused:
        await access.authenticate(visit("another"))

    assert 0 < refused.value.details["retry_after"] <= 60
    assert (await access.authenticate(visit())).principal.id == "user:alice"
    with pytest.raises(Unauthenticated):
        await access.authenticate(visit("bad", "10.0.0.1"))


async def test_what_is_not_to_be_remembered_is_not(access: Access, door: Door) -> None:
    for number in range(3):
        await access.authenticate(visit(server=f"made-up-{number}"), remember=False)

    assert door.asked == 3
    assert not access._known


async def test_a_credential_that_cannot_be_looked_up_is_no_bad_one(access: Access, door: Door) -> None:
    door.is_away = True
    with pytest.raises(StoreUnavailable):
        await access.authenticate(visit())

    door.is_away = False
    assert (await access.authenticate(visit())).principal.id == "user:alice"


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        (Limits(), {"connect", "call", "read", "write"}),
        (Limits(scopes=("tools:call:billing/*",)), {"connect", "call"}),
        (Limits(scopes=("tools:*:*", "upstreams:write:billing")), {"connect", "call", "write"}),
        (Limits(scopes=("upstreams:*:*",)), {"write"}),
        (Limits(scopes=("admin:*",)), {"connect", "call", "read", "write"}),
        (Limits(servers=("support",)), {"connect", "call", "read"}),
        (Limits(servers=("sup*",), items=("billing/*",)), {"connect", "call"}),
        (Limits(servers=("other",)), set()),
        (Limits(items=("other/*",)), {"connect"}),
    ],
)
def test_a_credential_does_nothing_beyond_its_limits(access: Access, limits: Limits, allowed: set[str]) -> None:
    asked = {
        "connect": ("servers:connect", Resource("support", "support")),
        "call": ("tools:call", BILLING),
        "read": ("resources:read", Resource("files/a", "support")),
        "write": ("upstreams:write", Resource("billing")),
    }
    principal = Principal("user:alice", limits=limits)

    found = {what for what, (action, resource) in asked.items() if access.allowed(principal, action, resource)}

    assert found == allowed
    assert {what for what, each in asked.items() if access.out_of_scope(principal, *each)} == asked.keys() - allowed
    assert not access.out_of_scope(principal, "tools:call", Resource("secret", "support"))


def test_decisions_on_names_that_somebody_makes_up_are_not_remembered() -> None:
    limits, remembered = Limits(("resources:read:a/*",)), Limits._permit.cache_info
    assert limits.permit("resources:read", "a/x", "")
    before = remembered().currsize

    assert limits.permit("resources:read", "a/" + "x" * 100_000, "")
    assert not limits.permit("resources:read", "b/" + "x" * 100_000, "")

    assert remembered().currsize == before


class OnlyAlice:
    """Allows one principal everything."""

    name = "only-alice"
    complete = True

    def decide(self, principal: Principal, action: str, resource: Resource) -> Decision:
        is_hers = principal.id == "user:alice" and resource.is_for(principal)
        return Decision.ALLOW if is_hers else Decision.DENY

    def visibility(self, principal: Principal, server: str) -> str:
        return principal.id


def test_who_acts_on_behalf_of_another_may_do_what_that_one_may_within_its_own_limits(clock: MovedClock) -> None:
    access = Access([], [OnlyAlice()], clock)
    alice, limits = Principal("user:alice"), Limits(servers=("support",))
    key = Principal("key:1", "service", limits=limits, on_behalf_of=alice)
    private = Resource("diary", "support", owner="user:alice", visibility="private")

    assert access.allowed(key, "tools:call", BILLING) and access.allowed(key, "tools:call", private)
    assert not access.allowed(key, "upstreams:write", Resource("billing"))
    assert not access.allowed(key, "tools:call", Resource("billing/pay", "other"))
    assert not access.allowed(Principal("key:1", on_behalf_of=Principal("user:bob")), "tools:call", BILLING)
    assert not access.allowed(Principal("user:alice", on_behalf_of=Principal("user:bob")), "tools:call", BILLING)


def test_who_acts_on_behalf_of_another_sees_the_same(clock: MovedClock) -> None:
    access = Access([], [OnlyAlice()], clock)
    alice, bob = (Principal(f"user:{name}", teams=(name,)) for name in ("alice", "bob"))
    limits = Limits(servers=("support",))

    def seen(principal: Principal) -> str:
        return access.visibility(principal, "support", is_for_all=False)

    assert seen(Principal("key:1", on_behalf_of=alice)) == seen(Principal("key:2", on_behalf_of=alice)) == seen(alice)
    assert len({seen(alice), seen(Principal("key:1", on_behalf_of=bob))}) == 2
    assert seen(Principal("key:1", limits=limits, on_behalf_of=alice)) != seen(alice)


@given(st.lists(st.sampled_from(["tools:call:a/*", "tools:*:b/*", "upstreams:read:*", "admin:*"]), max_size=4))
def test_fewer_permissions_never_permit_more(texts: list[str]) -> None:
    every = [Permission.parse(text) for text in texts]
    actions = [("tools:call", "a/x"), ("tools:call", "b/x"), ("upstreams:read", "c"), ("teams:write", "d")]
    for index in range(len(every)):
        fewer, more = Permissions(every[:index]), Permissions(every)
        assert all(more.permit(*each) for each in actions if fewer.permit(*each))


@pytest.mark.parametrize(
    "text", ["", "tools", "tools:call", "tools:call:", "Tools:call:x", "a:b:c d", "*:*", "admin:x"]
)
def test_what_is_no_permission_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write action:pattern"):
        Permission.parse(text)


@pytest.mark.parametrize("text", ["tools:call:billing/*", "servers:*:x", "admin:*", "server-keys:read:*"])
def test_a_permission_is_written_as_it_was_read(text: str) -> None:
    assert str(Permission.parse(text)) == text


def test_the_token_against_forged_requests_says_nothing_of_the_cookie() -> None:
    assert csrf_token("tws_a") != csrf_token("tws_b")
    assert "tws" not in csrf_token("tws_a")
