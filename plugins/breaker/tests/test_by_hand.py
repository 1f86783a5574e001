"""What people do with circuits, by API and command, and what they see of them."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from misbehaving import GOOD, Scripted, call, circuit, started

from toolway.cli.app import run
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually


async def test_circuits_are_opened_closed_and_reset_by_hand(gateway: StartGateway, pair: list[Scripted]) -> None:
    gate = await started(gateway, *pair)

    opened = await gate.api("POST", "/breakers/up/open", {"endpoint": pair[0].url})
    assert opened.status == 200 and opened.content["state"] == "degraded"
    assert [await call(gate) for _ in range(4)] == ["good"] * 4 and await pair[0].calls() == 0
    opened = await gate.api("POST", "/breakers/up/open", {})
    assert opened.content["state"] == "open" and all(each["by_hand"] for each in opened.content["endpoints"])
    answer = await gate.call("up__result_raw", GOOD)
    assert "the circuits of all 2 endpoints are open (it was opened by hand)" in answer.content["error"]["message"]
    closed = await gate.api("POST", "/breakers/up/close", {})
    assert closed.content["state"] == "closed" and await call(gate) == "good"
    reset = await gate.api("POST", "/breakers/up/reset", {})
    assert [each["reason"] for each in reset.content["endpoints"]] == ["", ""]


async def test_without_a_body_all_circuits_of_the_upstream_are_meant(
    gateway: StartGateway, pair: list[Scripted]
) -> None:
    gate = await started(gateway, *pair)

    for verb, state in (("open", "open"), ("reset", "closed"), ("open", "open"), ("close", "closed")):
        answer = await gate.api("POST", f"/breakers/up/{verb}")
        assert (answer.status, answer.content["state"]) == (200, state)


async def test_what_does_not_exist_is_refused(gateway: StartGateway, upstream: Scripted) -> None:
    gate = await started(gateway, upstream)

    absent = await gate.api("POST", "/breakers/absent/open", {})
    elsewhere = await gate.api("POST", "/breakers/up/open", {"endpoint": "http://127.0.0.1:1/mcp"})

    assert absent.status == 404 and "breakers has no 'absent'" in absent.content["detail"]
    assert elsewhere.status == 400 and "has no endpoint" in elsewhere.content["detail"]


async def test_the_list_has_every_upstream_and_a_state_outlives_changes_of_others(
    gateway: StartGateway, upstream: Scripted
) -> None:
    gate = await started(gateway, upstream)
    await gate.api("POST", "/breakers/up/open", {})

    other = {"name": "other", "kind": "http", "endpoints": ["http://127.0.0.1:1/mcp"], "allow_private": True}
    assert (await gate.api("POST", "/upstreams", other)).status == 201
    await gate.api("POST", "/breakers/other/open", {})
    listed = (await gate.api("GET", "/breakers")).content["items"]
    assert {each["name"]: each["state"] for each in listed} == {"demo": "closed", "other": "open", "up": "open"}

    moved = {**other, "endpoints": ["http://127.0.0.1:2/mcp"]}
    assert (await gate.api("PUT", "/upstreams/other", moved)).status == 200
    listed = (await gate.api("GET", "/breakers")).content["items"]
    assert {each["name"]: each["state"] for each in listed} == {"demo": "closed", "other": "closed", "up": "open"}


async def test_what_is_done_by_hand_on_one_node_is_done_on_all(gateway: StartGateway, upstream: Scripted) -> None:
    gate = await started(gateway, upstream)
    order = {"node": "another", "verb": "open", "upstream": "up", "endpoints": [upstream.url]}

    await gate.gateway.kernel.pubsub.publish("breaker", json.dumps(order).encode())

    await eventually(lambda: _is_open(gate))


async def test_the_commands_do_the_same(
    gateway: StartGateway,
    upstream: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gate = await started(gateway, upstream)

    async def typed(*arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["toolway", "--url", gate.url, "--token", gate.token, *arguments])
        with pytest.raises(SystemExit):
            await asyncio.to_thread(run)
        return capsys.readouterr()

    assert "up is open now" in (await typed("breakers", "open", "up"))[1]
    assert "opened by hand" in (await typed("--json", "breakers", "list"))[0]
    assert "up is closed now" in (await typed("breakers", "close", "up", "--endpoint", upstream.url))[1]
    assert "up is closed now" in (await typed("breakers", "reset", "up"))[1]
    assert "breakers has no 'absent'" in (await typed("breakers", "close", "absent"))[1]


async def _is_open(gate: RunningGateway) -> bool:
    return bool((await circuit(gate))["state"] == "open")
