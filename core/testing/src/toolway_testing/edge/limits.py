"""Sizes, counts and deadlines: each limit has its status, and whoever breaks it is cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from toolway_testing.edge.node import DRIZZLE, Node, OpenGate, RunnerContract
from toolway_testing.polling import eventually

SHORT = {"first_byte": 0.3, "head": 0.3, "body_gap": 0.3, "body_total": 0.9, "keep_alive": 0.3, "linger": 0.3}


async def _answered(node: Node) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await node.connect()
    writer.write(b"GET / HTTP/1.1\r\n" + node.host + b"\r\n")
    await reader.readuntil(b"}")
    return reader, writer


async def _eventually(node: Node, status: int) -> None:
    async with asyncio.timeout(5):
        while (await node.get()).status != status:
            await asyncio.sleep(0.01)


async def _drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    for index in range(len(data)):
        writer.write(data[index : index + 1])
        await asyncio.sleep(0.02)


class LimitsContract(RunnerContract):
    """Inherit it beside a fixture `runner`."""

    async def test_a_body_announced_too_large_is_refused_before_it_is_read(self, gate: OpenGate) -> None:
        node = await gate(limits={"body": 1000})

        answer = await node.ask(b"POST /echo HTTP/1.1\r\nHOST\r\nContent-Length: 1001\r\n\r\n")

        assert (answer.status, answer.json["code"]) == (413, "body_too_large")
        assert node.app.requests == []

    async def test_a_client_that_goes_on_sending_still_reads_the_refusal(self, gate: OpenGate) -> None:
        node = await gate(limits={"body": 1000})

        answer = await node.ask(b"POST /echo HTTP/1.1\r\nHOST\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)

        assert answer.status == 413

    async def test_a_chunked_body_is_counted_while_it_arrives(self, gate: OpenGate) -> None:
        node = await gate(limits={"body": 1000})
        chunk = b"200\r\n" + b"x" * 512 + b"\r\n"

        answer = await node.ask(
            b"POST /echo HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 2 + b"0\r\n\r\n"
        )

        assert answer.status == 413

    async def test_an_application_that_swallows_the_refusal_cannot_replace_it(self, gate: OpenGate) -> None:
        node = await gate(limits={"body": 1000})
        chunk = b"200\r\n" + b"x" * 512 + b"\r\n"

        head = b"POST /stubborn HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await node.ask(head + chunk * 2 + b"0\r\n\r\n")

        assert answer.status == 413

    async def test_a_body_of_exactly_the_limit_passes(self, gate: OpenGate) -> None:
        node = await gate(limits={"body": 1000})

        answer = await node.ask(
            b"POST /echo HTTP/1.1\r\nHOST\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
        )

        assert (answer.status, answer.body) == (200, b"x" * 1000)

    @pytest.mark.parametrize(
        ("raw", "status"),
        [
            (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHOST\r\n\r\n", 414),
            (b"GET /" + b"a" * 40_000, 414),
            (b"GET /?" + b"a" * 9000 + b" HTTP/1.1\r\nHOST\r\n\r\n", 414),
            (b"GET / HTTP/1.1\r\nHOST\r\nX-Big: " + b"a" * 9000 + b"\r\n\r\n", 431),
            (
                b"GET / HTTP/1.1\r\nHOST\r\n"
                + b"".join(b"X-%d: " % n + b"a" * 4000 + b"\r\n" for n in range(5))
                + b"\r\n",
                431,
            ),
            (b"GET / HTTP/1.1\r\nHOST\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
            (b"GET / HTTP/1.1\r\nHOST\r\nX-Endless: " + b"a" * 40_000, 431),
        ],
    )
    async def test_an_oversize_head_is_refused(self, gate: OpenGate, raw: bytes, status: int) -> None:
        node = await gate()

        answer = await node.ask(raw)

        assert answer.status == status
        assert answer.json["status"] == status
        assert node.app.requests == []

    async def test_a_silent_connection_is_cut(self, gate: OpenGate) -> None:
        node = await gate(limits=SHORT)

        assert await node.talk(b"") == b""

    async def test_a_slow_head_is_cut_although_bytes_keep_coming(self, gate: OpenGate) -> None:
        node = await gate(limits=SHORT)
        reader, writer = await node.connect()
        dripping = asyncio.ensure_future(_drip(writer, b"GET / HTTP/1.1\r\nX-Slow: " + b"a" * 1000))

        answer = await asyncio.wait_for(reader.read(), 5)

        dripping.cancel()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert node.app.requests == []

    @pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
    async def test_a_body_that_stops_is_cut(self, gate: OpenGate, framing: bytes) -> None:
        node = await gate(limits=SHORT)

        answer = await node.ask(b"POST /echo HTTP/1.1\r\nHOST\r\n" + framing + b"\r\n\r\n5\r\nab")

        assert (answer.status, answer.json["code"]) == (408, "body_too_slow")

    async def test_a_body_that_never_ends_is_cut_although_bytes_keep_coming(self, gate: OpenGate) -> None:
        node = await gate(limits=SHORT)
        reader, writer = await node.connect()
        writer.write(b"POST /echo HTTP/1.1\r\n" + node.host + b"Content-Length: 1000\r\n\r\n")
        dripping = asyncio.ensure_future(_drip(writer, b"a" * 1000))

        answer = await asyncio.wait_for(reader.read(), 5)

        dripping.cancel()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")

    async def test_who_was_answered_and_goes_on_sending_the_body_is_cut_soon(self, gate: OpenGate) -> None:
        node = await gate(limits={**SHORT, "keep_alive": 60, "body_total": 60, "body_gap": 60})
        reader, writer = await node.connect()
        writer.write(b"POST / HTTP/1.1\r\n" + node.host + b"Content-Length: 100000\r\n\r\n")
        await reader.readuntil(b"}")

        dripping = asyncio.create_task(_drip(writer, b"x" * 1000))
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                while await reader.read(1000):
                    pass
        dripping.cancel()
        writer.close()

    async def test_an_idle_connection_is_closed(self, gate: OpenGate) -> None:
        node = await gate(limits=SHORT)

        answer = await node.ask(b"GET / HTTP/1.1\r\nHOST\r\n\r\n")

        assert answer.status == 200
        assert "connection" not in answer.headers

    async def test_the_next_request_of_a_connection_has_its_own_deadline(self, gate: OpenGate) -> None:
        node = await gate(limits=SHORT)

        answer = await node.ask(b"GET / HTTP/1.1\r\nHOST\r\n\r\nGET / HT")

        assert b"HTTP/1.1 408 " in answer.raw

    async def test_a_client_that_reads_nothing_is_cut(self, gate: OpenGate) -> None:
        node = await gate(limits={"stalled_write": 0.3, "write_buffer": 65536})
        client = socket.create_connection(("127.0.0.1", node.port))
        client.sendall(b"GET /flood HTTP/1.1\r\n" + node.host + b"\r\n")

        await asyncio.wait_for(node.app.send_failed.wait(), 5)

        client.close()

    async def test_what_nobody_reads_is_not_taken_from_the_application_either(self, gate: OpenGate) -> None:
        node = await gate(limits={"write_buffer": 65536})
        with socket.create_connection(("127.0.0.1", node.port)) as client:
            client.sendall(b"GET /drizzle HTTP/1.1\r\n" + node.host + b"\r\n")
            await eventually(lambda: node.app.drizzled > 0)
            before = -1
            while before < node.app.drizzled:
                before = node.app.drizzled
                await asyncio.sleep(0.02)

        assert node.app.drizzled < DRIZZLE / 2

    async def test_a_slow_reader_is_served_to_the_end(self, gate: OpenGate) -> None:
        node = await gate(limits={"stalled_write": 0.3, "write_buffer": 65536})
        reader, writer = await node.connect()
        writer.write(b"GET /flood HTTP/1.1\r\n" + node.host + b"\r\n")
        end = asyncio.get_running_loop().time() + 1.0

        received = 0
        while asyncio.get_running_loop().time() < end:
            received += len(await reader.read(65536))
            await asyncio.sleep(0.01)

        assert received > 65536
        assert not node.app.send_failed.is_set()
        writer.close()

    async def test_one_source_has_a_share_of_the_connections(self, gate: OpenGate) -> None:
        node = await gate(limits={"connections_per_source": 2})
        held = [await _answered(node) for _ in range(2)]

        assert (await node.ask(b"")).status == 503

        held.pop()[1].close()
        await _eventually(node, 200)
        held.pop()[1].close()

    async def test_a_trusted_proxy_is_many_sources(self, gate: OpenGate) -> None:
        node = await gate(limits={"connections_per_source": 1}, trusted_proxies=["127.0.0.0/8"])
        _, writer = await _answered(node)

        assert (await node.get()).status == 200
        writer.close()

    async def test_a_full_node_says_so(self, gate: OpenGate) -> None:
        node = await gate(limits={"connections": 1})
        _, writer = await _answered(node)

        answer = await node.ask(b"")

        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        writer.close()
