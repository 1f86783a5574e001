"""Another configuration takes over while clients use the gateway: nothing is lost, what did not change goes on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

from toolway.config.tables import PluginTables
from toolway.errors import ConfigError, Conflict, PluginError
from toolway.lifecycle import differences
from toolway_testing import telling
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

SLOW = """
import json, os, sys, time
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, result = message["method"], {}
    if method == "initialize":
        about = {"name": "slow", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": about}
    elif method == "tools/list":
        result = {"tools": [{"name": "pid", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        time.sleep(message["params"]["arguments"].get("seconds", 0))
        result = {"content": [{"type": "text", "text": str(os.getpid())}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


def process(name: str, directory: Path, **more: Any) -> dict[str, Any]:
    """An upstream that says which process it is, and takes its time."""
    import sys

    program = directory / "slow.py"
    program.write_text(SLOW)
    return {"name": name, "kind": "stdio", "command": [sys.executable, str(program)], **more}


@pytest.fixture
async def gate(gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningGateway:
    monkeypatch.syspath_prepend(str(telling.installed(tmp_path / "installed")))
    gate = await gateway(upstreams=[process("kept", tmp_path), process("other", tmp_path)])
    for name in ("kept", "other"):
        await gate.gateway.kernel.catalog.refresh(name)
    return gate


async def pid(gate: RunningGateway, upstream: str, **arguments: Any) -> str:
    answer = await gate.call(f"{upstream}__pid", arguments)
    assert "result" in answer.content, answer
    text: str = answer.content["result"]["content"][0]["text"]
    return text


@contextlib.asynccontextmanager
async def under_load(gate: RunningGateway) -> AsyncIterator[list[str]]:
    """Calls and lists one after the other meanwhile; whatever is not answered properly is an error at the end."""
    pids, is_over = list[str](), False

    async def load() -> None:
        while not is_over:
            pids.append(await pid(gate, "kept"))
            assert (await gate.mcp("tools/list")).status == 200

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(load())
        yield pids
        is_over = True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # collects what other tests left too
async def test_twenty_reloads_under_load_lose_nothing_and_leave_nothing_behind(gate: RunningGateway) -> None:
    before = await pid(gate, "kept")
    gone = []
    async with under_load(gate) as pids:
        for number in range(20):
            gone.append(ref(gate.gateway))
            enable = ["telling"] if number % 2 else []
            if number == 10:
                with pytest.raises(PluginError):
                    await gate.reload(plugins=PluginTables(enable=["nothing-of-the-kind"]))
            await gate.reload(plugins=PluginTables(enable=enable))
            await asyncio.sleep(0)

    assert set(pids) == {before}, "its process is the same"
    await eventually(lambda: not gate.life._retiring.running)
    gc.collect()
    assert [each() for each in gone] == [None] * 20


async def test_a_call_that_runs_during_a_reload_is_answered_by_the_gateway_that_began_it(gate: RunningGateway) -> None:
    before = await pid(gate, "kept")
    slow = asyncio.create_task(pid(gate, "kept", seconds=0.5))
    await eventually(lambda: gate.gateway.plane.dispatch.calls.total == 1)

    await gate.reload(plugins=PluginTables(enable=["telling"]))

    assert not slow.done()
    assert (await gate.mcp("tools/list")).status == 200, "others do not wait for it"
    assert await slow == before


async def test_what_changed_is_begun_anew_and_what_is_gone_is_gone(gate: RunningGateway, tmp_path: Path) -> None:
    kept, other = await pid(gate, "kept"), await pid(gate, "other")

    changed = process("other", tmp_path, description="now with a description")
    await gate.reload(upstreams=(process("kept", tmp_path), changed, process("new", tmp_path)))

    await eventually(lambda: len(gate.gateway.plane.view("all").listed("tool")) == 3)
    assert await pid(gate, "kept") == kept
    assert await pid(gate, "other") != other
    assert await pid(gate, "new") not in (kept, other)

    await gate.reload(upstreams=(process("kept", tmp_path),))
    assert (await gate.call("new__pid")).status == 400
    assert await pid(gate, "kept") == kept


async def test_open_streams_live_on_and_hear_of_what_the_reload_changed(gate: RunningGateway, tmp_path: Path) -> None:
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28"}
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    named = {**headers, "mcp-method": "subscriptions/listen"}
    async with gate.http.post(f"{gate.url}/mcp", json=message, headers=named) as stream:
        assert "acknowledged" in await _until(stream.content, "acknowledged")

        await gate.reload(upstreams=(process("kept", tmp_path),))

        assert "tools/list_changed" in await _until(stream.content, "list_changed")


async def test_a_legacy_session_and_its_stream_live_on(gate: RunningGateway) -> None:
    headers = {"accept": "application/json, text/event-stream"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    async with gate.http.post(f"{gate.url}/mcp", json=hello, headers=headers) as answer:
        headers["mcp-session-id"] = answer.headers["mcp-session-id"]
    async with gate.http.get(f"{gate.url}/mcp", headers=headers) as stream:
        await gate.reload(plugins=PluginTables(enable=["telling"]))

        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        async with gate.http.post(f"{gate.url}/mcp", json=ping, headers=headers) as answer:
            assert answer.status == 200
        await gate.reload(upstreams=())
        assert "tools/list_changed" in await _until(stream.content, "list_changed")


async def test_a_gateway_whose_service_does_not_start_does_not_take_over(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, serving = await pid(gate, "kept"), gate.gateway

    @contextlib.asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        await asyncio.sleep(0)
        raise RuntimeError("no")
        yield  # type: ignore[unreachable]

    prepared = await gate.life.prepare()
    monkeypatch.setattr(prepared.gateway.plane.catalog, "run", broken)
    with pytest.raises(RuntimeError):
        await prepared.commit()

    assert gate.gateway is serving
    assert serving.plane.attempts.catalog is serving.plane.catalog
    assert await pid(gate, "kept") == before
    await gate.reload()
    assert await pid(gate, "kept") == before


async def test_gauges_are_not_read_of_a_gateway_that_does_not_take_over(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gate.reload(plugins=PluginTables(enable=["telling"]))
    prepared = await gate.life.prepare()

    class Broken:
        @contextlib.asynccontextmanager
        async def run(self) -> AsyncIterator[None]:
            prepared.gateway.kernel.metrics.sampled("toolway_workers", "Those that run.", lambda: 7.0)
            await asyncio.sleep(0)
            raise RuntimeError("no")
            yield  # type: ignore[unreachable]

    monkeypatch.setattr(prepared.gateway, "services", [*prepared.gateway.services, Broken()])
    with pytest.raises(RuntimeError):
        await prepared.commit()

    assert read(gate, "toolway_workers") == 1.0


def read(gate: RunningGateway, name: str) -> float:
    """The value of a gauge now."""
    metrics = gate.gateway.kernel.metrics
    metrics.sample()
    return {each.name: each for each in metrics.collect()}[name].series[()][0]


async def test_a_configuration_that_is_too_long_for_the_workers_to_share_changes_nothing(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = gate.gateway
    monkeypatch.setattr("toolway.lifecycle.LONGEST", 10)
    with pytest.raises(ConfigError, match="are the most for a reload"):
        await gate.reload()
    monkeypatch.undo()

    assert gate.gateway is serving
    await gate.reload()
    assert gate.gateway is not serving


async def test_nothing_is_counted_any_more_once_nothing_exports_it(gate: RunningGateway) -> None:
    await gate.reload(plugins=PluginTables(enable=["telling"]))
    assert gate.gateway.plane.dispatch.watchers.see_calls

    await gate.reload(plugins=PluginTables(enable=[]))
    assert not gate.gateway.plane.dispatch.watchers.see_calls


async def test_one_reload_at_a_time_and_what_is_cancelled_changes_nothing(gate: RunningGateway) -> None:
    serving = gate.gateway
    prepared = await gate.life.prepare()
    with pytest.raises(Conflict):
        await gate.life.prepare()
    await prepared.cancel()

    assert gate.gateway is serving
    assert (await gate.mcp("tools/list")).status == 200
    await gate.reload()
    assert gate.gateway is not serving


async def test_a_reload_is_under_way_until_the_other_gateway_serves(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, may_start = await gate.life.prepare(), asyncio.Event()
    run = prepared.gateway.plane.catalog.run

    @contextlib.asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        await may_start.wait()
        async with run():
            yield

    monkeypatch.setattr(prepared.gateway.plane.catalog, "run", slow)
    commit = asyncio.create_task(prepared.commit())
    await asyncio.sleep(0)
    with pytest.raises(Conflict):
        await gate.life.prepare()
    may_start.set()
    await commit

    assert gate.gateway is prepared.gateway
    await gate.reload()


async def test_a_gateway_that_must_not_serve_is_refused(gate: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(gateway: object) -> None:
        raise ConfigError("not this one")

    serving = gate.gateway
    monkeypatch.setattr(gate.life, "_admit", refuse)

    with pytest.raises(ConfigError):
        await gate.reload()
    assert gate.gateway is serving


async def test_differences_name_paths_and_what_needs_a_restart_never_values(gate: RunningGateway) -> None:
    old = gate.config
    settings = old.gateway.model_copy(update={"page_size": 7, "workers": 3})
    upstreams = ({**old.upstreams[0], "description": "hush"}, {"name": "new", "kind": "http"})
    new = old.model_copy(
        update={"gateway": settings, "upstreams": upstreams, "plugins": PluginTables(enable=["a"], a={"x": "hush"})}
    )

    found = [(each.what, each.path, each.needs_restart) for each in differences(old, new)]
    assert found == [
        ("changed", "gateway.page_size", False),
        ("changed", "gateway.workers", True),
        ("added", "plugins.a.x", False),
        ("changed", "plugins.enable", False),
        ("added", "plugins.enable.a", False),
        ("changed", "upstreams.kept", False),
        ("added", "upstreams.new", False),
        ("removed", "upstreams.other", False),
    ]


async def _until(content: Any, word: str) -> str:
    text = ""
    async with asyncio.timeout(4):
        while word not in text:
            text += (await content.readany()).decode()
    return text
