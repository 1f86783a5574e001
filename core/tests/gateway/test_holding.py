"""What clients hold open (calls, parked calls, streams): how much of it, and how it ends."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from sqlmodel import delete

from toolway.bundled.defaults.admin_token import AdminTokenRow
from toolway.errors import UpstreamTimeout, UpstreamUnreachable
from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import Call, Reply
from toolway_testing.gateway import Answer, RunningGateway, StartGateway
from toolway_testing.polling import eventually

LEGACY = "2025-11-25"
ACCEPT = {"accept": "application/json, text/event-stream"}
PREFIX = "io.modelcontextprotocol/"
CAPABILITIES = {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": {"elicitation": {}}}
SERVER = Path(__file__).with_name("patient_server.py")


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Calls of `wait` are answered once this file exists."""
    return tmp_path / "released"


async def patient(
    gateway: StartGateway, released: Path, upstream: dict[str, Any] | None = None, **settings: Any
) -> RunningGateway:
    """A gateway in front of the server whose tools wait; `upstream` has further settings of it."""
    command = [sys.executable, str(SERVER), str(released)]
    table = {"name": "p", "kind": "stdio", "command": command, "in_flight": 100, **(upstream or {})}
    gate = await gateway(upstreams=[table], **settings)
    await eventually(lambda: gate.gateway.plane.view("all").listed("tool"))
    return gate


def go_on(released: Path) -> None:
    """Let every call of `wait` be answered."""
    released.touch()


async def session(gate: RunningGateway) -> dict[str, str]:
    """The headers of a new legacy session."""
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    headers = {**ACCEPT, "authorization": f"Bearer {gate.token}"}
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    async with gate.http.post(f"{gate.url}/mcp", json=message, headers=headers) as response:
        return {**headers, "mcp-session-id": response.headers["mcp-session-id"], "mcp-protocol-version": LEGACY}


async def legacy_call(gate: RunningGateway, headers: dict[str, str], tool: str) -> Answer:
    message = {"jsonrpc": "2.0", "id": tool, "method": "tools/call", "params": {"name": tool}}
    return await gate._send("POST", f"{gate.url}/mcp", headers, message)


async def park(gate: RunningGateway, **more: Any) -> Answer:
    """A modern call of a tool that asks, by a client that can be asked."""
    headers = {
        **ACCEPT,
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "p__ask",
        "authorization": f"Bearer {gate.token}",
    }
    params = {"name": "p__ask", "_meta": CAPABILITIES, **more}
    return await gate._send(
        "POST", f"{gate.url}/mcp", headers, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    )


def in_flight(gate: RunningGateway) -> int:
    return gate.gateway.plane.dispatch.calls.total


async def test_a_principal_has_at_most_64_calls_in_flight(gateway: StartGateway, released: Path) -> None:
    gate = await patient(gateway, released)
    mine = {"authorization": f"Bearer {gate.token}"}
    calls = [asyncio.create_task(gate.call("p__wait", headers=mine)) for _ in range(64)]
    await eventually(lambda: in_flight(gate) == 64)

    refused = await gate.call("p__wait", headers=mine)

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert refused.content["id"] == 1
    assert "you have 64 calls in flight" in refused.content["error"]["message"]
    go_on(released)
    assert {answer.content["result"]["content"][0]["text"] for answer in await asyncio.gather(*calls)} == {"released"}
    assert in_flight(gate) == 0


async def test_more_calls_than_the_node_may_have_are_told_to_come_back(gateway: StartGateway, released: Path) -> None:
    gate = await patient(gateway, released, limits={"calls": 1})
    first = asyncio.create_task(gate.call("p__wait"))
    await eventually(lambda: in_flight(gate) == 1)

    refused = await gate.call("p__wait")

    assert refused.status == 503 and "the gateway has 1 calls" in refused.content["error"]["message"]
    first.cancel()
    await eventually(lambda: in_flight(gate) == 0)
    go_on(released)
    assert (await gate.call("p__wait")).status == 200


@pytest.mark.parametrize("limits", [{"streams": 1}, {"streams_per_principal": 1}])
async def test_more_streams_than_may_be_open_are_refused(
    gateway: StartGateway, released: Path, limits: dict[str, int]
) -> None:
    gate = await patient(gateway, released, limits=limits)
    headers = await session(gate)
    async with gate.http.get(f"{gate.url}/mcp", headers=headers) as response:
        assert response.status == 200
        mine = {"authorization": f"Bearer {gate.token}"}

        assert (await gate.mcp("subscriptions/listen", {"notifications": {}}, headers=mine)).status == 503


