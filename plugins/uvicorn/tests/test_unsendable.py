"""Answers that cannot be sent as they are."""

from __future__ import annotations

import asyncio
from typing import Any

from toolway.edge.edge import Edge
from toolway.edge.settings import EdgeSettings
from toolway.hookspecs.serving import WHOLE
from toolway_uvicorn.connection import UvicornRunner


async def split(scope: Any, receive: Any, send: Any) -> None:
    scope[WHOLE].answer(200, [(b"x-a", b"1\r\nset-cookie: a=b")], b"body")


async def test_a_whole_answer_with_a_line_break_in_a_header_is_a_500() -> None:
    runner, settings = UvicornRunner(), EdgeSettings()
    edge, loop = Edge(split, settings, bind="127.0.0.1:1"), asyncio.get_running_loop()
    async with await loop.create_server(
        lambda: runner.connection(edge, settings.limits, lambda _: None), "127.0.0.1", 0
    ) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in answer
