"""The plugin in a gateway: one call for all, news of upstreams, reloads, the API, the command, metrics."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from behind import RULES, Scripted, read, started
from mcp import Client

from toolway.cli.app import run
from toolway.config.tables import PluginTables
from toolway.plugin import ConfigError
from toolway_testing import telling
from toolway_testing.counted import counted
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

CALL = "up__echo_raw"


async def kept(gate: RunningGateway) -> int:
    """How many copies there are."""
    return int((await gate.api("GET", "/cache")).content["entries"])


async def test_500_clients_on_a_cold_key_make_one_call(
    gateway: StartGateway, upstream: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(telling.installed(tmp_path / "installed")))
    gate = await started(gateway, upstream, "telling")
    await upstream.send("PUT", "/_order", {"trick": "late", "method": "tools/call", "times": 1})

    answers = await asyncio.gather(*(gate.call(CALL, {"hot": 1}, server="all") for _ in range(500)))

    assert {answer.status for answer in answers} == {200}
    assert {answer.content["result"]["received"]["name"] for answer in answers} == {"echo_raw"}
    assert await upstream.calls() == 1
    report = (await gate.api("GET", "/cache")).content
    assert (report["misses"], report["hits"] + report["joined"]) == (1, 499)
    assert counted(gate, "toolway_cache_entries") == 1
    assert counted(gate, "toolway_cache_requests_total", "up", "miss") == 1
    gate.tell()
    assert {call.answered_by for call in telling.TOLD.calls} == {"", "cache"} and len(telling.TOLD.attempts) == 1


async def test_an_old_copy_is_the_answer_at_once_while_the_gateway_renews_it(
    gateway: StartGateway, upstream: Scripted
) -> None:
    short = [{"items": ["up/*"], "read_only": True, "ttl": 0.2, "override": True}]
    gate = await started(gateway, upstream, rules=short)
    await gate.call(CALL, server="all")
    await read(gate, "raw://one")
    await eventually(lambda: are_old(gate, 2))
    await upstream.send("PUT", "/_order", {"trick": "hang", "times": 2})

    async with asyncio.timeout(5):
        answers = [
            await gate.call(CALL, server="all"),
            await gate.mcp("resources/read", {"uri": "raw://one"}, server="all"),
        ]

    assert [answer.headers.get("content-type") for answer in answers] == ["application/json"] * 2
    assert all("result" in answer.content for answer in answers)
    await eventually(lambda: have_arrived(upstream, 2))
    report = (await gate.api("GET", "/cache")).content
    assert (report["refreshes"], report["misses"], report["stale"]) == (2, 2, 2)


async def have_arrived(upstream: Scripted, many: int) -> bool:
    return [await upstream.calls(method) for method in ("tools/call", "resources/read")] == [many, many]


async def are_old(gate: RunningGateway, many: int) -> bool:
    entries = (await gate.api("GET", "/cache/entries")).content["items"]
    return len([each for each in entries if each["fresh_for"] < 0]) == many


@pytest.mark.parametrize(("mode", "calls"), [("2026-07-28", 1), ("legacy", 2)])
async def test_clients_of_both_eras_get_copies_and_each_session_with_a_conversation_of_its_own_has_its_own(
    gateway: StartGateway, upstream: Scripted, mode: str, calls: int
) -> None:
    gate = await started(gateway, upstream)

    for _ in range(2):
        async with Client(f"{gate.url}/servers/all/mcp", mode=mode, cache=None) as client:
            answers = [await client.call_tool(CALL, {"n": 1}) for _ in range(3)]
        assert [answer.structured_content for answer in answers] == [{"arguments": {"n": 1}}] * 3

    assert await upstream.calls() == calls


async def test_news_of_the_upstream_drop_what_is_kept_at_once(gateway: StartGateway, upstream: Scripted) -> None:
    gate = await started(gateway, upstream)
    listening = asyncio.create_task(listen(gate, "raw://one"))
    try:
        await eventually(lambda: streams(upstream, 2))
        for uri in ("raw://one", "raw://two"):
            await read(gate, uri)
        await gate.call(CALL, server="all")
        assert await kept(gate) == 3

        await upstream.notify("notifications/resources/updated", uri="raw://one")
        await eventually(lambda: equals(gate, 2))
        await upstream.notify("notifications/tools/list_changed")
        await eventually(lambda: equals(gate, 1))
        await upstream.notify("notifications/resources/list_changed")
        await eventually(lambda: equals(gate, 0))
    finally:
        listening.cancel()


async def listen(gate: RunningGateway, uri: str) -> None:
    """What makes the gateway hear of a resource: a client who wants to."""
    await gate.mcp("subscriptions/listen", {"notifications": {"resourceSubscriptions": [uri]}}, server="all")


async def streams(upstream: Scripted, most: int) -> bool:
    return await upstream.notify("notifications/message", level="debug", data="") >= most


async def equals(gate: RunningGateway, wanted: int) -> bool:
    return await kept(gate) == wanted


async def test_copies_outlive_a_reload_unless_the_settings_change(gateway: StartGateway, upstream: Scripted) -> None:
    gate = await started(gateway, upstream)
    await gate.call(CALL, server="all")
    table = {"rules": RULES, "jitter": 0}

    await gate.reload(plugins=PluginTables.model_validate({"enable": ["cache", "rbac"], "cache": table}))
    await gate.reload(plugins=PluginTables.model_validate({"enable": ["cache"], "cache": table}))
    await gate.call(CALL, server="all")

    assert (await upstream.calls(), await kept(gate)) == (1, 1)
    await gate.reload(plugins=PluginTables.model_validate({"enable": ["cache"], "cache": {**table, "stale": 1}}))
    assert await kept(gate) == 0


async def typed(gate: RunningGateway, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["toolway", "--url", gate.url, "--token", gate.token, "--json", *arguments])

    def running() -> int:
        with pytest.raises(SystemExit) as ended:
            run()
        return int(ended.value.code or 0)

    return await asyncio.to_thread(running)


async def test_what_is_kept_is_shown_dropped_and_fetched_before_it_is_wanted(
    gateway: StartGateway, upstream: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = await started(gateway, upstream)

    async def said(*arguments: str) -> Any:
        assert await typed(gate, monkeypatch, "cache", *arguments) == 0
        return json.loads(capsys.readouterr().out)

    for _ in range(3):
        await gate.call(CALL, {"n": 1}, server="all")
    await gate.call(CALL, {"n": 2}, server="all")
    warmed = await said("warm", "all", "raw://one", "--kind", "resource")
    assert [each["outcome"] for each in warmed] == ["kept", "kept"]
    await read(gate)
    assert await upstream.calls("resources/read") == 2

    (one, two) = await said("stats", "--items")
    assert (one["name"], one["hits"], one["misses"], one["entries"]) == ("up/echo_raw", 2, 2, 2)
    assert (two["name"], two["hits"], two["method"], two["server"]) == ("up/raw://one", 1, "resources/read", "all")
    assert [(row["of"], row["name"], row["entries"]) for row in await said("stats")] == [
        ("server", "all", 4),
        ("upstream", "up", 4),
        ("all", "", 4),
    ]
    entries = await said("entries")
    assert {entry["principal"] for entry in entries} == {"anonymous", ""} and "received" not in json.dumps(entries)
    assert (await said("flush", "--key", entries[0]["key"]))["removed"] == 1
    assert (await said("flush", "--tool", "up/echo_raw", "--upstream", "up"))["removed"] == 1
    assert (await said("flush", "--pattern", "up/raw://t*"))["removed"] == 0
    assert (await said("flush", "--all"))["removed"] == 2
    assert await typed(gate, monkeypatch, "cache", "flush") != 0
    assert "say which copies" in capsys.readouterr().err
    failed = await said("warm", "all", "up__nothing")
    assert {(each["outcome"], each["reason"]) for each in failed} == {("failed", "Unknown tool: up__nothing")}
    assert (await gate.api("POST", "/cache/flush", {})).status == 400


async def test_a_flush_names_the_nodes_that_do_not_answer(gateway: StartGateway, upstream: Scripted) -> None:
    gate = await started(gateway, upstream)
    await gate.call(CALL, server="all")
    await gate.gateway.kernel.keyvalue.set("cache-node:gone", b"of-another-machine", 60)

    flushed = (await gate.api("POST", "/cache/flush", {"everything": True})).content

    assert (flushed["removed"], flushed["silent"]) == (1, ["of-another-machine"])
    assert flushed["nodes"] == [{"node": gate.gateway.kernel.node, "removed": 1}]


async def test_without_the_plugin_every_call_goes_to_the_upstream(gateway: StartGateway, upstream: Scripted) -> None:
    table = {"name": "up", "kind": "http", "endpoints": [upstream.url], "allow_private": True}
    gate = await gateway(upstreams=[table], servers=[{"name": "all", "include": ["*/*"], "access": "public"}])
    await eventually(lambda: len(gate.gateway.plane.view("all").listed("tool")) == 2)
    await upstream.send("DELETE", "/_requests")

    for _ in range(2):
        await gate.call(CALL, server="all")

    assert await upstream.calls() == 2
    assert (await gate.api("GET", "/cache")).status == 404


async def test_settings_that_cannot_be_kept_are_told_at_the_start(gateway: StartGateway) -> None:
    with pytest.raises(ConfigError, match="longest"):
        await gateway(enable=["cache"], plugins={"cache": {"longest": -1}})
