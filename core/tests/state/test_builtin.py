"""The gateway's own providers."""

import asyncio
import base64
from types import SimpleNamespace
from typing import Any

import pytest

from toolway.bundled import bundled_plugins
from toolway.bundled.defaults.admin_token import CACHE_SECONDS, AdminTokenAuthenticator, ensure_first_token
from toolway.bundled.defaults.authorizer import BuiltinAuthorizer
from toolway.bundled.defaults.balancer import RoundRobin
from toolway.bundled.defaults.policy import FixedPolicy
from toolway.bundled.defaults.references import LiteralScheme
from toolway.bundled.upstreams.auth import (
    BasicAuth,
    BasicProvider,
    BearerAuth,
    BearerProvider,
    HeaderAuth,
    HeaderProvider,
)
from toolway.catalog.store import Store
from toolway.errors import Unauthenticated
from toolway.hookspecs import caching, secrets as secret_hooks
from toolway.hookspecs.attempts import Policy
from toolway.hookspecs.auth import ANONYMOUS, AuthContext, Credentials, Decision, Principal, Resource
from toolway.hookspecs.definitions import Timeouts, UpstreamSettings
from toolway.hookspecs.routing import Endpoint, Target, Upstream
from toolway.plugin.host import Plugins
from toolway.secrets import SecretResolver
from toolway_testing.clock import MovedClock

CONTEXT = AuthContext(None, "127.0.0.1", "/api/v1")
ADMIN = Principal("admin", scopes=frozenset({"admin"}))
USER = Principal("u1")


async def test_the_first_token_is_given_once_and_lets_its_bearer_in_as_admin(store: Store, clock: MovedClock) -> None:
    token = await ensure_first_token(store, clock)
    assert token is not None
    assert token.startswith("twa_")
    assert len(token) >= 47
    assert await ensure_first_token(store, clock) is None
    known = await AdminTokenAuthenticator(store, clock).authenticate(Credentials("bearer", token), CONTEXT)
    assert known is not None
    assert known.principal.scopes == {"admin"}
    assert token not in repr(known)
    assert known.cache_until == clock.monotonic() + CACHE_SECONDS
    assert known.revoke_keys


async def test_nodes_that_start_at_once_give_one_token(nodes: tuple[Store, Store], clock: MovedClock) -> None:
    tokens = await asyncio.gather(*(ensure_first_token(store, clock) for store in nodes * 3))
    assert sum(token is not None for token in tokens) == 1


@pytest.mark.parametrize("value", ["twa_", "twa_wrong", "twa_" + "x" * 10_000])
async def test_a_wrong_admin_token_is_refused(store: Store, clock: MovedClock, value: str) -> None:
    await ensure_first_token(store, clock)
    with pytest.raises(Unauthenticated):
        await AdminTokenAuthenticator(store, clock).authenticate(Credentials("bearer", value), CONTEXT)


@pytest.mark.parametrize("credentials", [Credentials("bearer", "eyJ"), Credentials("basic", "twa_x")])
async def test_other_credentials_are_left_to_others(store: Store, clock: MovedClock, credentials: Credentials) -> None:
    assert await AdminTokenAuthenticator(store, clock).authenticate(credentials, CONTEXT) is None


@pytest.mark.parametrize(
    ("principal", "action", "access", "allowed"),
    [
        (ADMIN, "upstreams:write", "", True),
        (ADMIN, "servers:connect", "authenticated", True),
        (USER, "servers:connect", "authenticated", True),
        (USER, "servers:connect", "public", True),
        (USER, "tools:call", "authenticated", True),
        (USER, "upstreams:read", "", False),
        (USER, "upstreams:write", "public", False),
        (ANONYMOUS, "servers:connect", "public", True),
        (ANONYMOUS, "resources:read", "public", True),
        (ANONYMOUS, "servers:connect", "authenticated", False),
        (ANONYMOUS, "tools:call", "authenticated", False),
        (ANONYMOUS, "tools:call", "", False),
        (ANONYMOUS, "upstreams:read", "public", False),
        (USER, "something:new", "public", False),
    ],
)
def test_without_a_plugin_admins_may_everything_and_others_use_what_they_may_connect_to(
    principal: Principal, action: str, access: Any, allowed: bool
) -> None:
    decision = BuiltinAuthorizer().decide(principal, action, Resource("a/x", "all", access))
    assert (decision is Decision.ALLOW) is allowed


def call(upstream: str) -> Any:
    return SimpleNamespace(target=Target(upstream, "x"))


def test_endpoints_take_turns_for_each_upstream() -> None:
    balancer, endpoints = RoundRobin(), [Endpoint("1"), Endpoint("2"), Endpoint("3")]
    picks = [balancer.pick(endpoints, call("a")).id for _ in range(4)]
    assert picks == ["1", "2", "3", "1"]
    assert balancer.pick(endpoints[:2], call("b")).id == "1"
    assert balancer.pick(endpoints[:1], call("a")).id == "1"


def upstream(auth: Any = None, **settings: Any) -> Upstream:
    return Upstream("a", "http", UpstreamSettings(name="a", kind="http", **settings), (), auth)


def test_the_policy_is_what_the_settings_say() -> None:
    settings = {"timeouts": Timeouts(first_byte=1, total=2), "retries": 0, "in_flight": 3}
    made = FixedPolicy().adjust(Policy(queue=5), upstream(**settings), call("a"))
    assert made == Policy(first_byte=1, total=2, retries=0, in_flight=3, queue=5)


@pytest.mark.parametrize(
    ("provider", "auth", "headers"),
    [
        (HeaderProvider, HeaderAuth(name="X-Key", value="literal:k"), {"X-Key": "k"}),
        (BearerProvider, BearerAuth(token="literal:t"), {"authorization": "Bearer t"}),
        (
            BasicProvider,
            BasicAuth(username="u", password="literal:p:ä"),
            {"authorization": "Basic " + base64.b64encode("u:p:ä".encode()).decode()},
        ),
    ],
)
async def test_upstream_auths_make_their_headers(
    clock: MovedClock, provider: Any, auth: Any, headers: dict[str, str]
) -> None:
    secrets = SecretResolver(clock)
    secrets.use([LiteralScheme()])
    assert await provider(secrets).headers(upstream(auth), ADMIN, None) == headers


def test_every_provider_of_the_gateway_passes_the_plugin_host(store: Store, clock: MovedClock) -> None:
    secrets = SecretResolver(clock)
    kernel: Any = SimpleNamespace(clock=clock, secrets=secrets, seal=None, database=store, node="n", http=None)
    plugins = Plugins.load([], builtins=bundled_plugins())
    hooks: list[Any] = [
        secret_hooks.toolway_secret_schemes,
        caching.toolway_keyvalue_stores,
        caching.toolway_pubsubs,
        secret_hooks.toolway_upstream_auths,
    ]
    offered = {hook.__name__: [each.name for each in plugins.provided(hook, kernel)] for hook in hooks}
    assert offered == {
        "toolway_secret_schemes": ["env", "file", "literal", "sealed"],
        "toolway_keyvalue_stores": ["memory", "database"],
        "toolway_pubsubs": ["memory", "database"],
        "toolway_upstream_auths": ["header", "bearer", "basic", "client-credentials"],
    }
