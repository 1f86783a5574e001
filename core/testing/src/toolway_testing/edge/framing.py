"""What two readers of the same bytes could take for different requests is refused, and nothing after it is answered."""

from __future__ import annotations

import asyncio

import pytest

from toolway_testing.edge.node import PATIENCE, OpenGate, RunnerContract

SECOND = b"GET /second HTTP/1.1\r\nHOST\r\n\r\n"


class FramingContract(RunnerContract):
    """Inherit it beside a fixture `runner`."""

    @pytest.mark.parametrize(
        "head",
        [
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            b"Content-Length: 5\r\nContent-Length: 5\r\n",
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding:\r\n chunked\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding:\r\n\tchunked\r\n",
            b"X-Folded: a\r\n b\r\n",
            b"X-Bare: a\nContent-Length: 5\r\n",
            b"X-Bare: a\rb\r\n",
            b"X-Nul: a\0b\r\n",
            b"Content-Length : 5\r\n",
            b"Content-Length: -5\r\n",
            b"Content-Length: 5, 5\r\nContent-Length: 5\r\n",
            b"Bad Name: x\r\n",
        ],
    )
    async def test_an_ambiguous_request_is_refused_and_what_follows_is_not_read(
        self, gate: OpenGate, head: bytes
    ) -> None:
        node = await gate()
        body = b"0\r\n\r\n"

        answer = await node.ask(b"POST /echo HTTP/1.1\r\nHOST\r\n" + head + b"\r\n" + body + SECOND)

        assert answer.status == 400
        assert answer.headers["connection"] == "close"
        assert answer.json["status"] == 400
        assert answer.raw.count(b"HTTP/1.1 ") == 1
        assert node.app.requests == []

    @pytest.mark.parametrize("coding", ["gzip, chunked", "identity", "xchunked"])
    async def test_an_unknown_transfer_coding_is_refused(self, gate: OpenGate, coding: str) -> None:
        answer = await (await gate()).get("/echo", f"Transfer-Encoding: {coding}", method="POST")

        assert (answer.status, answer.json["code"]) in [(501, "bad_framing"), (400, "malformed_request")]

    @pytest.mark.parametrize("hosts", [b"", b"HOST\r\nHOST\r\n"])
    async def test_a_request_without_exactly_one_host_is_refused(self, gate: OpenGate, hosts: bytes) -> None:
        answer = await (await gate()).ask(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")

        assert answer.status == 400

    @pytest.mark.parametrize("name", ["Authorization", "X-API-Key", "Mcp-Session-Id", "Last-Event-ID", "Origin"])
    async def test_a_header_of_which_one_would_be_believed_comes_only_once(self, gate: OpenGate, name: str) -> None:
        answer = await (await gate()).get("/", f"{name}: a", f"{name}: b")

        assert (answer.status, answer.json["code"]) == (400, "repeated_header")

    async def test_http_1_0_needs_a_host_too(self, gate: OpenGate) -> None:
        answer = await (await gate()).ask(b"GET / HTTP/1.0\r\n\r\n")

        assert (answer.status, answer.json["code"]) == (400, "host_missing")

    @pytest.mark.parametrize("target", ["http://evil.example/", "*", "evil.example:443", "/a%00b", "/a%0d%0ab"])
    async def test_a_target_that_is_not_a_clean_path_is_refused(self, gate: OpenGate, target: str) -> None:
        answer = await (await gate()).get(target)

        assert answer.status == 400
        assert answer.json["code"] in ("bad_target", "malformed_request")

    async def test_upgrades_are_ignored(self, gate: OpenGate) -> None:
        node = await gate()
        websocket = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]

        assert (await node.get("/", *websocket)).status == 200
        assert (await node.get("/", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")).status == 200

    async def test_garbage_gets_a_clean_answer(self, gate: OpenGate) -> None:
        node = await gate()

        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"\xff\xfe / HTTP/1.1\r\n\r\n",
        ):
            answer = await node.ask(garbage)
            assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")

    async def test_a_malformed_chunk_is_refused(self, gate: OpenGate) -> None:
        node = await gate()

        answer = await node.ask(
            b"POST /echo HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n0\r\n\r\n" + SECOND
        )

        assert answer.status == 400
        assert answer.raw.count(b"HTTP/1.1 ") == 1

    async def test_well_formed_requests_are_answered_one_after_another(self, gate: OpenGate) -> None:
        node = await gate()
        chunked = b"POST /echo HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        sized = b"POST /echo HTTP/1.1\r\nHOST\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfghij"

        answer = await node.ask(chunked + chunked + sized)

        assert answer.raw.count(b"HTTP/1.1 200") == 3
        assert answer.raw.count(b"abcde") == 2
        assert answer.raw.endswith(b"fghij")

    async def test_a_client_that_waits_with_its_body_is_told_to_go_on(self, gate: OpenGate) -> None:
        node = await gate()
        reader, writer = await node.connect()
        head = b"POST /echo HTTP/1.1\r\n%bExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"

        writer.write(head % node.host)
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        writer.write(b"fghij")
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()

        assert told.startswith(b"HTTP/1.1 100 ")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\nfghij")

    async def test_a_compressed_body_is_refused(self, gate: OpenGate) -> None:
        answer = await (await gate()).get("/echo", "Content-Encoding: gzip", "Content-Length: 0", method="POST")

        assert (answer.status, answer.json["code"]) == (415, "content_encoding")
