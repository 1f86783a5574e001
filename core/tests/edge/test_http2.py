"""HTTP/2 of the built-in server runner, with a client made of the h2 library."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PriorityFrame,
    WindowUpdateFrame,
)

from toolway.bundled.hypercorn.connection import HypercornRunner
from toolway.bundled.hypercorn.http2 import States
from toolway_testing.edge.node import Node, OpenGate, RunnerContract
from toolway_testing.edge.tls import Authority
from toolway_testing.polling import eventually


class Client:
    """One HTTP/2 connection; `events` are those that have come so far."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.http.state_machine = States()
        self.events: list[h2.events.Event] = []
        self.is_over = False

    async def open(self, **options: Any) -> Client:
        self.reader, self.writer = await self.node.connect(**options)
        self.http.initiate_connection()
        self.flush()
        self.reading = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        while data := await self.reader.read(65536):
            for event in self.http.receive_data(data):
                self.events.append(event)
                if isinstance(event, h2.events.DataReceived):
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.flush()
        self.is_over = True
        self.writer.close()

    def flush(self) -> None:
        self.writer.write(self.http.data_to_send())

    def send(self, *frames: Frame) -> None:
        """Frames that the library would not send."""
        self.writer.write(b"".join(frame.serialize() for frame in frames))

    async def ping(self) -> None:
        """Returns when everything that was sent before has been looked at."""
        self.http.ping(bytes(8))
        self.flush()
        await eventually(lambda: any(isinstance(event, h2.events.PingAckReceived) for event in self.events))

    def ask(self, path: str, *, method: str = "GET", ended: bool = True, **headers: str) -> int:
        number = self.http.get_next_available_stream_id()
        fields = [(":method", method), (":authority", f"localhost:{self.node.port}")]
        fields += [] if method == "CONNECT" else [(":scheme", "http"), (":path", path)]
        self.http.send_headers(number, [*fields, *((k.replace("_", "-"), v) for k, v in headers.items())], ended)
        self.flush()
        return number

    def of(self, number: int, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind) and event.stream_id == number]

    def body(self, number: int) -> bytes:
        return b"".join(event.data for event in self.of(number, h2.events.DataReceived))

    async def answer(self, number: int) -> tuple[int, bytes]:
        await eventually(lambda: self.of(number, h2.events.StreamEnded))
        return int(dict(self.of(number, h2.events.ResponseReceived)[0].headers)[":status"]), self.body(number)


@pytest.fixture
def runner() -> HypercornRunner:
    return HypercornRunner()


