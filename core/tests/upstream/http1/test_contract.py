"""What every HTTP transport to an upstream promises, against a server that keeps no promise."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hostile_parts import BODY, CHUNKED, CLOSE, RESET, SIZED, Connect, Hostile, TestCertificate
from upstream_parts import until

from toolway.errors import UpstreamError, UpstreamProtocol, UpstreamTimeout, UpstreamUnreachable
from toolway.plugin.http import ClientTls, EgressRefused

LIMIT = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
FRAMED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
FRAMINGS = pytest.mark.parametrize("answer", [SIZED, CHUNKED], ids=["sized", "chunked"])


async def ask(transport: Any, body: bytes = b"{}", seconds: float = 5.0, **headers: str) -> bytes:
    """The body of the answer to a POST."""
    answer = await transport.request("POST", headers, body, seconds)
    try:
        whole: bytes = await answer.read(LIMIT)
    finally:
        answer.close()
    return whole


@FRAMINGS
async def test_an_answer_is_whole_wherever_it_is_cut(answer: bytes, server: Hostile, connect: Connect) -> None:
    transport = connect(server.url)
    for place in range(1, len(answer)):
        server.drips(answer, [place])
        assert await ask(transport) == BODY, place
    server.drips(answer)
    assert await ask(transport) == BODY
    assert server.connections == 1


@FRAMINGS
@pytest.mark.parametrize("end", [CLOSE, RESET])
async def test_an_answer_that_stops_anywhere_is_an_error(
    answer: bytes, end: str, server: Hostile, connect: Connect
) -> None:
    transport = connect(server.url)
    for place in range(len(answer)):
        server.answers(answer[:place], end)
        with pytest.raises(UpstreamError) as caught:
            await ask(transport)
        assert caught.value.sent, place
    server.answers(SIZED)
    assert await ask(transport) == BODY


@pytest.mark.parametrize("surplus", [b"x", b"{}" * 50_000, SIZED, b"HTTP/1.1 500 No\r\n\r\n", b"\0"])
async def test_what_follows_an_answer_is_never_taken_for_the_next(
    surplus: bytes, server: Hostile, connect: Connect
) -> None:
    transport = connect(server.url)
    server.answers(SIZED + surplus)
    with contextlib.suppress(UpstreamError):
        assert await ask(transport) == BODY
    await until(lambda: server.left == 1)
    server.answers(SIZED.replace(b"true", b"null"))
    assert await ask(transport) == BODY.replace(b"true", b"null")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -1\r\n",
        b"Content-Length: +11\r\n",
        b"Content-Length: 0x0b\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: 11\r\nContent-Length: 12\r\n",
        b"Content-Length: 12\r\n",
        b"Content-Length: 11, 11\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 11\r\n",
        b"No colon\r\n",
        b"X: a\0b\r\nContent-Length: 11\r\n",
    ],
)
async def test_a_wrong_length_or_head_is_an_error(head: bytes, server: Hostile, connect: Connect) -> None:
    server.answers(HEAD + head + b"\r\n" + BODY, CLOSE)
    with pytest.raises(UpstreamError) as caught:
        await ask(connect(server.url))
    assert caught.value.sent


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\nok\r\n0\r\n\r\n", b"-2\r\nok\r\n0\r\n\r\n", b"2\r\nokok\r\n0\r\n\r\n", b"f" * 20 + b"\r\nok", b"\r\n"],
)
async def test_a_bad_chunk_is_an_error(chunks: bytes, server: Hostile, connect: Connect) -> None:
    server.answers(FRAMED + chunks, CLOSE)
    with pytest.raises(UpstreamError):
        await ask(connect(server.url))


async def test_a_body_without_length_ends_with_its_connection(server: Hostile, connect: Connect) -> None:
    server.answers(HEAD + b"\r\n", BODY, CLOSE)
    transport = connect(server.url)
    assert await ask(transport) == BODY
    assert await ask(transport) == BODY
    assert server.connections == 2


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"]
)
async def test_interim_answers_are_skipped(interim: bytes, server: Hostile, connect: Connect) -> None:
    transport = connect(server.url)
    server.answers(interim * 3 + SIZED)
    assert await ask(transport) == BODY
    server.drips(interim + CHUNKED)
    assert await ask(transport) == BODY


async def test_trailers_are_ignored(server: Hostile, connect: Connect) -> None:
    server.answers(CHUNKED[:-2] + b"Mcp-Session-Id: evil\r\n\r\n")
    transport = connect(server.url)
    answer = await transport.request("POST", {}, b"{}", 5.0)
    assert await answer.read(LIMIT) == BODY
    assert answer.header("mcp-session-id") == ""
    assert await ask(transport) == BODY


@pytest.mark.parametrize("status", [204, 304])
async def test_some_answers_have_no_body_whatever_they_say(status: int, server: Hostile, connect: Connect) -> None:
    server.answers(b"HTTP/1.1 %d Nothing\r\nContent-Length: 11\r\n\r\n" % status)
    transport = connect(server.url)
    assert await ask(transport) == b""
    assert await ask(transport) == b""


async def test_status_and_headers_are_the_callers_business(server: Hostile, connect: Connect) -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLOCATION: /other\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    server.answers(redirect)
    transport = connect(server.url)
    answer = await transport.request("POST", {}, b"{}", 5.0)
    assert (answer.status, answer.header("location"), answer.content_type) == (302, "/other", "")
    answer.close()
    await ask(transport)
    assert b"cookie" not in server.requests[1].lower()
    assert len(server.requests) == 2


async def test_the_first_of_a_header_counts_however_it_is_spelled(server: Hostile, connect: Connect) -> None:
    server.answers(SIZED.replace(b"\r\n\r\n", b"\r\nX-A: 1\r\nx-a: 2\r\ncontent-type: text/plain\r\n\r\n"))
    answer = await connect(server.url).request("POST", {}, b"{}", 5.0)
    assert (answer.content_type, answer.header("x-a")) == ("application/json", "1")
    answer.close()


async def test_the_media_type_is_given_without_parameters(server: Hostile, connect: Connect) -> None:
    server.answers(SIZED.replace(b"application/json", b"Text/Event-Stream; Charset=x"))
    answer = await connect(server.url).request("POST", {}, b"{}", 5.0)
    assert answer.content_type == "text/event-stream"
    answer.close()


async def test_a_request_says_what_it_must_and_nothing_else(server: Hostile, connect: Connect) -> None:
    transport = connect(server.url)
    await ask(transport, b"\xff" * 100_000, 5.0, **{"mcp-name": "=?base64?w6Q=?="})
    head, body = server.requests[0].split(b"\r\n\r\n", 1)
    start, *lines = head.lower().split(b"\r\n")
    assert (start, body) == (b"post /mcp http/1.1", b"\xff" * 100_000)
    assert set(lines) == {
        b"host: " + server.url.split("/")[2].encode(),
        b"accept: application/json, text/event-stream",
        b"accept-encoding: identity",
        b"content-type: application/json",
        b"content-length: 100000",
        b"user-agent: toolway",
        b"mcp-name: =?base64?w6q=?=",
    }


async def test_a_get_has_no_body_and_may_go_to_another_target(server: Hostile, connect: Connect) -> None:
    answer = await connect(server.url).request("GET", {}, None, 5.0, target="/sse?session=1%202")
    assert await answer.read(LIMIT) == BODY
    assert server.requests[0].startswith(b"GET /sse?session=1%202 HTTP/1.1\r\n")
    assert b"content-length" not in server.requests[0].lower()


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\n", "\r", "a\0"])
async def test_a_header_with_a_line_break_is_never_sent(value: str, server: Hostile, connect: Connect) -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        await ask(connect(server.url), x=value)
    assert not caught.value.sent
    assert not server.requests


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 60_000,
        b"HTTP/1.1 200 " + b"a" * 300_000,
    ],
)
async def test_a_huge_head_is_refused(head: bytes, server: Hostile, connect: Connect) -> None:
    server.answers(head, asyncio.Event())
    with pytest.raises(UpstreamError) as caught:
        await ask(connect(server.url))
    assert not isinstance(caught.value, UpstreamTimeout)
    await until(lambda: server.left == 1)


@pytest.mark.parametrize("head", [HEAD + b"Content-Length: 2000000\r\n\r\n", HEAD + b"\r\n"])
async def test_a_body_above_the_limit_is_refused(head: bytes, server: Hostile, connect: Connect) -> None:
    server.answers(head + b" " * 1_500_000, asyncio.Event())
    with pytest.raises(UpstreamProtocol):
        await ask(connect(server.url))
    await until(lambda: server.left == 1)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX: a", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_head_that_does_not_come_in_time_is_a_timeout(start: bytes, server: Hostile, connect: Connect) -> None:
    server.answers(start, asyncio.Event())
    with pytest.raises(UpstreamTimeout) as caught:
        await asyncio.wait_for(ask(connect(server.url), seconds=0.1), 5)
    assert caught.value.sent
    await until(lambda: server.left == server.connections)  # on a busy machine none was made in time


async def test_a_head_that_drips_is_a_timeout(server: Hostile, connect: Connect) -> None:
    server.drips(HEAD + b"X: " + b"a" * 2_000)
    server.steps.append(asyncio.Event())  # however fast the machine is, the head does not end in time
    with pytest.raises(UpstreamTimeout):
        await asyncio.wait_for(ask(connect(server.url), seconds=0.1), 5)


async def test_a_request_that_stops_waiting_closes_its_connection(server: Hostile, connect: Connect) -> None:
    server.answers(asyncio.Event())
    task = asyncio.create_task(ask(connect(server.url)))
    await until(lambda: len(server.requests) == 1)
    task.cancel()
    await until(lambda: server.left == 1)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_reader_that_stops_closes_its_connection(server: Hostile, connect: Connect) -> None:
    server.answers(FRAMED + b"1\r\nx\r\n", asyncio.Event())
    task = asyncio.create_task(ask(connect(server.url)))
    await until(lambda: server.sent > 0)
    await asyncio.sleep(0)
    task.cancel()
    await until(lambda: server.left == 1)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_connection_that_was_closed_while_idle_is_not_used_again(server: Hostile, connect: Connect) -> None:
    transport = connect(server.url)
    for end in (CLOSE, RESET):
        server.answers(SIZED, end)
        assert await ask(transport) == BODY
        await until(lambda: server.left == server.connections)
        server.answers(SIZED)
        assert await ask(transport) == BODY


async def test_a_connection_that_shall_be_closed_is_not_used_again(server: Hostile, connect: Connect) -> None:
    transport = connect(server.url)
    server.answers(SIZED.replace(b"Content-Type", b"Connection: close\r\nContent-Type"))
    await ask(transport)
    server.answers(SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"))
    await ask(transport)
    await ask(transport)
    assert server.connections == 3


async def test_a_reused_connection_that_breaks_says_that_the_outcome_is_unknown(
    server: Hostile, connect: Connect
) -> None:
    transport = connect(server.url)
    await ask(transport)
    server.answers(CLOSE)
    with pytest.raises(UpstreamError) as caught:
        await ask(transport)
    assert caught.value.sent
    assert len(server.requests) == 2


async def test_events_arrive_one_by_one(server: Hostile, connect: Connect) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    server.answers(FRAMED, first, b"3\r\none\r\n", second, b"3\r\ntwo\r\n0\r\n\r\n")
    answer = await connect(server.url).request("GET", {}, None, 5.0)
    first.set()
    assert await answer.chunk() == b"one"
    second.set()
    assert [await answer.chunk(), await answer.chunk(), await answer.chunk()] == [b"two", b"", b""]


async def test_a_stream_may_be_silent_for_longer_than_its_head(server: Hostile, connect: Connect) -> None:
    later = asyncio.Event()
    server.answers(FRAMED, later, b"3\r\none\r\n0\r\n\r\n")
    answer = await connect(server.url).request("GET", {}, None, 0.05)
    asyncio.get_running_loop().call_later(0.2, later.set)
    assert await answer.read(LIMIT) == b"one"


async def test_a_stream_that_breaks_gives_out_what_came_before(server: Hostile, connect: Connect) -> None:
    server.answers(FRAMED + b"3\r\none\r\n", CLOSE)
    answer = await connect(server.url).request("GET", {}, None, 5.0)
    assert await answer.chunk() == b"one"
    with pytest.raises(UpstreamError):
        await answer.chunk()
    answer.close()


async def test_a_server_that_floods_is_slowed_down_to_its_reader(server: Hostile, connect: Connect) -> None:
    total, piece = 512, b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    server.answers(FRAMED, *[piece] * total, b"0\r\n\r\n")
    answer = await connect(server.url).request("GET", {}, None, 5.0)
    sent = -1
    while sent < server.sent:  # until it can send no more
        sent = server.sent
        await asyncio.sleep(0.1)
    assert sent < total * len(piece) * 0.75, "nothing held it back"
    received = 0
    while chunk := await answer.chunk():
        received += len(chunk)
    answer.close()
    assert received == total * 65_536


async def test_requests_side_by_side_get_their_own_answers(server: Hostile, connect: Connect) -> None:
    transport = connect(server.url)

    async def one(number: int) -> None:
        server.answers(SIZED)
        for _ in range(20):
            assert await ask(transport, x=str(number)) == BODY

    await asyncio.gather(*(one(number) for number in range(20)))
    assert len(server.requests) == 400
    assert server.connections <= 20


async def test_nobody_listens_means_not_sent(connect: Connect, unused_tcp_port: int) -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        await ask(connect(f"http://127.0.0.1:{unused_tcp_port}/mcp"))
    assert not caught.value.sent
    assert "127.0.0.1" not in caught.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_private_address_is_not_dialled(host: str, server: Hostile, connect: Connect) -> None:
    with pytest.raises(EgressRefused):
        await ask(connect(server.url.replace("127.0.0.1", host), allow_private=False))
    assert server.connections == 0


async def test_a_server_with_the_right_certificate_is_reached(connect: Connect, certificate: TestCertificate) -> None:
    async with Hostile().serving(certificate.serving, "localhost") as server:
        transport = connect(server.url, tls=ClientTls(ca=certificate.file))
        for answer in (SIZED, CHUNKED):
            server.drips(answer)
            assert await ask(transport, b"x" * 300_000) == BODY
        assert server.connections == 1


@pytest.mark.parametrize(("host", "trusted"), [("127.0.0.1", True), ("localhost", False)])
async def test_a_certificate_of_another_name_or_authority_is_refused(
    host: str, trusted: bool, connect: Connect, certificate: TestCertificate
) -> None:
    async with Hostile().serving(certificate.serving, host) as server:
        with pytest.raises(UpstreamUnreachable) as caught:
            await ask(connect(server.url, tls=ClientTls(ca=certificate.file) if trusted else ClientTls()))
        assert not caught.value.sent
        assert not server.requests
