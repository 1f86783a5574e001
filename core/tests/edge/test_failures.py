"""Whatever the application does, the client gets one clean answer and never exception text."""

from __future__ import annotations

from typing import Any

import pytest

from toolway.edge.edge import Edge
from toolway.edge.settings import EdgeSettings

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


async def _never(*_: Any) -> None:
    raise LookupError("the application must not be reached")


async def _status_behind(app: Any, *, headers: Any, receive: Any = _never) -> int:
    edge = Edge(app, EdgeSettings(), bind="127.0.0.1:1")
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await edge({**SCOPE, "headers": headers}, receive, send)
    return int(sent[0]["status"])


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