class TestHttp2(RunnerContract):
    async def test_a_client_that_begins_with_it_is_understood_without_tls(self, gate: OpenGate) -> None:
        client = await Client(await gate()).open()

        assert (await client.answer(client.ask("/")))[0] == 200

    async def test_it_is_negotiated_in_tls(self, gate: OpenGate, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        cert, key = authority.issue("gate")
        context = authority.trust()
        context.set_alpn_protocols(["h2"])
        client = await Client(await gate(tls={"cert": cert, "key": key})).open(tls=context)

        assert (await client.answer(client.ask("/")))[0] == 200

    async def test_requests_do_not_wait_for_each_other(self, gate: OpenGate) -> None:
        client = await Client(await gate()).open()

        slow, quick = client.ask("/slow"), client.ask("/")

        assert (await client.answer(quick))[0] == 200
        client.node.app.release.set()
        assert await client.answer(slow) == (200, b"done")

    async def test_headers_of_http_1_do_not_get_out(self, gate: OpenGate) -> None:
        client = await Client(await gate()).open()

        refused = client.ask("/", content_encoding="gzip")

        assert (await client.answer(refused))[0] == 415
        assert "connection" not in dict(client.of(refused, h2.events.ResponseReceived)[0].headers)

    async def test_a_body_that_nobody_wants_does_not_harm_the_connection(self, gate: OpenGate) -> None:
        client = await Client(await gate(limits={"body": 1000})).open()

        refused = client.ask("/echo", method="POST", ended=False, content_length="5000")
        await eventually(lambda: client.of(refused, h2.events.ResponseReceived))
        await eventually(lambda: client.of(refused, h2.events.StreamReset))

        assert (await client.answer(client.ask("/")))[0] == 200

    async def test_a_body_on_its_way_when_it_is_refused_does_not_harm_the_calls_beside_it(self, gate: OpenGate) -> None:
        client = await Client(await gate(limits={"body": 1000})).open()
        slow = client.ask("/slow")
        refused = client.ask("/echo", method="POST", ended=False, content_length="5000000")
        await eventually(lambda: client.of(refused, h2.events.StreamReset))

        for _ in range(3):
            client.send(DataFrame(refused, bytes(16_384)))
            await client.writer.drain()
        await client.ping()

        client.node.app.release.set()
        assert await client.answer(slow) == (200, b"done")

    async def test_a_body_is_taken_piece_by_piece(self, gate: OpenGate) -> None:
        client = await Client(await gate()).open()

        number = client.ask("/echo", method="POST", ended=False)
        for piece in (b"abc", b"def", b""):
            client.http.send_data(number, piece, end_stream=not piece)
            client.flush()

        assert await client.answer(number) == (200, b"abcdef")

    @pytest.mark.parametrize("leave", ["stream", "connection"])
    async def test_a_client_that_leaves_is_reported(self, gate: OpenGate, leave: str) -> None:
        client = await Client(await gate()).open()
        number = client.ask("/stream")
        await eventually(lambda: client.body(number))

        if leave == "stream":
            client.http.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
            client.flush()
        else:
            client.writer.close()

        await asyncio.wait_for(client.node.app.disconnected.wait(), 5)

    async def test_a_sender_hears_that_its_client_has_left(self, gate: OpenGate) -> None:
        client = await Client(await gate()).open()
        number = client.ask("/flood")
        await eventually(lambda: client.body(number))

        client.http.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        client.flush()

        await asyncio.wait_for(client.node.app.send_failed.wait(), 5)
        assert (await client.answer(client.ask("/")))[0] == 200

    async def test_an_answer_that_breaks_off_is_not_ended_as_if_it_were_whole(self, gate: OpenGate) -> None:
        client = await Client(await gate()).open()

        number = client.ask("/fail-late")

        await eventually(lambda: client.of(number, h2.events.StreamReset))
        assert not client.of(number, h2.events.StreamEnded)

    async def test_a_client_that_opens_no_window_is_cut(self, gate: OpenGate) -> None:
        client = await Client(await gate(limits={"stalled_write": 0.3})).open()
        client.http.acknowledge_received_data = lambda *_: None  # type: ignore[method-assign]

        client.ask("/flood")

        await asyncio.wait_for(client.node.app.send_failed.wait(), 5)
        client.writer.close()

    async def test_a_client_that_only_makes_work_is_cut(self, gate: OpenGate) -> None:
        client = await Client(await gate()).open()

        for _ in range(300):
            client.http.reset_stream(client.ask("/"), h2.errors.ErrorCodes.CANCEL)
        client.flush()

        await eventually(lambda: client.is_over)

    async def test_a_tunnel_is_not_offered(self, gate: OpenGate) -> None:
        client = await Client(await gate()).open()

        number = client.ask("", method="CONNECT", ended=False)

        await eventually(lambda: client.is_over or client.of(number, h2.events.StreamReset))
        assert client.node.app.requests == []

    @pytest.mark.parametrize("odd", ["method", "priorities"])
    async def test_odd_frames_do_not_harm_the_calls_beside_them(
        self, gate: OpenGate, odd: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = await Client(await gate()).open()
        slow = client.ask("/slow")

        if odd == "method":
            client.ask("/", method="G\u00c9T")
        else:
            client.send(*(PriorityFrame(number, stream_weight=10) for number in range(1001, 3005, 2)))
        await client.ping()

        client.node.app.release.set()
        assert await client.answer(slow) == (200, b"done")
        assert client.node.app.requests == ["/slow"]
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    async def test_an_idle_connection_is_closed(self, gate: OpenGate) -> None:
        client = await Client(await gate(limits={"keep_alive": 0.3})).open()
        await client.answer(client.ask("/"))

        await eventually(lambda: client.is_over)
        assert isinstance(client.events[-1], h2.events.ConnectionTerminated)

    async def test_a_client_that_takes_its_leave_gets_its_answers(self, gate: OpenGate) -> None:
        client = await Client(await gate()).open()
        slow = client.ask("/slow")

        client.send(GoAwayFrame(0), WindowUpdateFrame(0, window_increment=1))
        await client.ping()
        client.node.app.release.set()

        assert await client.answer(slow) == (200, b"done")
        await eventually(lambda: client.is_over)

    async def test_a_client_that_takes_its_leave_without_a_call_is_let_go(self, gate: OpenGate) -> None:
        client = await Client(await gate()).open()
        await client.answer(client.ask("/"))

        client.send(GoAwayFrame(0))

        await eventually(lambda: client.is_over)

    async def test_a_call_that_comes_too_late_for_a_node_that_stops_may_be_repeated(self, gate: OpenGate) -> None:
        client = await Client(await gate(drain_delay=0)).open()
        slow = client.ask("/slow")
        await eventually(lambda: client.node.app.requests)

        client.node.stop.set()
        await eventually(lambda: client.node.drains)
        late = client.ask("/")
        await eventually(lambda: client.of(late, h2.events.StreamReset))
        client.node.app.release.set()

        assert await client.answer(slow) == (200, b"done")
        assert client.of(late, h2.events.StreamReset)[0].error_code == h2.errors.ErrorCodes.REFUSED_STREAM
        goodbye = next(each for each in client.events if isinstance(each, h2.events.ConnectionTerminated))
        assert goodbye.last_stream_id == slow

    async def test_a_node_that_stops_does_not_wait_for_who_gave_up(self, gate: OpenGate) -> None:
        client = await Client(await gate(drain_delay=0)).open()
        number = client.ask("/echo", method="POST", ended=False)
        await eventually(lambda: client.node.app.requests)

        client.node.stop.set()
        await eventually(lambda: client.node.drains)
        client.http.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        client.flush()

        await asyncio.wait_for(client.node.task, 5)

    async def test_an_open_stream_ends_cleanly_when_the_node_stops(self, gate: OpenGate) -> None:
        client = await Client(await gate(drain_delay=0)).open()
        number = client.ask("/stream")
        await eventually(lambda: client.body(number))

        client.node.stop.set()

        assert await client.answer(number) == (200, b"data: 1\n\n")
        await asyncio.wait_for(client.node.task, 5)

    async def test_a_call_in_flight_is_finished_when_the_node_stops(self, gate: OpenGate) -> None:
        client = await Client(await gate(drain_delay=0)).open()
        number = client.ask("/slow")
        await eventually(lambda: client.node.app.requests)

        client.node.stop.set()
        await eventually(lambda: client.node.drains)
        client.node.app.release.set()

        assert await client.answer(number) == (200, b"done")
        await asyncio.wait_for(client.node.task, 5)


WRONG = {
    "endless": b"x" * 50_000,
    "endless headers": HeadersFrame(1).serialize() + ContinuationFrame(1, bytes(16_384)).serialize() * 3,
    "data": b"\x00\x00\x00\x01\x05\x00\x00\x00\x00",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
class TestNoHttp2(RunnerContract):
    async def test_garbage_after_the_preface_ends_the_connection(self, gate: OpenGate, wrong: bytes) -> None:
        node = await gate()

        await node.talk(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + wrong)

        assert (await node.get()).status == 200
