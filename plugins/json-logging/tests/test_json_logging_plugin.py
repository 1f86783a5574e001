"""The plugin in a whole gateway."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from toolway.plugin import ConfigError
from toolway.redaction import RedactingFormatter
from toolway_json_logging.handler import QueuedHandler
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually
from toolway_testing.ports import free_port

LOUD = {"format": "json", "access_quiet": []}


class Lines:
    """What was written to the standard error, as objects."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self._seen = ""

    def all(self) -> list[dict[str, Any]]:
        self._seen += self._capture.readouterr().err
        return [json.loads(line) for line in self._seen.splitlines()]

    async def one(self, **wanted: Any) -> dict[str, Any]:
        """The first line that has these fields, once there is one."""

        def found() -> dict[str, Any] | None:
            return next((each for each in self.all() if wanted.items() <= each.items()), None)

        await eventually(lambda: found() is not None)
        line = found()
        assert line is not None
        return line


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Lines:
    return Lines(capfd)


@pytest.fixture
def levels_as_before() -> Iterator[None]:
    """Fails when a logger is left with another level than it had."""
    watched = [logging.getLogger(name) for name in (None, "toolway.catalog", "toolway.gateway")]
    before = [each.level for each in watched]
    yield
    assert [each.level for each in watched] == before


async def started(gateway: StartGateway, upstreams: tuple[dict[str, Any], ...] = (), **settings: Any) -> RunningGateway:
    gate = await gateway(
        enable=["json-logging"],
        plugins={"json-logging": {**LOUD, **settings}},
        demo=not upstreams,
        upstreams=upstreams,
    )
    await eventually(lambda: gate.gateway.plane.view("all").listed("tool"))
    return gate


