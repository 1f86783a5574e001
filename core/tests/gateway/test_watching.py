"""Watchers see requests, calls and attempts as they are; what they do wrong changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from msgspec import Raw

from toolway.config.tables import PluginTables
from toolway.errors import ClientCannot
from toolway.hookspecs.auth import Principal
from toolway.hookspecs.routing import Call, ClientProfile, Peer, Reply
from toolway.hookspecs.telemetry import SERVED, Served
from toolway_testing import telling
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually
from toolway_testing.telling import TOLD
from toolway_testing.uncollected import without_collector


@pytest.fixture
async def gate(gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningGateway:
    monkeypatch.syspath_prepend(str(telling.installed(tmp_path / "installed")))
    gate = await gateway(demo=True, enable=["telling"])
    await gate.gateway.kernel.catalog.refresh("demo")
    return gate


async def test_a_call_is_seen_on_three_levels_and_everything_of_it_knows_its_request(gate: RunningGateway) -> None:
    answer = await gate.call("demo__add", {"a": 1, "b": 2})

    assert answer.status == 200
    assert answer.headers["x-request-id"] == "r-1"
    gate.tell()
    assert TOLD.events == [
        *("request begins", "call begins", "attempt begins", "attempt ends", "call ends in r-1", "request ends"),
    ]
    [request] = TOLD.requests
    assert (request.route, request.server, request.method) == ("/servers/{server}/mcp", "all", "tools/call")
    assert (request.upstream, request.item, request.status) == ("demo", "add", 200)
    assert request.principal is not None
    assert request.seconds > 0
    assert b"protocolVersion" in bytes(request.meta)


async def test_what_is_refused_is_seen_with_its_status(gate: RunningGateway) -> None:
    refused = await gate.mcp("tools/list", server="nothing")
    unknown = await gate.call("demo__nothing")

    gate.tell()
    assert [each.status for each in TOLD.requests] == [refused.status, unknown.status]
    [call] = TOLD.calls
    assert call.target is None
    assert call.reply is not None
    assert call.reply.fault is not None


async def test_the_api_tells_the_template_of_its_path_and_who_asks(gate: RunningGateway) -> None:
    await gate.api("GET", "/upstreams/demo")

    gate.tell()
    [request] = TOLD.requests
    assert request.route == "/api/v1/upstreams/{name}"
    assert request.principal is not None
    assert request.principal.kind != "anonymous"


async def test_requests_of_the_api_are_seen_by_its_watchers_too_as_the_same_request(gate: RunningGateway) -> None:
    answer = await gate.api("GET", "/upstreams/nothing")

    assert answer.status == 404
    gate.tell()
    assert TOLD.events == [*("request begins", "API request r-1 begins", "API request ends with 404", "request ends")]
    assert [each.status for each in TOLD.requests] == [404]


async def test_who_signs_in_is_told_to_watchers(gate: RunningGateway) -> None:
    await gate.api("POST", "/session", {"username": "alice", "password": "is it this?"})

    gate.tell()
    [request] = TOLD.requests
    assert request.told == ("user:alice", "sessions.refuse", "sessions/")


async def test_watchers_that_fail_change_nothing_and_are_told(
    gate: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    TOLD.is_broken = True

    answer = await gate.call("demo__add", {"a": 1, "b": 2})

    assert answer.status == 200
    gate.tell()
    assert [each.message for each in caplog.records if "watcher" in each.message] == ["a watcher failed"] * 4


async def test_a_call_that_was_watched_is_freed_without_the_collector(gate: RunningGateway) -> None:
    with without_collector(Call) as left:
        for _ in range(5):
            await gate.call("demo__add", {"a": 1, "b": 2})
        gate.tell()
        for told in (TOLD.requests, TOLD.calls, TOLD.attempts):
            told.clear()

        assert left() == 0


async def test_whoever_is_told_late_keeps_no_result_and_no_exchange(gate: RunningGateway) -> None:
    await gate.call("demo__add", {"a": 1, "b": 2})
    gate.tell()

    [call], [attempt] = TOLD.calls, TOLD.attempts
    assert (call.reply, attempt.reply, attempt.call) == (Reply(), Reply(), call)
    call.peer.notify("notifications/message", {})
    with pytest.raises(ClientCannot, match="the call is over"):
        await call.peer.ask("roots/list", Raw(b"{}"))
    assert 0 < attempt.seconds <= call.seconds <= TOLD.requests[0].seconds


async def test_what_ended_last_is_told_before_the_gateway_stops(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolway.edge.metrics.LATE", 3_600)
    gate.tell()
    told = len(TOLD.requests)
    await gate.call("demo__add", {"a": 1, "b": 2})
    assert len(TOLD.requests) == told

    await gate.reload(plugins=PluginTables(enable=[]))

    await eventually(lambda: "service ends" in TOLD.events)
    assert len(TOLD.requests) == told + 1
    assert TOLD.events[-2:] == ["request ends", "service ends"]


async def test_a_request_bears_the_name_of_its_call_and_not_of_one_that_was_made_after_it(
    gate: RunningGateway,
) -> None:
    request, alice, client = Served({}, []), Principal("user:alice"), ClientProfile("2026-07-28")
    told = SERVED.set(request)

    for name in ("demo__add", "demo__echo"):
        params, nobody = {"name": Raw(b'"%b"' % name.encode()), "arguments": Raw(b"{}")}, cast("Peer", None)
        await gate.gateway.kernel.call(Call("tools/call", params, {}, "all", alice, client, nobody, 0.0))

    SERVED.reset(told)
    assert [each.target.name for each in request.calls or () if each.target] == ["add", "echo"]
    assert (request.upstream, request.item) == ("demo", "add")


async def too_much(gate: RunningGateway) -> AsyncIterator[bytes]:
    """A body that turns out to be larger than the door lets in."""
    for _ in range(gate.config.gateway.limits.body // 65_536 + 1):
        yield b" " * 65_536


async def test_what_the_door_refuses_after_it_was_shown_is_told_with_its_status_and_answered_with_its_id(
    gate: RunningGateway,
) -> None:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    async with gate.http.post(f"{gate.url}/mcp", data=too_much(gate), headers=headers) as answer:
        assert (answer.status, answer.headers["x-request-id"]) == (413, "r-1")

    await eventually(lambda: TOLD.requests)
    [request] = TOLD.requests
    assert (request.status, request.outcome) == (413, "error")


async def test_what_the_door_refuses_of_the_api_is_told_to_both_kinds_of_watchers_after_the_answer(
    gate: RunningGateway,
) -> None:
    headers = {"content-type": "application/json", "authorization": f"Bearer {gate.token}"}
    async with gate.http.post(f"{gate.url}/api/v1/upstreams", data=too_much(gate), headers=headers) as answer:
        assert (answer.status, answer.headers["x-request-id"]) == (413, "r-1")

    await eventually(lambda: TOLD.requests)
    assert TOLD.events[-2:] == ["API request ends with 413", "request ends"]


async def test_an_answer_that_failed_is_told_as_what_the_client_got_and_the_log_knows_whose_it_was(
    gate: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Served | None] = []
    monkeypatch.setattr("toolway.edge.edge.log.error", lambda *_, **__: told.append(SERVED.get()))
    monkeypatch.setattr(gate.gateway.endpoint, "_access", None)
    monkeypatch.setattr(gate.gateway.endpoint, "_refuse", None)

    answer = await gate.call("demo__add", {"a": 1, "b": 2})

    gate.tell()
    [request] = TOLD.requests
    assert (answer.status, answer.headers["x-request-id"], request.status) == (500, "r-1", 500)
    assert told == [request]


async def test_what_is_read_is_counted(gate: RunningGateway) -> None:
    await gate.call("demo__add", {"a": 1, "b": 2})
    await gate.call("demo__nothing")
    await gate.call("demo__add", {"a": "x"})

    assert TOLD.total("toolway_calls_total", "tools/call", "all", "demo", "ok") == [1]
    assert TOLD.total("toolway_calls_total", "tools/call", "all", "", "error") == [1]
    assert TOLD.total("toolway_tool_calls_total", "demo", "add", "tool_error") == [1]
    assert TOLD.total("toolway_attempts_total", "demo", "ok", "no") == [2]
    assert sum(TOLD.total("toolway_call_seconds", "tools/call", "demo")[:-1]) == 2
    gate.gateway.kernel.metrics.sample()
    assert TOLD.total("toolway_calls_in_flight") == [0]


async def test_a_redactor_that_fails_hides_everything(gate: RunningGateway) -> None:
    redact = gate.gateway.kernel.redact

    assert redact("be hush now") == "be [hushed] now"
    TOLD.is_broken = True
    assert redact("be hush now") == "[redacted: the redactor failed with RuntimeError]"
