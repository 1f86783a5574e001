"""Items, plugins, collisions, refresh and health."""

from typing import Any

import httpx2

from toolway import __version__
from toolway.catalog.snapshot import EMPTY


async def test_items_are_filtered_by_kind_upstream_and_server(api: httpx2.AsyncClient) -> None:
    every = (await api.get("/api/v1/items")).json()["items"]
    assert [(one["canonical"], one["exposed"]) for one in every] == [("a/x", None), ("a/y", None), ("b/x", None)]
    shown = (await api.get("/api/v1/items?server=all&upstream=a&kind=tool")).json()["items"]
    assert [one["exposed"] for one in shown] == ["a__x", "a__y"]
    assert (await api.get("/api/v1/items?kind=prompt")).json()["items"] == []
    assert (await api.get("/api/v1/items?server=none")).status_code == 404


async def test_the_definition_of_an_item_survives_with_big_integers(api: httpx2.AsyncClient) -> None:
    shown = (await api.get("/api/v1/items?limit=1")).json()
    assert shown["items"][0]["definition"] == {"name": "x", "n": 2**70}
    rest = (await api.get("/api/v1/items", params={"cursor": shown["next_cursor"]})).json()
    assert [one["canonical"] for one in rest["items"]] == ["a/y", "b/x"]


async def test_collisions_name_both_sides(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/api/v1/servers/plain/collisions")
    collision = {"kind": "tool", "name": "x", "items": ["a/x", "b/x"], "resolved": "error"}
    assert answer.json()["items"] == [collision]


async def test_collisions_with_what_is_hidden_are_not_told(gate: Any, api: httpx2.AsyncClient) -> None:
    gate.denied.add(("items:read", "b/x"))
    assert (await api.get("/api/v1/servers/plain/collisions")).json()["items"] == []


async def test_an_upstream_is_refreshed_on_demand(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/api/v1/upstreams/a/refresh")
    assert (answer.status_code, answer.json()["status"], answer.json()["items"]) == (200, "up", 2)
    assert (await api.post("/api/v1/upstreams/none/refresh")).status_code == 404
    failed = await api.post("/api/v1/upstreams/down/refresh")
    assert (failed.status_code, failed.json()["code"]) == (502, "upstream_unreachable")


async def test_plugins_are_listed(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/api/v1/plugins")
    assert answer.json() == {"items": [{"name": "cache", "status": "enabled"}], "next_cursor": None}


async def test_ready_is_503_while_starting_draining_or_critically_failing(gate: Any, api: httpx2.AsyncClient) -> None:
    assert (await api.get("/ready")).status_code == 200
    for gate.phase in ("starting", "draining"):
        assert (await api.get("/ready")).status_code == 503
    gate.phase, gate.failing = "serving", "database db.example does not answer"
    answer = await api.get("/ready")
    assert answer.status_code == 503
    failed = [one["name"] for one in answer.json()["checks"] if not one["ok"]]
    assert failed == ["database", "collector"]
    assert "example" not in answer.text
    assert (await api.get("/health")).json() == {"status": "ok"}


async def test_a_catalog_that_was_never_loaded_is_critical_a_stale_one_is_told(
    gate: Any, api: httpx2.AsyncClient
) -> None:
    gate.catalog.failure = "the catalog could not be loaded"
    answer = await api.get("/ready")
    assert (answer.status_code, answer.json()["checks"][1]["ok"]) == (200, False)
    gate.catalog.snapshot = EMPTY
    assert (await api.get("/ready")).status_code == 503


async def test_health_tells_administrators_the_details(api: httpx2.AsyncClient) -> None:
    report = (await api.get("/api/v1/health")).json()
    assert report["ready"] is True
    assert report["problems"] == ["upstream 'z' is left out"]
    assert report["checks"][2]["detail"].startswith("collector http://")
    assert (report["version"], report["snapshot"], report["upstreams"]) == (__version__, 1, {"up": 3})
