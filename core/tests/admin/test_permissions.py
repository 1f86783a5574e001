"""Who may do what."""

from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from toolway.admin.api import admin_operations
from toolway.admin.endpoint import PUBLIC, routes
from toolway.admin.operations import Operation
from toolway.errors import PluginError


def test_every_operation_declares_a_permission_or_is_on_the_public_list(gate: Any) -> None:
    operations = admin_operations(gate.context)
    assert {(one.method, one.path) for one in operations if one.permission is None} == PUBLIC
    assert all(one.permission.count(":") == 1 for one in operations if one.permission)
    assert {route.path for route in gate.app.routes} == {one.path for one in operations}


def test_an_operation_without_a_permission_is_refused(gate: Any) -> None:
    async def leak(incoming: Any) -> None: ...

    with pytest.raises(PluginError, match="declares no permission"):
        routes(gate.context, [Operation("GET", "/api/v1/leak", None, leak)])


def test_two_collections_of_one_name_are_refused(gate: Any) -> None:
    operations = admin_operations(gate.context)
    with pytest.raises(PluginError, match="two collections offer"):
        routes(gate.context, [*operations, operations[-2]])


async def test_without_a_credential_only_public_operations_answer(gate: Any, api: httpx2.AsyncClient) -> None:
    del api.headers["authorization"]
    for one in admin_operations(gate.context):
        answer = await api.request(one.method, one.path.replace("{name}", "a"))
        is_public = (one.method, one.path) in PUBLIC
        assert answer.status_code == (200 if is_public else 401), one.path
        assert is_public or answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_wrong_credential_is_refused(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/api/v1/items", headers={"authorization": "Bearer bad"})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_missing_permission_is_named_before_the_body_is_read(gate: Any, api: httpx2.AsyncClient) -> None:
    gate.denied.add(("upstreams:write", ""))
    answer = await api.post("/api/v1/upstreams", content=b"{")
    assert (answer.status_code, answer.json()["permission"]) == (403, "upstreams:write")


async def test_lists_show_what_the_principal_may_see(gate: Any, api: httpx2.AsyncClient) -> None:
    gate.denied |= {("upstreams:read", "a"), ("items:read", "a/x")}
    shown = (await api.get("/api/v1/upstreams")).json()["items"]
    assert [one["name"] for one in shown] == ["b", "filed"]
    shown = (await api.get("/api/v1/items")).json()["items"]
    assert [one["canonical"] for one in shown] == ["a/y", "b/x"]


async def test_a_list_of_nothing_visible_is_refused(gate: Any, api: httpx2.AsyncClient) -> None:
    gate.denied |= {(f"{kind}:read", "") for kind in ("upstreams", "items", "plugins")}
    for kind in ("upstreams", "items", "plugins"):
        assert (await api.get(f"/api/v1/{kind}")).status_code == 403


async def test_creating_needs_the_permission_for_that_name(gate: Any, api: httpx2.AsyncClient) -> None:
    gate.denied.add(("upstreams:write", "new"))
    answer = await api.post("/api/v1/upstreams", json={"name": "new", "kind": "http"})
    assert answer.status_code == 403


def test_all_routes_of_the_api_are_walked(gate: Any) -> None:
    assert all(isinstance(route, Route) for route in gate.app.routes)
