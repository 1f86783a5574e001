"""The plugin in a whole gateway, through HTTP, on both databases."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy import text

from toolway.hookspecs.telemetry import Served
from toolway.plugin import ConfigError
from toolway_audit.buffer import Buffer
from toolway_audit.requests import MOST, WINDOW, Requests
from toolway_audit.verifying import verify_lines
from toolway_testing import telling
from toolway_testing.clock import MovedClock
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

UPSTREAM = {"name": "billing", "kind": "http", "endpoints": ["http://127.0.0.1:1"], "allow_private": True}
QUICK = {"interval": 0.05}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The setting of the database; it has to be there before the gateway, and to outlive it."""
    if request.param == "sqlite":
        return {}
    return {"database": f"literal:{request.getfixturevalue('postgres_url')}"}


@pytest_asyncio.fixture
async def gate(database: dict[str, Any], gateway: StartGateway) -> RunningGateway:
    return await started(gateway, **database)


async def started(gateway: StartGateway, audit: dict[str, Any] | None = None, **options: Any) -> RunningGateway:
    options = {"enable": ["audit"], "demo": True, **options}
    gate = await gateway(plugins={"audit": {**QUICK, **(audit or {})}}, **options)
    await eventually(lambda: gate.gateway.plane.view("all").listed("tool"))
    return gate


async def found(gate: RunningGateway, query: str = "") -> list[dict[str, Any]]:
    """Records, oldest first."""
    answer = await gate.api("GET", f"/audit?limit=500{query}")
    assert answer.status == 200, answer.content
    return list(reversed(answer.content["items"]))


async def sql(gate: RunningGateway, statement: str) -> None:
    async with gate.gateway.kernel.database.write() as tx:
        await (await tx.session.connection()).execute(text(statement))


async def test_a_change_is_recorded_with_who_made_it_from_where_and_what_it_was_before(gate: RunningGateway) -> None:
    assert (await gate.api("POST", "/upstreams", UPSTREAM)).status == 201
    assert (await gate.api("PUT", "/upstreams/billing", {**UPSTREAM, "description": "pays"})).status == 200
    assert (await gate.api("DELETE", "/upstreams/billing")).status == 204

    created, updated, deleted = await found(gate, "&object=upstreams/billing")
    assert [each["action"] for each in (created, updated, deleted)] == [
        *("upstreams.create", "upstreams.put", "upstreams.delete")
    ]
    assert (created["actor"], created["address"], created["outcome"]) == ("admin", "127.0.0.1", "ok")
    assert created["credential"]
    assert created["before"] is None
    assert updated["before"]["description"] == ""
    assert updated["after"]["description"] == "pays"
    assert deleted["after"] is None


@pytest.mark.skipif(
    not all(find_spec(f"toolway_{each}") for each in ("masking", "tokens")), reason="needs toolway-masking and -tokens"
)
async def test_the_id_of_a_token_is_recorded_with_masking_too(gateway: StartGateway) -> None:
    gate = await started(gateway, enable=["masking", "audit", "tokens"])
    made = (await gate.api("POST", "/tokens", {})).content

    assert (await gate.api("POST", "/upstreams", UPSTREAM, token=made["token"])).status == 201

    (record,) = await found(gate, "&object=upstreams/billing")
    assert record["credential"] == f"token:{made['name']}"


async def test_what_waits_is_not_that_of_a_gateway_that_is_only_built(gate: RunningGateway) -> None:
    metrics = gate.gateway.kernel.metrics
    await (await gate.life.prepare()).cancel()
    await sql(gate, "alter table audit_record rename to away")
    await gate.api("GET", "/audit", token="wrong")

    def waiting() -> float:
        metrics.sample()
        return {each.name: each for each in metrics.collect()}["toolway_audit_waiting"].series[()][0]

    await eventually(lambda: waiting() > 0)


async def test_a_change_whose_record_cannot_be_written_does_not_happen(gate: RunningGateway) -> None:
    await sql(gate, "alter table audit_record rename to away")

    refused = await gate.api("POST", "/upstreams", UPSTREAM)

    assert (refused.status, refused.content["code"]) == (503, "store_unavailable")
    assert (await gate.api("GET", "/upstreams/billing")).status == 404
    await sql(gate, "alter table away rename to audit_record")
    assert (await gate.api("POST", "/upstreams", UPSTREAM)).status == 201
    assert len(await found(gate, "&object=upstreams/billing")) == 1


