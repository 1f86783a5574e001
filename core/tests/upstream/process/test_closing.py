"""Conversations with programs that end while somebody gives up waiting for their end."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest
from upstream_parts import Literals, call, leg, opened, stdio_upstream

from toolway.bundled.upstreams.process import Process
from toolway.bundled.upstreams.stdio import StdioKind
from toolway_testing.polling import eventually


@pytest.mark.parametrize("steps", range(1, 5))
async def test_a_conversation_whose_closing_is_given_up_leaves_nothing_open(steps: int) -> None:
    await (await Process.start("test", [sys.executable, "-c", ""])).stop()  # what the loop opens once, it keeps
    before = opened()
    kind = StdioKind(Literals())
    upstream = stdio_upstream(kind, sys.executable, "-m", "toolway.cli.demo")
    connection = kind.connect(upstream, upstream.endpoints[0], leg("modern"))
    await connection.request(call("add", a=2, b=3))
    impatient = asyncio.create_task(connection.request(call("now")))
    await asyncio.sleep(0)
    impatient.cancel()  # what tells the program so is under way while the conversation is closed
    await asyncio.wait({impatient})

    closing = asyncio.create_task(connection.close())
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})

    await eventually(lambda: opened() <= before)
    gc.collect()  # a pipe that is not closed is an error then
