"""Checks and reports of a whole gateway."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import ssl
import zipfile
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from toolway_diagnostics.reach import upstreams
from toolway_testing.edge.tls import Authority
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually
from toolway_testing.ports import free_port

SECRET = "plantedSecret123"


def declared(name: str, url: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "http", "endpoints": [url], "allow_private": True, **more}


async def checks(gate: RunningGateway) -> dict[str, list[dict[str, str]]]:
    answer = await gate.api("GET", "/diagnostics/checks")
    assert answer.status == 200, answer.content
    found: dict[str, list[dict[str, str]]] = {}
    for each in answer.content["items"]:
        found.setdefault(each["check"], []).append(each)
    return found


async def report(gate: RunningGateway) -> tuple[dict[str, Any], str]:
    headers = {"authorization": f"Bearer {gate.token}"}
    async with gate.http.get(f"{gate.url}/api/v1/diagnostics/bundle", headers=headers) as response:
        assert response.status == 200 and response.content_type == "application/zip"
        content = await response.read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return json.loads(archive.read("report.json")), archive.read("report.html").decode()


async def test_what_is_wrong_is_told_with_what_to_do(gateway: StartGateway, tmp_path: Path) -> None:
    dead = declared("dead", f"http://127.0.0.1:{free_port()}/mcp", auth={"type": "bearer", "token": "literal:abcdef"})
    gate = await gateway(demo=True, enable=["diagnostics"], upstreams=[dead])
    (tmp_path / "data/root.key").chmod(0o644)

    async def is_down() -> bool:
        return gate.gateway.plane.catalog.snapshot.upstreams["dead"].status == "down"

    await eventually(is_down)
    found = await checks(gate)

    wrong = [each for name in ("keys", "upstreams", "configuration") for each in found[name] if each["level"] != "ok"]
    assert [each["check"] for each in wrong] == ["keys", "upstreams", "configuration"]
    assert wrong[0]["todo"].startswith('run "chmod go=') and "dead at http://127.0.0.1:" in wrong[1]["found"]
    assert "upstreams.dead.auth.token uses literal:" in wrong[2]["found"]
    well = ("database", "disk", "migrations", "plugins", "certificates", "event loop", "memory", "files", "health")
    assert set(well) <= found.keys() and all(each["found"] for name in well for each in found[name])
    assert [each["level"] for name in ("migrations", "plugins") for each in found[name]] == ["ok", "ok"]


async def test_reports_and_checks_are_for_administrators(gateway: StartGateway) -> None:
    gate = await gateway(enable=["diagnostics"])

    for path in ("checks", "bundle"):
        assert (await gate.api("GET", f"/diagnostics/{path}", token="twa_wrong")).status == 401
        async with gate.http.get(f"{gate.url}/api/v1/diagnostics/{path}") as response:
            assert response.status == 401


async def test_a_report_has_everything_and_no_secret(gateway: StartGateway) -> None:
    auth = {"type": "bearer", "token": f"literal:{SECRET}"}
    gate = await gateway(
        demo=True,
        enable=["diagnostics"],
        plugins={"diagnostics": {"slow": 0}},
        upstreams=[declared("dead", f"http://127.0.0.1:{free_port()}/mcp", auth=auth)],
    )
    await gate.gateway.kernel.secrets.get(f"literal:{SECRET}")
    logging.getLogger("somebody.else").error("it broke with %s", SECRET)

    async def is_called() -> bool:
        return (await gate.call("demo__echo", {"text": SECRET})).status == 200

    await eventually(is_called)
    await gate.reload(plugins=gate.config.plugins)
    logging.getLogger("somebody.else").warning("after the reload")
    found, page = await report(gate)

    assert SECRET not in json.dumps(found) and SECRET not in page
    assert [name for name, value in found.items() if isinstance(value, dict) and "failed" in value] == []
    assert any("it broke with [redacted]" in line for line in found["logs"] if "somebody" in line)
    assert "after the reload" in found["errors"][-1] and "it broke" in page
    assert found["configuration"][0].keys() == {"path", "value", "origin"}
    assert "toolway_diagnostics" not in found["plugins"][0]["hooks"] and found["plugins"][0]["name"] == "diagnostics"
    assert any(row["name"] == "toolway_calls_total" for row in found["metrics"])
    assert found["database"]["rows"]["alembic_version_toolway"] == 1
    assert found["tasks"] and found["threads"] and found["gateway"]["toolway"]
    assert {"package": "toolway-diagnostics", "version": "0.1.0"} in found["packages"]


@pytest.mark.server
async def test_postgres_is_looked_at_too(gateway: StartGateway, postgres_url: str) -> None:
    gate = await gateway(enable=["diagnostics"], database=f"literal:{postgres_url}")

    found, told = await checks(gate), (await report(gate))[0]["database"]

    assert [each["level"] for name in ("database", "clock", "migrations") for each in found[name]] == ["ok"] * 3
    assert told["kind"] == "postgresql" and told["bytes"] > 0 and "toolway" in told["revisions"]
    assert told["rows"]["alembic_version_toolway"] is not None


async def test_calls_that_were_slow_are_told_without_their_arguments(gateway: StartGateway) -> None:
    gate = await gateway(demo=True, enable=["diagnostics"], plugins={"diagnostics": {"slow": 0, "metrics": False}})

    async def is_called() -> bool:
        return (await gate.call("demo__echo", {"text": "an argument"})).status == 200

    await eventually(is_called)
    gate.tell()
    found, _ = await report(gate)

    [*_, call] = [each for each in found["slow calls"] if each["item"] == "echo"]
    assert (call["upstream"], call["method"], call["outcome"]) == ("demo", "tools/call", "ok")
    assert "an argument" not in json.dumps(found)


async def test_the_event_loop_goes_on_while_a_large_report_is_made(gateway: StartGateway) -> None:
    gate = await gateway(enable=["diagnostics"])
    logger = logging.getLogger("somebody.else")
    for _ in range(150):
        logger.warning("x<&>" * 4_000)
    latest = 0.0

    async def look() -> None:
        nonlocal latest
        while True:
            begun = monotonic()
            await asyncio.sleep(0.01)
            latest = max(latest, monotonic() - begun)

    looking = asyncio.create_task(look())
    found, page = await report(gate)
    looking.cancel()

    assert len(page) > 4_000_000 and len(found["logs"]) > 100
    assert latest < 1.0


async def test_certificates_and_clocks_of_upstreams_are_looked_at(gateway: StartGateway, tmp_path: Path) -> None:
    authority, context = Authority(tmp_path), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("127.0.0.1"))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 405 No\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        tables = [declared("trusted", url, tls={"ca": str(authority.file)}), declared("other", url)]
        gate = await gateway(enable=["diagnostics"], upstreams=tables)
        found = await upstreams(gate.gateway.kernel)

    told = {(each.check, each.found.partition(" ")[0]): each for each in found}
    assert (
        told["certificates", "trusted"].level == "error" and "is valid 1 days" in told["certificates", "trusted"].found
    )
    assert told["clock", "that"].level == "error" and "behind" in told["clock", "that"].found
    assert [each.level for each in found if "other" in each.found] == ["error"]