async def test_a_drain_ends_parked_calls_and_streams_and_lets_calls_finish(
    gateway: StartGateway, released: Path
) -> None:
    gate = await patient(gateway, released)
    plane, headers = gate.gateway.plane, await session(gate)
    asked = await park(gate)
    assert asked.content["result"]["resultType"] == "input_required"
    calls = [asyncio.create_task(legacy_call(gate, headers, "p__wait")), asyncio.create_task(gate.call("p__wait"))]
    await eventually(lambda: in_flight(gate) == len(calls))
    async with gate.http.get(f"{gate.url}/mcp", headers=headers) as stream:
        draining = asyncio.create_task(gate.gateway.drain())
        assert (await stream.content.read()).startswith(b"id: ")  # to its clean end

    assert await eventually(lambda: not plane.parked.open)
    assert not draining.done()
    go_on(released)
    answers = await asyncio.gather(*calls)
    await draining

    assert all(answer.status == 200 and "released" in str(answer.content) for answer in answers)
    retried = await park(gate, requestState=asked.content["result"]["requestState"], inputResponses={})
    assert "answered already or has expired" in json.dumps(retried.content)


async def test_a_revoked_credential_takes_its_streams_and_parked_calls_along(
    gateway: StartGateway, released: Path
) -> None:
    gate = await patient(gateway, released)
    plane, headers = gate.gateway.plane, await session(gate)
    await park(gate)
    async with gate.http.get(f"{gate.url}/mcp", headers=headers) as stream:
        assert len(plane.parked.open) == len(plane.streams.open) == 1
        (stay,) = plane.streams.open
        assert stay.visit is not None
        who = await plane.access.authenticate(stay.visit)

        async with gate.gateway.kernel.database.change("tests", "admin", "revoke", "everything") as tx:
            await tx.session.exec(delete(AdminTokenRow))
            await tx.revoke(*who.revoke_keys)

        assert (await stream.content.read()).startswith(b"id: ")
    await eventually(lambda: not (plane.parked.open or plane.streams.open))


async def test_too_many_subscriptions_are_invalid_params(gateway: StartGateway) -> None:
    gate = await gateway()
    uris = [f"test://{number}" for number in range(1_001)]
    gate.gateway.plane.view("all").capabilities["resources"] = {}

    refused = await gate.mcp("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}})

    assert (refused.status, refused.content["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("tries", [1, 2])
async def test_a_call_that_was_slow_on_its_way_keeps_its_deadline(
    gateway: StartGateway, released: Path, tries: int
) -> None:
    gate = await patient(gateway, released, {"timeouts": {"total": 0.3}})
    dispatch = gate.gateway.plane.dispatch
    attempts = dispatch._chains["tools/call"]

    async def slow_and_stubborn(call: Call) -> Reply:
        await eventually(lambda: dispatch._slow)
        for _ in range(tries - 1):
            with pytest.raises(UpstreamTimeout):
                await attempts(call)
            call.peer.clock.expired = False  # type: ignore[attr-defined]
        return await attempts(call)

    dispatch._chains["tools/call"] = slow_and_stubborn
    answer = await gate.call("p__wait", headers={"authorization": f"Bearer {gate.token}"})

    assert answer.content["error"]["data"]["code"] == "upstream_timeout"


class Watching:
    """Keeps the attempts that ended; it refuses them, and lets them be repeated, as told."""

    name = "watching"

    def __init__(self, *, refuses: bool = False, repeats: bool = True) -> None:
        self.refuses, self.repeats = refuses, repeats
        self.ended: list[Attempt] = []

    def begin(self, attempt: Attempt) -> None:
        if self.refuses:
            raise UpstreamUnreachable("refused by the test")

    def done(self, attempt: Attempt) -> None:
        self.ended.append(attempt)
        attempt.is_repeated = attempt.is_repeated and self.repeats


def watch(gate: RunningGateway, watching: Watching) -> Watching:
    attempts: Any = gate.gateway.plane.dispatch._chains["tools/call"]
    attempts.__self__.watchers = ((watching.begin,), (watching.done,))
    return watching


async def test_the_seconds_of_an_attempt_are_without_waiting_for_a_person(
    gateway: StartGateway, released: Path
) -> None:
    gate = await patient(gateway, released)
    watching = watch(gate, Watching())
    asked = (await park(gate)).content["result"]
    begun = monotonic()
    await eventually(lambda: monotonic() > begun + 0.5)

    answers = {key: {"action": "accept", "content": {}} for key in asked["inputRequests"]}
    answer = await park(gate, requestState=asked["requestState"], inputResponses=answers)

    assert "accept" in str(answer.content["result"])
    (attempt,) = watching.ended
    assert 0 <= attempt.seconds < 0.4 and attempt.reply is not None


@pytest.mark.parametrize(("repeats", "attempts"), [(True, 3), (False, 1)])
async def test_a_watcher_may_prevent_that_an_attempt_is_repeated(
    gateway: StartGateway, repeats: bool, attempts: int
) -> None:
    gate = await gateway(demo=True)
    await eventually(lambda: gate.gateway.plane.view("all").listed("tool"))
    watching = watch(gate, Watching(refuses=True, repeats=repeats))

    answer = await gate.call("demo__now", headers={"authorization": f"Bearer {gate.token}"})

    assert answer.content["error"]["data"]["code"] == "upstream_unreachable"
    assert [attempt.number for attempt in watching.ended] == list(range(1, attempts + 1))
    assert not watching.ended[-1].is_repeated
