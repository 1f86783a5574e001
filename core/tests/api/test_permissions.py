"""Who may do what."""

from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from toolway.bundled.api.endpoint import routes
from toolway.errors import Forbidden, PluginError
from toolway.hookspecs.api import PUBLIC, Operation
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.challenge import Challenges
from toolway.hookspecs.permissions import Limits

PUBLIC_OPERATIONS = {
    "GET /health",
    "GET /ready",
    "GET /api/v1/openapi.json",
    "GET /.well-known/oauth-protected-resource/mcp",
    "GET /.well-known/oauth-protected-resource/servers/{name}/mcp",
}


def test_every_operation_declares_a_permission_or_is_on_the_public_list(gate: Any) -> None:
    operations = gate.operations
    assert {one.name for one in operations if one.permission == PUBLIC} == PUBLIC_OPERATIONS
    assert all(one.permission.count(":") == 1 for one in operations if one.permission != PUBLIC)
    assert {route.path for route in gate.routes} == {one.path for one in operations}


def test_an_operation_without_a_permission_is_refused(gate: Any) -> None:
    async def leak(incoming: Any) -> None: ...

    with pytest.raises(PluginError, match="declares no permission"):
        routes(gate, [Operation("GET", "/api/v1/leak", "", leak)])


def test_two_collections_of_one_name_are_refused(gate: Any) -> None:
    with pytest.raises(PluginError, match="two plugins offer"):
        routes(gate, [*gate.operations, gate.operations[-2]])


async def test_without_a_credential_only_public_operations_answer(gate: Any, api: httpx2.AsyncClient) -> None:
    del api.headers["authorization"]
    for one in gate.operations:
        answer = await api.request(one.method, one.path.replace("{name}", "a"))
        is_public = one.name in PUBLIC_OPERATIONS
        assert answer.status_code in ((200, 404) if is_public else (401,)), one.path
        assert is_public or answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_wrong_credential_is_refused(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/api/v1/items", headers={"authorization": "Bearer bad"})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_missing_permission_is_named_with_the_scope_to_ask_for(gate: Any, api: httpx2.AsyncClient) -> None:
    gate.denied.add(("upstreams:refresh", ""))
    answer = await api.post("/api/v1/upstreams/a/refresh")
    assert (answer.status_code, answer.json()["permission"]) == (403, "upstreams:refresh")
    challenge = answer.headers["www-authenticate"]
    assert challenge == 'Bearer error="insufficient_scope", scope="upstreams:refresh:a"'


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a%22, x=%22b", "a%22, x=%22b"),
        ("%E2%82%AC", "%E2%82%AC"),
        ("a%0D%0AX-Evil:%201", "a%0D%0AX-Evil: 1"),
        ("%5C", "%5C"),
    ],
)
async def test_whatever_a_name_has_stays_within_its_field_of_the_challenge(
    gate: Any, api: httpx2.AsyncClient, name: str, written: str
) -> None:
    gate.denied.add(("upstreams:refresh", ""))
    answer = await api.post(f"/api/v1/upstreams/{name}/refresh")
    assert answer.status_code == 403
    assert (
        answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="upstreams:refresh:{written}"'
    )


async def test_a_challenge_is_no_longer_than_a_header_may_be(gate: Any) -> None:
    header = Challenges("", []).header(Forbidden("no", scope="resources:read:a/" + "x" * 100_000))
    assert len(header) < 4096


async def test_without_a_credential_no_body_is_read(api: httpx2.AsyncClient) -> None:
    del api.headers["authorization"]
    answer = await api.post("/api/v1/upstreams", content=b"{")
    assert answer.status_code == 401