async def test_secrets_are_not_in_the_trail(database: dict[str, Any], gateway: StartGateway) -> None:
    gate = await started(gateway, **database, api_references=["literal", "env"])
    auth = {"type": "bearer", "token": "literal:canary-5f0c2d"}
    assert (await gate.api("POST", "/upstreams", {**UPSTREAM, "auth": auth})).status == 201
    assert (
        await gate.api("POST", "/upstreams", {**UPSTREAM, "name": "b", "auth": {**auth, "token": "env:B"}})
    ).status < 300
    password = {"username": "alice", "password": "canary-7a11e9"}
    assert (await gate.api("POST", "/session", password)).status == 401
    await eventually(lambda: _told(gate, "sessions.refuse"))

    everything = json.dumps(await found(gate))
    assert "canary" not in everything
    assert gate.token not in everything
    assert "sealed:hidden" in everything
    assert "env:B" in everything


async def test_sign_ins_failed_ones_and_sign_outs_are_recorded(gate: RunningGateway) -> None:
    await gate.api("POST", "/users", {"name": "alice"})
    assert (await gate.api("PUT", "/users/alice/password", {"password": "correct horse battery"})).status == 204
    signed_in = await gate.api(
        "POST", "/session", {"username": "alice", "password": "correct horse battery", "bearer": True}
    )
    assert signed_in.status < 300, signed_in.content
    await gate.api("POST", "/session", {"username": "alice", "password": "wrong horse battery"})
    assert (await gate.api("DELETE", "/session", token=signed_in.content["token"])).status == 204
    await eventually(lambda: _told(gate, "sessions.delete"))

    records = await found(gate, "&action=sessions.*")
    assert [(each["action"], each["actor"], each["outcome"]) for each in records] == [
        ("sessions.create", "user:alice", "ok"),
        ("sessions.refuse", "user:alice", "refused"),
        ("sessions.delete", "user:alice", "ok"),
    ]
    assert {each["address"] for each in records} == {"127.0.0.1"}


async def test_refusals_are_recorded(gate: RunningGateway) -> None:
    assert (await gate.api("GET", "/upstreams", token="nonsense")).status == 401
    await eventually(lambda: _told(gate, "requests.refuse"))

    [record] = await found(gate, "&action=requests.refuse")
    assert (record["object"], record["outcome"]) == ("/api/v1/upstreams", "refused")
    assert record["details"] == {"status": 401, "verb": "GET"}


async def test_of_a_flood_of_refusals_the_first_are_kept_and_the_others_are_counted() -> None:
    buffer, clock = Buffer(10_000), MovedClock()
    requests = Requests(buffer, clock, sign_ins=True, refusals=True)
    for _ in range(MOST + 7):
        refused = Served({"method": "GET", "client": ("192.0.2.1", 1)}, [], route="/api/v1/users", status=401)
        requests.done(iter([refused]))
    clock.time += WINDOW
    requests.done(iter([Served({"method": "GET", "client": None}, [], route="/api/v1/users", status=403)]))

    *kept, gap, last = buffer.take(10_000)
    assert len(kept) == MOST
    assert (gap.action, gap.details["lost"], last.details["status"]) == ("audit.gap", 7, 403)


async def test_calls_are_recorded_by_name_without_what_is_in_them(gateway: StartGateway) -> None:
    gate = await started(gateway, {"calls": "all"})
    await gate.call("demo__echo", {"text": "canary-argument"})
    await gate.call("demo__add", {"a": "x"})
    await gate.call("demo__nothing")
    await eventually(lambda: _count(gate, "tools/call", 3))

    records = await found(gate, "&action=tools/call")
    assert [(each["object"], each["outcome"]) for each in records] == [
        *(("demo/echo", "ok"), ("demo/add", "tool_error"), ("?/demo__nothing", "error"))
    ]
    assert records[0]["details"]["server"] == "all"
    assert "canary" not in json.dumps(records)


async def test_only_failed_calls_are_recorded_if_that_is_wanted(gateway: StartGateway) -> None:
    gate = await started(gateway, {"calls": "failed"})
    await gate.call("demo__echo", {"text": "hello"})
    await gate.call("demo__nothing")
    await eventually(lambda: _told(gate, "tools/call"))

    assert [each["object"] for each in await found(gate, "&action=tools/call")] == ["?/demo__nothing"]


async def test_refusals_at_the_endpoints_of_mcp_are_recorded_if_that_is_wanted(gateway: StartGateway) -> None:
    gate = await started(gateway, {"refusals": "all"})
    refused = await gate.call("demo__echo", headers={"authorization": "Bearer nonsense"})
    assert refused.status == 401
    await eventually(lambda: _told(gate, "requests.refuse"))

    [record] = await found(gate, "&action=requests.refuse")
    assert (record["object"], record["details"]["server"]) == ("/servers/{server}/mcp", "all")


