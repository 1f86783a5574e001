"""A TCP proxy that spoils what passes through it, on order."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator
from typing import Literal

Fault = Literal["", "latency", "jitter", "cut", "reset", "hang", "refuse", "slow", "garbage"]
LATENCY = 0.05
"""Seconds that each piece of an answer is late; jitter is up to four times as much."""
SLOW_BYTES, SLOW_SECONDS = 16, 0.05
CUT_BYTES = 40


class FaultProxy:
    """Listens on 127.0.0.1 and passes everything to `port` there; `set` changes what happens from now on.

    `latency` and `jitter` delay answers, `slow` gives them 16 bytes at a time, `cut` ends the connection after 40 bytes
    of one, `garbage` sends noise in their place; `reset` resets the connection when a request comes, `hang` swallows
    it, and `refuse` accepts no connections.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._fault: Fault = ""
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """Where MCP is."""
        return f"http://127.0.0.1:{self.port}/mcp"

    async def set(self, fault: Fault) -> None:
        """Let this happen; the empty name for nothing."""
        self._fault = fault
        if fault == "refuse":
            await self._stop()
        elif self._server is None:
            await self._start()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[FaultProxy]:
        """Listen while the context lasts."""
        await self._start()
        try:
            yield self
        finally:
            await self._stop()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for each in list(self._open):
            each.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._to)
            self._open.add(inner_writer)
            requests = asyncio.create_task(self._requests(reader, inner_writer, writer))
            try:
                await self._answers(inner_reader, writer)
            finally:
                requests.cancel()
                await asyncio.gather(requests, return_exceptions=True)
                inner_writer.transport.abort()
                self._open.discard(inner_writer)
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._open.discard(writer)
            self._tasks.discard(task)

    async def _requests(
        self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while chunk := await reader.read(65536):
            match self._fault:
                case "reset":
                    linger = struct.pack("ii", 1, 0)
                    client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    client.transport.abort()
                case "hang":
                    continue
                case "garbage":
                    client.write(random.randbytes(512))
                    await client.drain()
                    client.transport.abort()
                case _:
                    to.write(chunk)
                    await to.drain()
        to.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            match self._fault:
                case "latency":
                    await asyncio.sleep(LATENCY)
                case "jitter":
                    await asyncio.sleep(random.uniform(0, 4 * LATENCY))
                case "cut":
                    client.write(chunk[:CUT_BYTES])
                    await client.drain()
                    return
                case "slow":
                    for start in range(0, len(chunk), SLOW_BYTES):
                        client.write(chunk[start : start + SLOW_BYTES])
                        await asyncio.sleep(SLOW_SECONDS)
                    continue
            client.write(chunk)
            await client.drain()
