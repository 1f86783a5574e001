"""While the trail cannot be written calls are blocked or go on, and nothing is missing silently."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from toolway.config import PluginTables
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually


async def started(gateway: StartGateway, **settings: Any) -> RunningGateway:
    audit = {"calls": "all", "buffer": 100, "interval": 0.02, **settings}
    gate = await gateway(enable=["audit"], plugins={"audit": audit}, demo=True)
    await eventually(lambda: gate.gateway.plane.view("all").listed("tool"))
    return gate


async def sql(gate: RunningGateway, statement: str) -> None:
    async with gate.gateway.kernel.database.write() as tx:
        await (await tx.session.connection()).execute(text(statement))


async def recorded(gate: RunningGateway, action: str) -> list[dict[str, Any]]:
    answer = await gate.api("GET", f"/audit?limit=500&action={action}")
    found: list[dict[str, Any]] = answer.content["items"]
    return found


@pytest.mark.parametrize("on_full", ["continue", "block"])
async def test_what_is_missing_is_counted_and_calls_are_refused_if_that_is_wanted(
    gateway: StartGateway, on_full: str
) -> None:
    gate = await started(gateway, on_full=on_full)
    await eventually(lambda: recorded(gate, "node.start"))
    await sql(gate, "alter table audit_record rename to away")

    answers = [await gate.call("demo__echo", {"text": "hello"}) for _ in range(130)]
    gate.tell()

    succeeded = sum("result" in answer.content for answer in answers)
    assert succeeded == (130 if on_full == "continue" else 100)
    if on_full == "block":
        assert "the audit trail cannot be written now" in answers[-1].content["error"]["message"]
    ready = await gate.http.get(f"{gate.url}/ready")
    assert ready.status == 200

    await sql(gate, "alter table away rename to audit_record")
    missing = "lost" if on_full == "continue" else "refused"
    await eventually(lambda: _are_missing(gate, missing, 30))  # it may take two records: some may be told later

    assert {gap["outcome"] for gap in await recorded(gate, "audit.gap")} == {missing}
    assert len(await recorded(gate, "tools/call")) == 100
    assert "result" in (await gate.call("demo__echo", {"text": "hello"})).content
    assert (await gate.api("GET", "/audit/verify")).content["problems"] == []


async def test_what_waits_is_written_when_the_gateway_ends(gateway: StartGateway, tmp_path: Any) -> None:
    gate = await started(gateway, interval=60)
    for _ in range(5):
        await gate.call("demo__echo", {"text": "hello"})
    gate.tell()

    assert await recorded(gate, "tools/call") == []
    writer = next(each for each in gate.gateway.services if each.name == "audit")
    async with writer.run():
        pass

    assert len(await recorded(gate, "tools/call")) == 5
    assert len(await recorded(gate, "node.stop")) == 1


async def test_a_gateway_that_takes_over_goes_on_with_the_trail(gateway: StartGateway) -> None:
    gate = await started(gateway)
    await gate.call("demo__echo", {"text": "hello"})

    audit = {"calls": "all", "interval": 0.02}
    await gate.reload(plugins=PluginTables(enable=["audit"], audit=audit))
    await gate.call("demo__echo", {"text": "hello"})
    await eventually(lambda: _are_recorded(gate, "tools/call", 2))
    await eventually(lambda: _are_recorded(gate, "node.stop", 1))

    assert len(await recorded(gate, "node.start")) == 2
    assert (await gate.api("GET", "/audit/verify")).content["problems"] == []


async def _are_missing(gate: RunningGateway, missing: str, count: int) -> bool:
    found: int = sum(gap["details"].get(missing, 0) for gap in await recorded(gate, "audit.gap"))
    return found == count


async def _are_recorded(gate: RunningGateway, action: str, count: int) -> bool:
    return len(await recorded(gate, action)) == count
