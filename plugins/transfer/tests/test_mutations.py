"""Whatever somebody makes of an export: importing it gives nobody more than they have, and never fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
from configurations import NAUGHTY
from generated import generated
from hypothesis import given, strategies as some
from places import places
from transferring import document, exported

from toolway_testing.gateway import Answer, RunningGateway, StartGateway

EXAMPLES = 40
HIDDEN = "sealed:hidden"
HERE = "https://here.example.com/mcp"
MINE = {
    "name": "bob-old",
    "kind": "http",
    "endpoints": [HERE],
    "enabled": False,
    "auth": {"type": "bearer", "token": "my-own-secret"},
}
THEIRS = {**MINE, "name": "theirs", "owner": "team:ops"}
SERVER = {
    "name": "bob-server",
    "include": ["bob-old/*"],
    "items": {"bob-old/a": {"alias": "a", "arguments": {"x": [1]}}},
}
FILES: list[dict[str, Any]] = [
    document(
        upstreams=[{**MINE, "auth": {"type": "bearer", "token": "sealed:hidden"}, "headers": {"X-A": "sealed:hidden"}}],
        servers=[SERVER],
        users=[{"name": "bob"}],
        teams=[{"name": "ops", "members": {"user:bob": "member"}}],
        bindings=[{"name": "bob", "subject": "user:bob", "role": "viewer"}],
    ),
    {
        "mcpServers": {
            "bob-new": {"url": HERE, "headers": {"X-A": "secret-of-a-file"}},
            "bob-run": {"command": "sh", "args": ["-c", "id"]},
        }
    },
    {
        "version": "2",
        "entities": {"gateways": [{"name": "bob-g", "url": HERE, "auth_type": "bearer", "auth_value": "x"}]},
    },
]
HOSTILE: list[Any] = [
    *("admin:*", "admin", "user:bob", "team:ops", "theirs", "bob-2", "public", "stdio", "http", "sealed:hidden", "*/*"),
    *(
        "env:HOME",
        "file:/etc/passwd",
        "literal:x",
        "vault:a/b#c",
        "sealed:theirs",
        "http://169.254.169.254/",
        "file:///etc/passwd",
    ),
    *(
        ["sh", "-c", "id"],
        {"user:bob": "owner"},
        {"$ref": "#"},
        {},
        [],
        None,
        True,
        -1,
        2**70,
        1e308,
        "",
        "../../x",
        "\ud800",
    ),
]
MEMBERS = (
    *("owner", "admin", "members", "access", "allow_private", "kind", "command", "env", "auth", "visibility", "name"),
    *(
        "permissions",
        "role",
        "subject",
        "roles",
        "id",
        "revision",
        "credentials",
        "objects",
        "tls",
        "proxy",
        "__proto__",
    ),
)
VALUES = some.sampled_from([*HOSTILE, *NAUGHTY[::7]])
MUTATIONS = some.lists(
    some.tuples(
        some.sampled_from(["replace", "add", "remove", "double"]),
        some.integers(0, 200),
        some.sampled_from(MEMBERS),
        VALUES,
    ),
    min_size=1,
    max_size=4,
)
ORDERS = some.fixed_dictionaries(
    {},
    optional={
        "mode": some.sampled_from(["create", "update", "replace"]),
        "conflict": some.sampled_from(["skip", "overwrite", "rename", "fail"]),
        "trusted": some.booleans(),
        "passphrase": some.just("correct horse battery staple"),
    },
)


def mutated(file: dict[str, Any], mutations: list[tuple[str, int, str, Any]]) -> dict[str, Any]:
    """The file after these, one after the other."""
    made = deepcopy(file)
    for what, where, member, value in mutations:
        found = places(made)
        if not found:
            break
        holder, key = found[where % len(found)]
        if what == "replace":
            holder[key] = deepcopy(value)
        elif what == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            holder[member] = deepcopy(value if what == "add" else holder[key])
        else:
            holder.append(deepcopy(value if what == "add" else holder[key]))
    return made


def at_rest(value: Any) -> Any:
    """The file with all upstreams disabled: what they are is at stake here, not what they offer."""
    if isinstance(value, list):
        return [at_rest(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: at_rest(each) for key, each in value.items()}
    if made.keys() & {"endpoints", "url", "command", "kind"}:
        made |= {"enabled": False} if "endpoints" in made or "kind" in made else {"disabled": True, "is_active": False}
    return made


async def prepared(gate: RunningGateway) -> str:
    """Somebody who may do everything with some upstreams and servers, and nothing else; the token."""
    rights = {"upstreams": "upstreams:*:bob-*", "servers": "servers:*:bob-*"}
    bodies: list[tuple[str, dict[str, Any]]] = [("users", {"name": "bob"}), ("teams", {"name": "ops"})]
    for kind, permission in rights.items():
        bodies.append(("bindings", {"name": f"bob-{kind}", "subject": "user:bob", "permission": permission}))
    bodies += [("upstreams", MINE), ("upstreams", THEIRS), ("servers", {"name": "closed"})]
    for kind, body in bodies:
        answer = await gate.api("POST", f"/{kind}", body)
        assert answer.status == 201, answer.content
    return str((await gate.api("POST", "/tokens", {"subject": "user:bob", "ttl": "1h"})).content["token"])


RIGHTS = ("users", "service-accounts", "teams", "roles", "bindings", "token-policies")


def not_of_bob(found: dict[str, Any], kinds: Sequence[str] = (*RIGHTS, "upstreams", "servers")) -> dict[str, Any]:
    """All objects of these collections that an import of bob, or one that is not trusted, must leave as they are."""
    objects = found["objects"]
    return {
        kind: [one for one in objects.get(kind, ()) if kind in RIGHTS or not one["name"].startswith("bob-")]
        for kind in kinds
    }


def opens_no_door(one: dict[str, Any], *, is_trusted: bool) -> bool:
    """Whether an upstream or server is what a file may make."""
    secrets = [*one.get("headers", {}).values(), (one.get("auth") or {}).get("token", HIDDEN)]
    is_closed = one.get("access", "authenticated") == "authenticated" and one.get("kind", "http") == "http"
    is_own = one["name"] == "theirs" or one.get("owner", "") == ""
    is_public = all(url.startswith("https://") for url in one.get("endpoints", ())) and not one.get("proxy")
    return (
        is_closed and is_own and is_public and set(secrets) == {HIDDEN} and (is_trusted or not one.get("allow_private"))
    )


@pytest.mark.timeout(400)
async def test_no_change_of_a_file_gives_rights_or_is_an_error_of_the_gateway(gateway: StartGateway) -> None:
    pytest.importorskip("toolway_rbac")
    pytest.importorskip("toolway_tokens")
    gate = await gateway(enable=["transfer", "rbac", "tokens"])
    token, loop = await prepared(gate), asyncio.get_running_loop()
    found, outcomes = await exported(gate), Counter[Any]()

    async def check(file: dict[str, Any], order: dict[str, Any], is_bob: bool) -> None:
        nonlocal found
        is_trusted = is_bob and order.pop("trusted", False)
        order = {"document": file, **order, "trusted": is_trusted}
        answer: Answer = await gate.api("POST", "/import", order, token=token if is_bob else None)
        assert answer.status in (200, 400, 403, 413), answer.content
        outcomes[answer.content.get("outcome")] += 1
        before, found = found, await exported(gate)
        kinds = (*RIGHTS, "upstreams", "servers") if is_bob else RIGHTS
        assert not_of_bob(found, kinds) == not_of_bob(before, kinds)
        declared = [*found["objects"].get("upstreams", ()), *found["objects"].get("servers", ())]
        assert [one for one in declared if not opens_no_door(one, is_trusted=is_trusted)] == []

    @generated(EXAMPLES)
    @given(some.sampled_from(FILES), MUTATIONS, ORDERS, some.booleans())
    def every(file: dict[str, Any], mutations: list[Any], order: dict[str, Any], is_bob: bool) -> None:
        asyncio.run_coroutine_threadsafe(check(at_rest(mutated(file, mutations)), order, is_bob), loop).result(60)

    await asyncio.to_thread(every)
    assert outcomes["done"] and outcomes["refused"], outcomes
