"""What refers to renamed objects, collection by collection."""

from __future__ import annotations

from typing import Any

import pytest
from transferring import actions, document, imported

from toolway_testing.gateway import StartGateway
from toolway_transfer.renames import follow, unclear

RENAMED = {
    "servers": {"sales": "sales-2"},
    "upstreams": {"crm": "crm-2"},
    "prompt-collections": {"greet": "greet-2"},
    "teams": {"ops": "ops-2"},
    "roles": {"seller": "seller-2"},
}
GREETINGS = {"name": "greet", "prompts": [{"name": "hello", "messages": [{"role": "user", "text": "Hi"}]}]}


@pytest.mark.parametrize(
    ("permission", "followed"),
    [
        ("servers:connect:sales", "servers:connect:sales-2"),
        ("servers:*:sales", "servers:*:sales-2"),
        ("tools:call:crm/*", "tools:call:crm-2/*"),
        ("prompts:get:greet/hello", "prompts:get:greet-2/hello"),
        ("upstreams:read:greet", "upstreams:read:greet-2"),
        ("teams:manage:ops", "teams:manage:ops-2"),
        ("token-policies:write:team:ops", "token-policies:write:team:ops-2"),
        ("tools:call:sales/*", "tools:call:sales/*"),
        ("servers:connect:crm", "servers:connect:crm"),
        ("servers:connect:sales-east", "servers:connect:sales-east"),
        ("servers:connect:*", "servers:connect:*"),
        ("admin:*", "admin:*"),
    ],
)
def test_permissions_follow_what_they_are_about(permission: str, followed: str) -> None:
    role = follow("roles", {"name": "r", "permissions": [permission, 7]}, RENAMED)
    binding = follow("bindings", {"name": "b", "subject": "team:ops", "permission": permission}, RENAMED)

    assert role == {"name": "r", "permissions": [followed, 7]}
    assert binding == {"name": "b", "subject": "team:ops-2", "permission": followed}


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("roles", {"permissions": ["servers:connect:sal*"]}, "servers:connect:sal* may mean sales or sales-2"),
        ("bindings", {"permission": "tools:call:c*/list"}, "tools:call:c*/list may mean crm or crm-2"),
        ("servers", {"include": ["g*t/*"]}, "g*t/* may mean greet or greet-2"),
        ("servers", {"exclude": ["c*/x"]}, "c*/x may mean crm or crm-2"),
        ("roles", {"permissions": ["servers:connect:*", "servers:connect:other*", "admin:*", 7]}, ""),
        ("servers", {"include": ["*/*", "crm/x*"]}, ""),
    ],
)
def test_a_pattern_that_may_mean_both_is_said_and_stays(kind: str, value: dict[str, Any], said: str) -> None:
    value = {"name": "n", **value}

    notes = list(unclear(kind, value, RENAMED))

    assert notes == ([f"{kind}/n: {said}, and was left as it is"] if said else [])
    assert not said or follow(kind, value, RENAMED) == value


async def test_roles_bindings_and_servers_follow_in_an_import(gateway: StartGateway) -> None:
    gate = await gateway(enable=["transfer", "rbac", "prompts"])
    for path, body in (("servers", {"name": "sales"}), ("prompt-collections", GREETINGS)):
        assert (await gate.api("POST", f"/{path}", body)).status == 201
    file = document(
        **{
            "servers": [{"name": "sales", "description": "another one"}, {"name": "desk", "include": ["greet/*"]}],
            "prompt-collections": [{**GREETINGS, "description": "another one"}],
            "roles": [{"name": "seller", "permissions": ["servers:connect:sales", "servers:read:sal*"]}],
            "bindings": [{"name": "b", "subject": "*", "permission": "prompts:get:greet/hello"}],
        }
    )

    report = await imported(gate, file, conflict="rename", trusted=True)

    assert {*actions(report).values()} == {"created", "renamed"}
    assert report["notes"] == ["roles/seller: servers:read:sal* may mean sales or sales-2, and was left as it is"]
    role = (await gate.api("GET", "/roles/seller")).content
    assert role["permissions"] == ["servers:connect:sales-2", "servers:read:sal*"]
    assert (await gate.api("GET", "/servers/desk")).content["include"] == ["greet-2/*"]
    assert (await gate.api("GET", "/bindings/b")).content["permission"] == "prompts:get:greet-2/hello"
