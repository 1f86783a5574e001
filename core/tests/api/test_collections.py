"""Generic collections."""

from typing import Any

import httpx2
import pytest

from toolway.errors import Forbidden
from toolway.hookspecs.api import Incoming

NEW = {"name": "new", "kind": "http", "endpoints": ["http://127.0.0.1:1/mcp"]}
UPSTREAMS = "/api/v1/upstreams"


async def test_an_object_is_created_read_replaced_and_deleted(gate: Any, api: httpx2.AsyncClient) -> None:
    created = await api.post(UPSTREAMS, json=NEW)
    assert (created.status_code, created.headers["location"]) == (201, f"{UPSTREAMS}/new")
    assert created.headers["etag"] == '"1"'
    assert created.json()["meta"] == {"revision": 1, "managed_by": "api"}
    replaced = await api.put(f"{UPSTREAMS}/new", json={**NEW, "enabled": False})
    assert (replaced.status_code, replaced.headers["etag"]) == (200, '"2"')
    assert (await api.get(f"{UPSTREAMS}/new")).json()["enabled"] is False
    assert (await api.delete(f"{UPSTREAMS}/new")).status_code == 204
    assert (await api.get(f"{UPSTREAMS}/new")).status_code == 404
    assert gate.catalog.reloads == 3


async def test_changes_are_recorded_with_their_actor(gate: Any, api: httpx2.AsyncClient) -> None:
    await api.put(f"{UPSTREAMS}/new", json=NEW)
    assert gate.store.changes == [("upstreams", "u1", "upstreams.put", "upstreams/new")]