async def test_nothing_is_on_the_way_of_calls_that_are_not_recorded(gateway: StartGateway) -> None:
    gate = await started(gateway)

    kernel = gate.gateway.kernel
    hooks = {info.name: info for info in kernel.host.report()}
    assert "audit" in hooks
    assert type(gate.gateway.app).__name__ == "Endpoint"
    await gate.call("demo__echo", {"text": "hello"})
    assert await found(gate, "&action=tools/call") == []


async def test_the_request_id_that_another_plugin_gives_is_recorded(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(telling.installed(tmp_path / "installed")))
    gate = await started(gateway, {"calls": "all"}, enable=["telling", "audit"])

    await gate.api("POST", "/upstreams", UPSTREAM)
    await gate.call("demo__echo", {"text": "hello"})
    await eventually(lambda: _told(gate, "tools/call"))

    assert [each["request_id"] for each in await found(gate) if not each["action"].startswith("node.")] == ["r-1"] * 2


async def test_the_search_has_filters_and_pages(gate: RunningGateway) -> None:
    for number in range(5):
        await gate.api("POST", "/upstreams", {**UPSTREAM, "name": f"u{number}"})

    first = (await gate.api("GET", "/audit?limit=2&action=upstreams.*")).content
    second = (await gate.api("GET", f"/audit?limit=2&action=upstreams.*&cursor={first['next_cursor']}")).content
    assert [each["object"][-2:] for each in first["items"] + second["items"]] == ["u4", "u3", "u2", "u1"]
    [one] = await found(gate, "&object=upstreams/u2&actor=admin&outcome=ok")
    at = one["at"].replace("+", "%2B")
    assert [each["object"] for each in await found(gate, f"&object=upstreams/*&until={at}")] == [
        "upstreams/u0",
        "upstreams/u1",
    ]
    assert (await found(gate, f"&object=upstreams/*&since={at}"))[0] == one
    assert await found(gate, "&actor=user:nobody") == []
    assert await found(gate, "&object=upstreams/%25*") == []
    assert (await gate.api("GET", "/audit?cursor=x")).status == 400
    assert (await gate.api("GET", "/audit?since=yesterday")).status == 400
    assert (await gate.api("GET", "/audit?since=2026")).status == 400


async def test_an_export_is_verified_without_the_gateway(gate: RunningGateway) -> None:
    for number in range(5):
        await gate.api("POST", "/upstreams", {**UPSTREAM, "name": f"u{number}"})

    lines = await _exported(gate, "")
    verdict, is_selection = verify_lines(lines)
    assert (verdict.problems, is_selection) == ([], False)
    assert verdict.checked == len(lines) - 1
    assert str(verdict.end) == (await gate.api("GET", "/audit/verify")).content["end"]
    assert verify_lines([lines[0], *lines[2:]])[0].problems
    assert verify_lines(lines[:-1])[0].problems

    some = await _exported(gate, "?object=upstreams/u3")
    verdict, is_selection = verify_lines(some)
    assert (verdict.checked, verdict.problems, is_selection) == (1, [], True)
    assert verify_lines([some[0].replace(b"u3", b"u4"), some[1]])[0].problems


async def test_verify_answers_what_is_wrong(gate: RunningGateway) -> None:
    await gate.api("POST", "/upstreams", UPSTREAM)
    await eventually(lambda: _told(gate, "node.start"))
    intact = (await gate.api("GET", "/audit/verify")).content
    assert (intact["is_intact"], intact["problems"], intact["next_cursor"]) == (True, [], None)

    await sql(gate, "update audit_record set actor = 'user:mallory' where seq = 1")

    broken = (await gate.api("GET", "/audit/verify")).content
    assert (broken["is_intact"], broken["problems"]) == (False, [{"seq": 1, "what": "record 1 was altered"}])
    assert (await gate.api("GET", f"/audit/verify?known={intact['end']}")).status == 200
    assert (await gate.api("GET", "/audit/verify?known=nonsense")).status == 400


async def test_settings_that_cannot_be_are_refused(gateway: StartGateway) -> None:
    with pytest.raises(ConfigError, match="on_full"):
        await gateway(enable=["audit"], plugins={"audit": {"on_full": "panic"}})


async def _exported(gate: RunningGateway, query: str) -> list[bytes]:
    headers = {"authorization": f"Bearer {gate.token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{gate.url}/api/v1/audit/export{query}", headers=headers) as got,
    ):
        assert got.content_type == "application/jsonl"
        return (await got.read()).splitlines(keepends=True)


async def _told(gate: RunningGateway, action: str) -> bool:
    return bool(await found(gate, f"&action={action}"))


async def _count(gate: RunningGateway, action: str, count: int) -> bool:
    return len(await found(gate, f"&action={action}")) == count
