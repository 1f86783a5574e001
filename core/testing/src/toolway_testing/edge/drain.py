"""Stopping: not ready first, then no new connections, then calls end, then streams, and never a hang."""

from __future__ import annotations

import asyncio
import socket

import pytest

from toolway_testing.edge.node import OpenGate, RunnerContract
from toolway_testing.polling import eventually


class DrainContract(RunnerContract):
    """Inherit it beside a fixture `runner`."""

    async def test_while_draining_the_node_is_not_ready_but_still_answers(self, gate: OpenGate) -> None:
        node = await gate(drain_delay=60)
        node.stop.set()
        await eventually(lambda: node.edge.draining)

        ready, other = (
            await node.ask(b"GET /ready HTTP/1.1\r\nHOST\r\n\r\n"),
            await node.ask(b"GET / HTTP/1.1\r\nHOST\r\n\r\n"),
        )

        assert (ready.status, ready.json["code"]) == (503, "draining")
        assert (other.status, other.headers["connection"]) == (200, "close")

    async def test_a_call_in_flight_is_finished_and_its_connection_closed(self, gate: OpenGate) -> None:
        node = await gate(drain_delay=0)
        asking = asyncio.ensure_future(node.ask(b"GET /slow HTTP/1.1\r\nHOST\r\n\r\n"))
        await eventually(lambda: node.app.requests)
        node.stop.set()
        await eventually(lambda: node.drains)

        node.app.release.set()

        answer = await asking
        assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"done", "close")
        await asyncio.wait_for(node.task, 5)

    async def test_an_open_event_stream_ends_cleanly_and_does_not_hold_the_node(self, gate: OpenGate) -> None:
        node = await gate(drain_delay=0, drain_timeout=60, hard_stop=90)
        asking = asyncio.ensure_future(node.ask(b"GET /stream HTTP/1.1\r\nHOST\r\n\r\n"))
        await eventually(lambda: node.app.requests)

        node.stop.set()

        await asyncio.wait_for(node.task, 5)
        answer = await asking
        assert answer.status == 200
        assert answer.raw.endswith(b"0\r\n\r\n")

    async def test_what_outlives_the_drain_is_ended(self, gate: OpenGate) -> None:
        node = await gate(drain_delay=0, drain_timeout=0.2)
        call = asyncio.ensure_future(node.ask(b"GET /slow HTTP/1.1\r\nHOST\r\n\r\n"))
        stream = asyncio.ensure_future(node.ask(b"POST /stream HTTP/1.1\r\nHOST\r\nContent-Length: 0\r\n\r\n"))
        await eventually(lambda: len(node.app.requests) == 2)

        node.stop.set()

        await asyncio.wait_for(node.task, 5)
        assert (await call).status == 503
        assert (await stream).raw.endswith(b"0\r\n\r\n")

    async def test_idle_connections_are_closed_and_new_ones_refused(self, gate: OpenGate) -> None:
        node = await gate(drain_delay=0, drain_timeout=60)
        idle = asyncio.ensure_future(node.ask(b"GET / HTTP/1.1\r\nHOST\r\n\r\n"))
        silent = asyncio.ensure_future(node.talk(b""))
        busy = asyncio.ensure_future(node.ask(b"GET /slow HTTP/1.1\r\nHOST\r\n\r\n"))
        await eventually(lambda: len(node.app.requests) == 2)

        node.stop.set()

        assert (await idle).status == 200
        assert await silent == b""
        with pytest.raises(ConnectionRefusedError):
            await node.connect()
        node.app.release.set()
        assert (await busy).status == 200

    async def test_a_connection_in_the_backlog_is_served_before_the_door_closes(self, gate: OpenGate) -> None:
        node = await gate(drain_delay=0, drain_timeout=60)
        client = socket.create_connection(("127.0.0.1", node.port))
        client.sendall(b"GET /slow HTTP/1.1\r\n" + node.host + b"\r\n")

        node.stop.set()
        await eventually(lambda: node.app.requests or node.task.done())

        node.app.release.set()
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        assert (await asyncio.wait_for(loop.sock_recv(client, 100), 5)).startswith(b"HTTP/1.1 200")
        client.close()

    async def test_hurry_cuts_the_drain_short(self, gate: OpenGate) -> None:
        node = await gate(drain_delay=60, drain_timeout=60)
        call = asyncio.ensure_future(node.ask(b"GET /slow HTTP/1.1\r\nHOST\r\n\r\n"))
        await eventually(lambda: node.app.requests)
        node.stop.set()

        node.hurry.set()

        await asyncio.wait_for(node.task, 5)
        assert (await call).status == 503