async def test_what_was_read_can_be_put_back_and_the_same_twice_changes_nothing(
    gate: Any, api: httpx2.AsyncClient
) -> None:
    read = await api.get(f"{UPSTREAMS}/a")
    again = await api.put(f"{UPSTREAMS}/a", json=read.json())
    assert (again.status_code, again.headers["etag"]) == (200, read.headers["etag"])
    assert gate.store.changes == []


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("POST", UPSTREAMS, {**NEW, "name": "a"}, {}, 409, "conflict"),
        ("PUT", f"{UPSTREAMS}/filed", {**NEW, "name": "filed"}, {}, 409, "conflict"),
        ("PUT", f"{UPSTREAMS}/other", NEW, {}, 400, "invalid_input"),
        ("PUT", f"{UPSTREAMS}/a", {**NEW, "name": "a"}, {"if-match": '"7"'}, 412, "precondition_failed"),
        ("PUT", f"{UPSTREAMS}/new", NEW, {"if-match": "*"}, 412, "precondition_failed"),
        ("PUT", f"{UPSTREAMS}/a", {**NEW, "name": "a"}, {"if-none-match": "*"}, 412, "precondition_failed"),
        ("DELETE", f"{UPSTREAMS}/a", None, {"if-match": 'W/"1"'}, 412, "precondition_failed"),
        ("DELETE", f"{UPSTREAMS}/filed", None, {}, 409, "conflict"),
        ("DELETE", f"{UPSTREAMS}/none", None, {}, 404, "not_found"),
        ("PATCH", f"{UPSTREAMS}/a", None, {}, 405, "method_not_allowed"),
        ("GET", "/api/v1/nothing", None, {}, 404, "not_found"),
        ("GET", f"{UPSTREAMS}?limt=3", None, {}, 400, "invalid_input"),
        ("GET", f"{UPSTREAMS}?limit=3&limit=4", None, {}, 400, "invalid_input"),
        ("GET", f"{UPSTREAMS}/a?x=1", None, {}, 400, "invalid_input"),
    ],
)
async def test_refusals_are_problem_documents_with_stable_codes(
    api: httpx2.AsyncClient, method: str, path: str, body: Any, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await api.request(method, path, json=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"urn:toolway:error:{code}")


async def test_a_matching_precondition_lets_the_change_through(api: httpx2.AsyncClient) -> None:
    changed = {**NEW, "name": "a"}
    assert (await api.put(f"{UPSTREAMS}/a", json=changed, headers={"if-match": '"9", "1"'})).status_code == 200
    assert (await api.delete(f"{UPSTREAMS}/a", headers={"if-match": '"2"'})).status_code == 204


async def test_unknown_keys_are_refused_with_a_suggestion(api: httpx2.AsyncClient) -> None:
    answer = await api.post(UPSTREAMS, json={**NEW, "endpoint": [], "timeouts": {"totl": 3}})
    details = {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
    assert details == {
        "/endpoint": "endpoint is not a setting; did you mean 'endpoints'?",
        "/timeouts/totl": "timeouts.totl is not a setting; did you mean 'total'?",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"name": "\xff"}',
        b'{"name": NaN}',
        b"[" * 100_000,
        b'{"name": "n", "kind": "http", "description": "\\u0000"}',
        b'{"name": "n", "kind": "http", "description": "\\ud800"}',
        b'{"name": "n", "kind": "http", "in_flight": "3"}',
        b'{"name": "n", "kind": "http", "enabled": 1}',
    ],
)
async def test_bodies_that_are_not_what_they_should_be_get_400(api: httpx2.AsyncClient, body: bytes) -> None:
    answer = await api.post(UPSTREAMS, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


async def test_rejected_values_are_not_repeated(api: httpx2.AsyncClient) -> None:
    answer = await api.post(UPSTREAMS, json={**NEW, "enabled": "hunter2"})
    assert answer.status_code == 400
    assert "hunter2" not in answer.text


async def test_other_media_types_are_refused(api: httpx2.AsyncClient) -> None:
    answer = await api.post(UPSTREAMS, content=b"name=a", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_body_that_must_hold_something_must_be_sent(api: httpx2.AsyncClient) -> None:
    answer = await api.post(UPSTREAMS)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_an_integral_float_is_an_integer(api: httpx2.AsyncClient) -> None:
    answer = await api.post(UPSTREAMS, content=b'{"name":"new","kind":"http","in_flight":8.0}',
                            headers={"content-type": "application/json; charset=utf-8"})  # fmt: skip
    assert (answer.status_code, answer.json()["in_flight"]) == (201, 8)


async def test_what_the_configuration_declares_is_shown_without_its_literal_secrets(api: httpx2.AsyncClient) -> None:
    shown = (await api.get(f"{UPSTREAMS}/filed")).json()
    assert (shown["meta"]["managed_by"], shown["auth"]) == ("file", {"token": "sealed:hidden"})


async def test_pages_go_on_after_the_last_name_even_if_it_is_gone(gate: Any, api: httpx2.AsyncClient) -> None:
    first = (await api.get(UPSTREAMS, params={"limit": 1})).json()
    assert [one["name"] for one in first["items"]] == ["a"]
    del gate.upstreams.objects["a"]
    rest = (await api.get(UPSTREAMS, params={"limit": 5, "cursor": first["next_cursor"]})).json()
    assert ([one["name"] for one in rest["items"]], rest["next_cursor"]) == (["b", "filed"], None)


async def test_the_state_of_upstreams_and_servers_is_told(api: httpx2.AsyncClient) -> None:
    meta = (await api.get(f"{UPSTREAMS}/a")).json()["meta"]
    assert (meta["status"], meta["items"], meta["eras"]) == ("up", 2, {"modern": "2026-07-28", "legacy": None})
    meta = (await api.get("/api/v1/servers/plain")).json()["meta"]
    assert (meta["path"], meta["collisions"], meta["tools"]) == ("/servers/plain/mcp", 1, 1)


async def test_the_allowed_methods_are_told(api: httpx2.AsyncClient) -> None:
    answer = await api.patch(f"{UPSTREAMS}/a")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PUT"


async def test_an_unexpected_failure_shows_only_an_error_id(
    gate: Any, api: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate.upstreams, "objects", None)
    answer = await api.get(UPSTREAMS)
    assert answer.status_code == 500
    assert answer.json()["error_id"] in caplog.text
    assert "NoneType" not in answer.text


async def test_an_entity_refuses_a_change_that_needs_more_than_the_permission_to_write(
    gate: Any, api: httpx2.AsyncClient
) -> None:
    asked: list[tuple[Any, Any]] = []

    def refuse(incoming: Incoming, before: Any, after: Any) -> None:
        asked.append((before and before.name, after and after.name))
        raise Forbidden("only somebody else may do this")

    gate.upstreams.guard = refuse
    answers = [
        await api.post(UPSTREAMS, json=NEW),
        await api.put(f"{UPSTREAMS}/new", json=NEW),
        await api.put(f"{UPSTREAMS}/a", json={**NEW, "name": "a"}),
        await api.delete(f"{UPSTREAMS}/a"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert asked == [(None, "new"), (None, "new"), ("a", "a"), ("a", None)]
    assert gate.store.changes == []
