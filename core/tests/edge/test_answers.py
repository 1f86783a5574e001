"""How the built-in runner frames what an application answers over HTTP/1.1, and that it keeps nothing of it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from toolway.bundled.hypercorn.connection import HypercornRunner
from toolway.hookspecs.serving import Limits
from toolway_testing.edge.node import Node, OpenGate, RunnerContract

REQUEST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"


class Answering:
    """An application that reads the body and answers with these pieces."""

    def __init__(self, *pieces: bytes, **fields: str) -> None:
        self.pieces = pieces
        self.headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        for number, piece in enumerate(self.pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(self.pieces)})


class Transport(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written: list[bytes] = []

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))


async def serving(gate: OpenGate, *pieces: bytes, **fields: str) -> Node:
    node = await gate()
    node.edge.app = Answering(*pieces, **fields)
    return node


class TestAnswers(RunnerContract):
    @pytest.fixture
    def runner(self) -> HypercornRunner:
        return HypercornRunner()

    async def test_an_answer_of_known_size_may_come_in_pieces(self, gate: OpenGate) -> None:
        node = await serving(gate, b"abc", b"de", content_length="5")

        answer = await node.get()

        assert (answer.body, "transfer-encoding" in answer.headers) == (b"abcde", False)

    async def test_an_answer_of_unknown_size_is_chunked(self, gate: OpenGate) -> None:
        node = await serving(gate, b"abc", b"")

        assert (await node.get()).raw.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    async def test_http_1_0_gets_no_chunks(self, gate: OpenGate) -> None:
        node = await serving(gate, b"abc", b"de")

        answer = await node.ask(b"GET / HTTP/1.0\r\nHOST\r\n\r\n")

        assert (answer.body, answer.headers["connection"]) == (b"abcde", "close")

    @pytest.mark.parametrize("size", ["2", "9"])
    async def test_a_body_that_is_not_of_its_size_cuts_the_connection(self, gate: OpenGate, size: str) -> None:
        node = await serving(gate, b"abc", content_length=size)

        answer = await node.ask(b"GET / HTTP/1.1\r\nHOST\r\n\r\n" * 2)

        assert answer.raw.count(b"HTTP/1.1") <= 1

    async def test_an_answer_to_head_has_the_size_and_no_body(self, gate: OpenGate) -> None:
        node = await serving(gate, b"abc", content_length="3")

        answer = await node.get(method="HEAD")

        assert (answer.headers["content-length"], answer.body) == ("3", b"")

    async def test_a_line_end_in_a_header_does_not_get_out(self, gate: OpenGate) -> None:
        node = await serving(gate, b"abc", content_length="3", x_evil="a\r\nset-cookie: b")

        assert b"set-cookie" not in (await node.get()).raw

    async def test_a_client_that_waits_for_leave_to_send_gets_it(self, gate: OpenGate) -> None:
        node = await gate()
        reader, writer = await node.connect()
        writer.write(b"POST /echo HTTP/1.1\r\n" + node.host + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")

        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"hi")

        assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200")
        writer.close()

    async def test_a_request_may_arrive_byte_by_byte(self, gate: OpenGate) -> None:
        node = await gate()
        reader, writer = await node.connect()
        for byte in b"POST /echo HTTP/1.1\r\n" + node.host + b"Content-Length: 2\r\n\r\nhi":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)

        assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200")
        writer.close()


async def answer(protocol: asyncio.Protocol, transport: Transport) -> None:
    before = len(transport.written)
    protocol.data_received(REQUEST)
    while len(transport.written) == before:
        await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_an_answer_of_known_size_is_one_write_and_leaves_nothing_for_the_collector() -> None:
    app, transport = Answering(b"abc", content_length="3"), Transport()
    connection = HypercornRunner().connection(app, Limits(), lambda _: None)
    connection.connection_made(transport)
    await answer(connection, transport)
    gc.collect()

    for _ in range(10):
        await answer(connection, transport)

    assert gc.collect() == 0
    assert transport.written == [b"HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\nabc"] * 11


async def test_what_comes_in_the_same_turn_of_the_loop_goes_out_together() -> None:
    app, transport = Answering(b"abc", b""), Transport()
    connection = HypercornRunner().connection(app, Limits(), lambda _: None)
    connection.connection_made(transport)

    await answer(connection, transport)

    assert transport.written == [b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]


async def test_who_asks_again_after_the_answer_hears_that_it_is_over() -> None:
    heard: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Answering(b"abc", content_length="3")(scope, receive, send)
        heard.extend([await receive(), await receive()])

    transport = Transport()
    connection = HypercornRunner().connection(app, Limits(), lambda _: None)
    connection.connection_made(transport)
    await answer(connection, transport)

    assert heard == [{"type": "http.disconnect"}] * 2
