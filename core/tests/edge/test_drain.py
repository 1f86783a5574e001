"""Stopping: not ready first, then no new connections, then calls end, then streams, and never a hang."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from typing import Any

import pytest

from toolway.edge.edge import Edge
from toolway.edge.settings import EdgeSettings
from toolway.errors import ConfigError
from toolway.serve import listen, raise_file_limit, run, settle_memory


async def test_while_draining_the_node_is_not_ready_but_still_answers(gate: Any) -> None:
    node = await gate(drain_delay=60)
    node.stop.set()
    await _until(lambda: node.edge.draining)

    ready, other = (
        await node.ask(b"GET /ready HTTP/1.1\r\nHOST\r\n\r\n"),
        await node.ask(b"GET / HTTP/1.1\r\nHOST\r\n\r\n"),
    )

    assert (ready.status, ready.json["code"]) == (503, "draining")
    assert (other.status, other.headers["connection"]) == (200, "close")


@pytest.mark.parametrize(("bind", "delay"), [("127.0.0.1:1", 0), ("[::1]:1", 0), ("0.0.0.0:1", 5), ("10.1.2.3:1", 5)])
def test_only_a_node_that_a_load_balancer_can_reach_waits_for_it(bind: str, delay: float) -> None:
    assert Edge(_never, EdgeSettings(), bind=bind).drain_delay == delay
    assert Edge(_never, EdgeSettings(drain_delay=2), bind=bind).drain_delay == 2


async def test_a_call_in_flight_is_finished_and_its_connection_closed(gate: Any) -> None:
    node = await gate(drain_delay=0)
    asking = asyncio.ensure_future(node.ask(b"GET /slow HTTP/1.1\r\nHOST\r\n\r\n"))
    await _until(lambda: node.app.requests)
    node.stop.set()
    await _until(lambda: node.drains)

    node.app.release.set()

    answer = await asking
    assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"done", "close")
    await asyncio.wait_for(node.task, 5)


async def test_an_open_event_stream_ends_cleanly_and_does_not_hold_the_node(gate: Any) -> None:
    node = await gate(drain_delay=0, drain_timeout=60, hard_stop=90)
    asking = asyncio.ensure_future(node.ask(b"GET /stream HTTP/1.1\r\nHOST\r\n\r\n"))
    await _until(lambda: node.app.requests)

    node.stop.set()

    await asyncio.wait_for(node.task, 5)
    answer = await asking
    assert answer.status == 200
    assert answer.raw.endswith(b"0\r\n\r\n")


async def test_what_outlives_the_drain_is_ended(gate: Any) -> None:
    node = await gate(drain_delay=0, drain_timeout=0.2)
    call = asyncio.ensure_future(node.ask(b"GET /slow HTTP/1.1\r\nHOST\r\n\r\n"))
    stream = asyncio.ensure_future(node.ask(b"POST /stream HTTP/1.1\r\nHOST\r\nContent-Length: 0\r\n\r\n"))
    await _until(lambda: len(node.app.requests) == 2)

    node.stop.set()

    await asyncio.wait_for(node.task, 5)
    assert (await call).status == 503
    assert (await stream).raw.endswith(b"0\r\n\r\n")


async def test_idle_connections_are_closed_and_new_ones_refused(gate: Any) -> None:
    node = await gate(drain_delay=0, drain_timeout=60)
    idle = asyncio.ensure_future(node.ask(b"GET / HTTP/1.1\r\nHOST\r\n\r\n"))
    silent = asyncio.ensure_future(node.talk(b""))
    busy = asyncio.ensure_future(node.ask(b"GET /slow HTTP/1.1\r\nHOST\r\n\r\n"))
    await _until(lambda: len(node.app.requests) == 2)

    node.stop.set()

    assert (await idle).status == 200
    assert await silent == b""
    with pytest.raises(ConnectionRefusedError):
        await node.connect()
    node.app.release.set()
    assert (await busy).status == 200


async def test_a_connection_in_the_backlog_is_served_before_the_door_closes(gate: Any) -> None:
    node = await gate(drain_delay=0, drain_timeout=60)
    client = socket.create_connection(("127.0.0.1", node.port))
    client.sendall(b"GET /slow HTTP/1.1\r\n" + node.host + b"\r\n")

    node.stop.set()
    await _until(lambda: node.app.requests or node.task.done())

    node.app.release.set()
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    assert (await asyncio.wait_for(loop.sock_recv(client, 100), 5)).startswith(b"HTTP/1.1 200")
    client.close()


async def test_hurry_cuts_the_drain_short(gate: Any) -> None:
    node = await gate(drain_delay=60, drain_timeout=60)
    call = asyncio.ensure_future(node.ask(b"GET /slow HTTP/1.1\r\nHOST\r\n\r\n"))
    await _until(lambda: node.app.requests)
    node.stop.set()

    node.hurry.set()

    await asyncio.wait_for(node.task, 5)
    assert (await call).status == 503


def test_a_taken_port_is_an_error_that_says_what_to_do() -> None:
    (taken,) = listen("127.0.0.1:0")
    port = taken.getsockname()[1]

    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
        listen(f"127.0.0.1:{port}")
    taken.close()


def test_an_unknown_bind_address_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"gateway\.bind"):
        listen("nowhere.invalid:1")


def test_the_limit_of_open_files_is_raised_and_main_runs_on_uvloop() -> None:
    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    raise_file_limit()

    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256
    assert run(main()) == "uvloop"


def test_settled_memory_is_out_of_sight_of_the_collector() -> None:
    before = gc.get_threshold()

    settle_memory()

    assert gc.get_freeze_count() > 0
    gc.unfreeze()
    gc.set_threshold(*before)


async def _never(*_: Any) -> None:
    raise LookupError("the application must not be reached")


async def _until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)
