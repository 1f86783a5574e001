"""Whatever the application does, the client gets one clean answer and never exception text."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from toolway.edge.edge import Edge
from toolway.edge.settings import EdgeSettings


async def test_an_exception_becomes_500_with_an_id_that_the_log_has_too(gate: Any, caplog: Any) -> None:
    answer = await (await gate()).get("/fail")

    assert (answer.status, answer.json["code"]) == (500, "internal_error")
    assert b"hunter2" not in answer.raw
    assert answer.json["error_id"] in caplog.text
    assert "ValueError" in caplog.text


async def test_an_answer_that_breaks_off_is_not_ended_as_if_it_were_whole(gate: Any, caplog: Any) -> None:
    answer = await (await gate()).get("/fail-late")

    assert answer.raw.endswith(b"half\r\n")
    assert "ValueError" in caplog.text


async def test_an_application_without_an_answer_is_a_500(gate: Any, caplog: Any) -> None:
    assert (await (await gate()).get("/mute")).status == 500
    assert "did not answer GET /mute" in caplog.text


async def test_every_answer_forbids_content_sniffing(gate: Any) -> None:
    node = await gate()

    for path in ("/", "/fail"):
        assert (await node.get(path)).headers["x-content-type-options"] == "nosniff"


async def test_no_answer_names_the_server(gate: Any) -> None:
    assert "server" not in (await (await gate()).get()).headers


async def test_a_client_that_leaves_is_reported_to_the_application(gate: Any) -> None:
    node = await gate()
    reader, writer = await node.connect()
    writer.write(b"GET /stream HTTP/1.1\r\n" + node.host + b"\r\n")
    await reader.readuntil(b"data: 1\n\n")

    writer.close()

    await asyncio.wait_for(node.app.disconnected.wait(), 5)


@pytest.mark.parametrize("leave", ["close", "abort"])
async def test_a_client_that_leaves_in_the_middle_of_its_body_is_reported(gate: Any, leave: str) -> None:
    node = await gate()
    _, writer = await node.connect()
    writer.write(b"POST /echo HTTP/1.1\r\n" + node.host + b"Content-Length: 10\r\n\r\nabc")
    await writer.drain()

    getattr(writer.transport, leave)()

    await asyncio.wait_for(node.app.disconnected.wait(), 5)


@pytest.mark.parametrize("leave", ["close", "abort"])
@pytest.mark.parametrize("path", [b"/stream", b"/flood"])
async def test_a_client_that_leaves_behind_a_pipelined_request_is_let_go(gate: Any, leave: str, path: bytes) -> None:
    node = await gate(limits={"connections": 1, "linger": 30}, hard_stop=60)
    reader, writer = await node.connect()
    writer.write((b"GET " + path + b" HTTP/1.1\r\n" + node.host + b"\r\n") * 2)
    await reader.readuntil(b"\r\n\r\n")

    getattr(writer.transport, leave)()

    async with asyncio.timeout(5):
        while (await node.get()).status != 200:
            await asyncio.sleep(0.01)
    assert not node.edge.in_flight


async def test_a_reset_connection_is_reported_without_noise(gate: Any, caplog: Any) -> None:
    node = await gate()
    reader, writer = await node.connect()
    writer.write(b"GET /stream HTTP/1.1\r\n" + node.host + b"\r\n")
    await reader.readuntil(b"data: 1\n\n")

    with caplog.at_level(logging.INFO):
        writer.transport.abort()
        await asyncio.wait_for(node.app.disconnected.wait(), 5)

    assert caplog.text == ""


SCOPE = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/echo",
    "raw_path": b"/echo",
    "query_string": b"",
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
}
HOST = (b"host", b"localhost")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 400),
        ([HOST, HOST], 400),
        ([HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")], 400),
        ([HOST, (b"content-length", b"1"), (b"content-length", b"1")], 400),
        ([HOST, (b"content-length", b"+1")], 400),
        ([HOST, (b"content-length", b"9" * 30)], 400),
        ([HOST, (b"x", b"a\r\nb")], 400),
        ([HOST, (b"x", b"a\0")], 400),
        ([HOST, (b"transfer-encoding", b"gzip")], 501),
        ([HOST, (b"content-encoding", b"br")], 415),
        ([HOST, (b"x", b"a" * 9000)], 431),
        ([HOST] + [(b"x", b"a" * 4000)] * 5, 431),
        ([HOST] + [(b"x", b"y")] * 100, 431),
    ],
)
async def test_the_edge_refuses_what_a_laxer_server_lets_through(
    headers: list[tuple[bytes, bytes]], status: int
) -> None:
    assert await _status_behind(_never, headers=headers) == status


async def test_an_error_of_the_server_while_it_reads_the_body_is_a_400() -> None:
    async def receive() -> dict[str, Any]:
        raise RuntimeError("bad chunk")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    headers = [HOST, (b"transfer-encoding", b"chunked")]
    assert await _status_behind(app, headers=headers, receive=receive) == 400


async def _never(*_: Any) -> None:
    raise LookupError("the application must not be reached")


async def _status_behind(app: Any, *, headers: Any, receive: Any = _never) -> int:
    edge = Edge(app, EdgeSettings(), bind="127.0.0.1:1")
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await edge({**SCOPE, "headers": headers}, receive, send)
    return int(sent[0]["status"])
