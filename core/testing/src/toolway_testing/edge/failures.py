"""Whatever the application does, the client gets one clean answer and never exception text."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from toolway.hookspecs.telemetry import SERVED, Served
from toolway_testing.edge.node import PATIENCE, OpenGate, RunnerContract


class FailuresContract(RunnerContract):
    """Inherit it beside a fixture `runner`."""

    async def test_an_exception_becomes_500_with_an_id_that_the_log_has_too(self, gate: OpenGate, caplog: Any) -> None:
        answer = await (await gate()).get("/fail")

        assert (answer.status, answer.json["code"]) == (500, "internal_error")
        assert b"hunter2" not in answer.raw
        assert answer.json["error_id"] in caplog.text
        assert "ValueError" in caplog.text

    async def test_an_answer_that_breaks_off_is_not_ended_as_if_it_were_whole(
        self, gate: OpenGate, caplog: Any
    ) -> None:
        answer = await (await gate()).get("/fail-late")

        assert answer.raw.endswith(b"half\r\n")
        assert "ValueError" in caplog.text

    async def test_an_application_without_an_answer_is_a_500(self, gate: OpenGate, caplog: Any) -> None:
        assert (await (await gate()).get("/mute")).status == 500
        assert "did not answer GET /mute" in caplog.text

    async def test_every_answer_forbids_content_sniffing(self, gate: OpenGate) -> None:
        node = await gate()

        for path in ("/", "/fail"):
            assert (await node.get(path)).headers["x-content-type-options"] == "nosniff"

    async def test_no_answer_names_the_server(self, gate: OpenGate) -> None:
        assert "server" not in (await (await gate()).get()).headers

    async def test_who_receives_after_the_whole_answer_hears_that_it_is_over(self, gate: OpenGate) -> None:
        node = await gate()
        reader, writer = await node.connect()
        writer.write(b"GET /late HTTP/1.1\r\n" + node.host + b"\r\n")
        await asyncio.wait_for(reader.readuntil(b"early"), PATIENCE)

        await asyncio.wait_for(node.app.disconnected.wait(), PATIENCE)
        writer.close()

    async def test_a_client_that_leaves_is_reported_to_the_application(self, gate: OpenGate) -> None:
        node = await gate()
        reader, writer = await node.connect()
        writer.write(b"GET /stream HTTP/1.1\r\n" + node.host + b"\r\n")
        await reader.readuntil(b"data: 1\n\n")

        writer.close()

        await asyncio.wait_for(node.app.disconnected.wait(), 5)

    @pytest.mark.parametrize("leave", ["close", "abort"])
    async def test_a_client_that_leaves_in_the_middle_of_its_body_is_reported(self, gate: OpenGate, leave: str) -> None:
        node = await gate()
        _, writer = await node.connect()
        writer.write(b"POST /echo HTTP/1.1\r\n" + node.host + b"Content-Length: 10\r\n\r\nabc")
        await writer.drain()

        getattr(writer.transport, leave)()

        await asyncio.wait_for(node.app.disconnected.wait(), 5)

    @pytest.mark.parametrize("leave", ["close", "abort"])
    @pytest.mark.parametrize("path", [b"/stream", b"/flood"])
    async def test_a_client_that_leaves_behind_a_pipelined_request_is_let_go(
        self, gate: OpenGate, leave: str, path: bytes
    ) -> None:
        node = await gate(limits={"connections": 1, "linger": 30}, hard_stop=60)
        reader, writer = await node.connect()
        writer.write((b"GET " + path + b" HTTP/1.1\r\n" + node.host + b"\r\n") * 2)
        await reader.readuntil(b"\r\n\r\n")

        getattr(writer.transport, leave)()

        async with asyncio.timeout(5):
            while (await node.get()).status != 200:
                await asyncio.sleep(0.01)
        assert not node.edge.in_flight

    async def test_a_pipelined_request_is_not_taken_for_the_one_before(self, gate: OpenGate) -> None:
        node, found = await gate(), list[Served | None]()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            found.append(SERVED.get())
            SERVED.set(Served(scope, []))
            await node.app.reply(send, b"")

        node.edge.app = app
        head = b"GET / HTTP/1.1\r\n" + node.host
        await node.talk(head + b"\r\n" + head + b"Connection: close\r\n\r\n")

        assert found == [None, None]

    async def test_a_reset_connection_is_reported_without_noise(self, gate: OpenGate, caplog: Any) -> None:
        node = await gate()
        reader, writer = await node.connect()
        writer.write(b"GET /stream HTTP/1.1\r\n" + node.host + b"\r\n")
        await reader.readuntil(b"data: 1\n\n")

        with caplog.at_level(logging.INFO):
            writer.transport.abort()
            await asyncio.wait_for(node.app.disconnected.wait(), 5)

        assert caplog.text == ""