async def test_what_may_not_be_read_looks_as_if_it_did_not_exist(gate: Any, api: httpx2.AsyncClient) -> None:
    for permission in ("read", "write", "refresh"):
        gate.denied |= {(f"upstreams:{permission}", "a"), (f"upstreams:{permission}", "ghost")}
    body = {"name": "a", "kind": "http"}
    for method, path, content in (
        ("GET", "/{}", None),
        ("DELETE", "/{}", None),
        ("PUT", "/{}", body),
        ("POST", "/{}/refresh", None),
        ("POST", "", body),
    ):
        answers = []
        for name in ("a", "ghost"):
            sent = content and {**content, "name": name}
            answer = await api.request(method, f"/api/v1/upstreams{path.format(name)}", json=sent)
            answers.append((answer.status_code, answer.text.replace(f"{name!r}", "it").replace(f":{name}", ":it")))
        assert answers[0] == answers[1], (method, path)
        assert answers[0][0] == (404 if path else 403)


async def test_lists_show_what_the_principal_may_see(gate: Any, api: httpx2.AsyncClient) -> None:
    gate.denied |= {("upstreams:read", "a"), ("items:read", "a/x")}
    shown = (await api.get("/api/v1/upstreams")).json()["items"]
    assert [one["name"] for one in shown] == ["b", "filed"]
    shown = (await api.get("/api/v1/items")).json()["items"]
    assert [one["canonical"] for one in shown] == ["a/y", "b/x"]


async def test_counts_are_of_what_the_principal_may_see(gate: Any, api: httpx2.AsyncClient) -> None:
    async def meta(path: str) -> dict[str, Any]:
        found: dict[str, Any] = (await api.get(f"/api/v1/{path}")).json()["meta"]
        return found

    assert (await meta("upstreams/a"))["items"] == 2
    assert [(await meta("servers/all"))["tools"], (await meta("servers/plain"))["collisions"]] == [3, 1]
    gate.denied.add(("items:read", "a/x"))
    assert (await meta("upstreams/a"))["items"] == 1
    assert [(await meta("servers/all"))["tools"], (await meta("servers/plain"))["collisions"]] == [2, 0]
    body = {"name": "a", "kind": "http", "in_flight": 9}
    assert (await api.put("/api/v1/upstreams/a", json=body)).json()["meta"]["items"] == 1
    assert (await api.post("/api/v1/upstreams/a/refresh")).json()["items"] == 1


@pytest.mark.parametrize(
    ("principal", "is_told"),
    [
        (Principal("u1"), False),
        (Principal("u1", scopes=frozenset({"admin"})), True),
        (Principal("u1", scopes=frozenset({"admin"}), limits=Limits(items=("b/*",))), False),
        (Principal("u1", scopes=frozenset({"admin"}), on_behalf_of=Principal("u2")), False),
        (Principal("u1", on_behalf_of=Principal("u2", scopes=frozenset({"admin"}))), True),
    ],
)
async def test_lists_have_counts_for_administrators_only(
    gate: Any, api: httpx2.AsyncClient, principal: Principal, is_told: bool
) -> None:
    gate.principal = principal
    for kind, counts in (("upstreams", {"items"}), ("servers", {"tools", "prompts", "collisions"})):
        first = (await api.get(f"/api/v1/{kind}")).json()["items"][0]["meta"]
        assert (counts & first.keys()) == (counts if is_told else set())
        assert {"upstreams": "status", "servers": "path"}[kind] in first


async def test_a_list_of_nothing_visible_is_refused(gate: Any, api: httpx2.AsyncClient) -> None:
    gate.denied |= {(f"{kind}:read", "") for kind in ("upstreams", "items", "plugins")}
    for kind in ("upstreams", "items", "plugins"):
        assert (await api.get(f"/api/v1/{kind}")).status_code == 403


async def test_creating_needs_the_permission_for_that_name(gate: Any, api: httpx2.AsyncClient) -> None:
    gate.denied.add(("upstreams:write", "new"))
    answer = await api.post("/api/v1/upstreams", json={"name": "new", "kind": "http"})
    assert answer.status_code == 403


def test_all_routes_of_the_api_are_walked(gate: Any) -> None:
    assert all(isinstance(route, Route) for route in gate.routes)
