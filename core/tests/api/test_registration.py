"""What the answer to a registration says of an upstream's state, through a real gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import ANY

import pytest
import pytest_asyncio

from toolway.bundled.api import collections
from toolway_testing.gateway import StartGateway
from toolway_testing.polling import eventually
from toolway_testing.ports import free_port


@pytest_asyncio.fixture
async def silent_port() -> AsyncIterator[int]:
    """Where connections are accepted and nothing is ever answered."""
    waiting = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await waiting.wait()
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        waiting.set()


def body(port: int, **more: Any) -> dict[str, Any]:
    return {"name": "a", "endpoints": [f"http://127.0.0.1:{port}/mcp"], "allow_private": True, **more}


@pytest.mark.parametrize(("method", "path"), [("POST", "/upstreams"), ("PUT", "/upstreams/a")])
async def test_an_upstream_that_is_down_is_registered_and_the_answer_says_that_it_comes_in_later(
    gateway: StartGateway, method: str, path: str
) -> None:
    gate = await gateway()

    registered = await gate.api(method, path, body(free_port()))

    assert registered.status == 201
    meta = registered.content["meta"]
    assert (meta["status"], meta["items"]) == ("down", 0)
    assert "registered" in meta["note"] and "comes in when it is up" in meta["note"]
    assert "does not answer" in meta["error"] or meta["error"]


async def test_an_upstream_that_is_up_is_discovered_when_it_is_registered(gateway: StartGateway, tmp_path: Any) -> None:
    behind = await gateway(data_dir=tmp_path / "behind", demo=True)
    await eventually(lambda: bool(behind.gateway.plane.catalog.snapshot.servers["all"].listed("tool")))
    gate = await gateway()

    registered = await gate.api("POST", "/upstreams", body(int(behind.url.rpartition(":")[2])))

    meta = registered.content["meta"]
    assert (meta["status"], meta["note"], meta["error"]) == ("up", "", "")
    assert meta["items"] > 0


async def test_the_answer_does_not_wait_long_for_an_upstream_that_is_silent(
    gateway: StartGateway, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collections, "FIRST_SECONDS", 0.1)
    gate = await gateway()

    async with asyncio.timeout(3):
        registered = await gate.api("POST", "/upstreams", body(silent_port))

    assert (registered.status, registered.content["meta"]["status"]) == (201, "pending")


async def test_a_disabled_upstream_says_so(gateway: StartGateway) -> None:
    gate = await gateway()

    registered = await gate.api("POST", "/upstreams", body(free_port(), enabled=False))

    assert "disabled" in registered.content["meta"]["note"]


async def test_a_reference_that_reads_the_host_is_refused_by_the_api_unless_it_is_listed(
    gateway: StartGateway, tmp_path: Any
) -> None:
    secret = body(free_port(), auth={"type": "bearer", "token": "file:/etc/passwd"})
    strict, open_minded = await gateway(), await gateway(data_dir=tmp_path / "other", api_references=["file"])

    refused = await strict.api("POST", "/upstreams", secret)

    assert (refused.status, refused.content["code"]) == (400, "invalid_input")
    assert refused.content["errors"][0]["pointer"] == "/auth/token"
    assert "gateway.api_references" in refused.content["detail"]
    assert (await open_minded.api("POST", "/upstreams", secret)).status == 201


async def test_every_change_is_told_to_the_audit_log_without_secrets(
    gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gate = await gateway()
    auth = {"type": "bearer", "token": "hunter2hunter2"}
    with caplog.at_level("INFO", "toolway.audit"):
        await gate.api("POST", "/upstreams", body(free_port(), enabled=False, auth=auth))
        await gate.api("PUT", "/upstreams/a", body(free_port(), enabled=False))
        await gate.api("DELETE", "/upstreams/a")
        await gate.api("DELETE", "/upstreams/a")

    told = [json.loads(record.message) for record in caplog.records if record.name == "toolway.audit"]
    assert [(each["actor"], each["action"], each["object"]) for each in told] == [
        ("admin", f"upstreams.{action}", "upstreams/a") for action in ("create", "put", "delete")
    ]
    assert told[0]["before"] is told[2]["after"] is None
    assert told[0]["after"]["auth"]["token"] == "sealed:hidden"
    assert told[1]["after"] == told[2]["before"] == {**told[0]["after"], "auth": None, "endpoints": ANY}
    assert "hunter2" not in caplog.text