def handler_of(gate: RunningGateway) -> QueuedHandler:
    (handler,) = gate.gateway.log_handlers
    assert isinstance(handler, QueuedHandler)
    return handler


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[dict[str, Any]]:
    """A modern server whose tool answers with the id that it got."""

    async def answer(request: web.Request) -> web.Response:
        message = await request.json()
        result: dict[str, Any] = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public"}
        if message["method"] == "server/discover":
            result |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        elif message["method"] == "tools/list":
            result |= {"tools": [{"name": "whoami", "inputSchema": {"type": "object"}}]}
        else:
            text = request.headers.get("x-request-id", "nobody")
            result = {"resultType": "complete", "content": [{"type": "text", "text": text}]}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})

    app, port = web.Application(), free_port()
    app.add_routes([web.post("/mcp", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield {"name": "up", "kind": "http", "endpoints": [f"http://127.0.0.1:{port}/mcp"], "allow_private": True}
    await runner.cleanup()


async def test_a_request_keeps_its_id_in_the_answer_in_the_log_and_upstream(
    gateway: StartGateway, upstream: dict[str, Any], lines: Lines
) -> None:
    gate = await started(gateway, (upstream,))

    answer = await gate.call("up__whoami", headers={"x-request-id": "mine-1"})

    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.content["result"]["content"][0]["text"] == "mine-1"
    line = await lines.one(event="request", request_id="mine-1")
    told = {
        "logger": "toolway.access",
        "level": "INFO",
        "http_method": "POST",
        "route": "/servers/{server}/mcp",
        "status": 200,
    }
    assert told.items() <= line.items()
    assert {"method": "tools/call", "upstream": "up", "item": "whoami", "server": "all"}.items() <= line.items()
    assert 0 < line["duration"] < 10


@pytest.mark.parametrize("given", [None, "a b", "x" * 129, "ünfit"])
async def test_a_request_without_a_fine_id_gets_one(
    gateway: StartGateway, upstream: dict[str, Any], given: str | None
) -> None:
    gate = await started(gateway, (upstream,))

    answer = await gate.call("up__whoami", headers={} if given is None else {"x-request-id": given})

    made = uuid.UUID(answer.headers["x-request-id"])
    assert made.version == 7
    assert answer.content["result"]["content"][0]["text"] == str(made)


async def test_ids_of_clients_are_not_taken_when_they_are_not_trusted(gateway: StartGateway) -> None:
    gate = await started(gateway, trust_request_id=False)

    answer = await gate.api("GET", "/servers")
    asked = await gate.mcp("tools/list", headers={"x-request-id": "mine"})

    assert uuid.UUID(answer.headers["x-request-id"]).version == 7
    assert asked.headers["x-request-id"] != "mine"


async def test_every_line_of_a_request_has_its_id_and_its_principal(gateway: StartGateway, lines: Lines) -> None:
    gate = await started(gateway)
    handler, root = handler_of(gate), logging.getLogger()
    handler.setFormatter(RedactingFormatter(handler.formatter or logging.Formatter(), gate.gateway.kernel.redact))
    root.addHandler(handler)
    try:
        answer = await gate.api("PUT", "/loggers/toolway.catalog", {"level": "INFO"})
    finally:
        root.removeHandler(handler)

    line = await lines.one(logger="toolway_json_logging.operations")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["event"] == "the level of logger toolway.catalog is now INFO, by admin"
    assert line["principal"] == "admin"


async def test_of_a_line_that_cannot_be_made_nothing_is_told(
    gateway: StartGateway, lines: Lines, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = await started(gateway)

    handler_of(gate).handle(logging.LogRecord("x", logging.ERROR, "", 1, "%d", ("hunter2",), None))

    line = await lines.one(event="a log line of x could not be made: TypeError")
    assert line["level"] == "ERROR"
    assert "hunter2" not in f"{lines.all()} {capfd.readouterr().err}"


async def test_only_failures_are_told_when_that_is_wanted(gateway: StartGateway, lines: Lines) -> None:
    gate = await started(gateway, access="failed")

    await gate.api("GET", "/servers")
    await gate.api("GET", "/servers/nothing")

    line = await lines.one(status=404)
    assert line["route"] == "/api/v1/servers/{name}"
    assert not [each for each in lines.all() if each.get("status") == 200]


async def test_health_is_quiet_unless_it_is_told_otherwise(gateway: StartGateway, lines: Lines) -> None:
    gate = await started(gateway, access_quiet=["/health"])
    for path in ("/health", "/ready"):
        async with gate.http.get(gate.url + path):
            pass

    await lines.one(route="/ready")
    assert not [each for each in lines.all() if each.get("route") == "/health"]


async def test_without_an_access_log_there_are_ids_only(gateway: StartGateway, lines: Lines) -> None:
    gate = await started(gateway, access="none")

    assert (await gate.api("GET", "/servers")).headers["x-request-id"]
    handler_of(gate).flush()
    assert [each for each in lines.all() if each["logger"] == "toolway.access"] == []


async def test_a_stream_is_told_when_it_begins_and_when_it_ends(gateway: StartGateway, lines: Lines) -> None:
    gate = await started(gateway)
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "subscriptions/listen",
        "x-request-id": "long-1",
    }

    async with aiohttp.ClientSession() as http, http.post(f"{gate.url}/mcp", json=message, headers=headers) as answer:
        assert answer.status == 200
        begun = await lines.one(event="stream begins", request_id="long-1")
        assert begun["status"] == 200

    ended = await lines.one(event="request", request_id="long-1")
    assert ended["duration"] >= begun["duration"]


async def test_levels_change_at_run_time_and_are_reset(levels_as_before: None, gateway: StartGateway) -> None:
    gate = await started(gateway, levels={"toolway.gateway": "ERROR"})

    changed = await gate.api("PUT", "/loggers/toolway.catalog", {"level": "DEBUG"})

    assert changed.content == {
        "name": "toolway.catalog",
        "level": "DEBUG",
        "configured": None,
        "changed": "DEBUG",
        "until": None,
    }
    assert logging.getLogger("toolway.catalog.discovery").getEffectiveLevel() == logging.DEBUG
    listed = {each["name"]: each for each in (await gate.api("GET", "/loggers")).content["items"]}
    assert listed["toolway.gateway"]["configured"] == "ERROR"
    assert listed["toolway.gateway.dispatch"]["level"] == "ERROR"
    assert "root" in listed
    reset = await gate.api("DELETE", "/loggers/toolway.catalog")
    assert reset.content["changed"] is None
    assert logging.getLogger("toolway.catalog").level == logging.NOTSET


async def test_a_level_can_end_by_itself(levels_as_before: None, gateway: StartGateway) -> None:
    gate = await started(gateway)

    changed = await gate.api("PUT", "/loggers/toolway.catalog", {"level": "DEBUG", "seconds": 0.2})

    assert changed.content["until"] is not None
    await eventually(lambda: logging.getLogger("toolway.catalog").level == logging.NOTSET)
    assert (await gate.api("GET", "/loggers/toolway.catalog")).content["changed"] is None


async def test_a_reload_keeps_what_was_changed_and_brings_what_is_configured(
    levels_as_before: None, gateway: StartGateway
) -> None:
    gate = await started(gateway, levels={"toolway.gateway": "ERROR"})
    await gate.api("PUT", "/loggers/toolway.catalog", {"level": "DEBUG"})
    tables = {"enable": ["json-logging"], "json-logging": {**LOUD, "levels": {"toolway.gateway": "CRITICAL"}}}
    before = handler_of(gate)

    await gate.reload(plugins=gate.config.plugins.model_validate(tables))

    await eventually(lambda: before.writer.is_closed)
    assert logging.getLogger("toolway.gateway").level == logging.CRITICAL
    assert logging.getLogger("toolway.catalog").level == logging.DEBUG
    await gate.reload(plugins=gate.config.plugins.model_validate({"enable": []}))
    await eventually(lambda: logging.getLogger("toolway.catalog").level == logging.NOTSET)
    assert logging.getLogger("toolway.gateway").level == logging.NOTSET
    assert "x-request-id" not in (await gate.mcp("tools/list")).headers


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("toolway.catalog", {"level": "LOUD"}),
        ("toolway.catalog", {"level": "INFO", "seconds": 0}),
        ("toolway.catalog", {}),
        ("-toolway", {"level": "INFO"}),
        ("x" * 201, {"level": "INFO"}),
    ],
)
async def test_levels_and_names_that_make_no_sense_are_refused(
    gateway: StartGateway, name: str, body: dict[str, Any]
) -> None:
    gate = await started(gateway)

    answer = await gate.api("PUT", f"/loggers/{name}", body)

    assert (answer.status, answer.content["code"]) == (400, "invalid_input")


async def test_settings_that_cannot_be_used_are_refused(gateway: StartGateway) -> None:
    with pytest.raises(ConfigError, match="json-logging"):
        await gateway(enable=["json-logging"], plugins={"json-logging": {"levels": {"root": "LOUD"}}})
