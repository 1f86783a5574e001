"""Upstreams that lie or break: every call ends with an error of the right kind, and soon."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from upstream_parts import Dial, Scripted, call, leg, serving

from toolway.errors import SessionLost, UpstreamError, UpstreamProtocol, UpstreamUnauthorized

LIES = [
    *("bad_json", "not_utf8", "foreign_id", "string_id", "null_id", "no_outcome", "both_outcomes"),
    *("array", "html", "empty", "accepted", "redirect", "huge"),
]
BREAKS = ["status_500", "status_503", "drop", "drop_in_body", "sse_without_answer"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("trick", LIES)
async def test_what_is_not_mcp_is_a_protocol_error(trick: str, era: Any, scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg(era))
    await scripted.order(trick)
    with pytest.raises(UpstreamProtocol):
        await asyncio.wait_for(connection.request(call("echo_raw")), 10)


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("trick", BREAKS)
async def test_a_broken_answer_has_an_unknown_outcome(trick: str, era: Any, scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg(era))
    await scripted.order(trick)
    with pytest.raises(UpstreamError) as caught:
        await asyncio.wait_for(connection.request(call("echo_raw")), 10)
    assert caught.value.sent


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_connection_serves_the_next_call_after_every_trick(era: Any, scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg(era))
    for trick in [*LIES, *BREAKS]:
        await scripted.order(trick, times=1)
        with pytest.raises(UpstreamError):
            await connection.request(call("echo_raw"))
        assert (await connection.request(call("echo_raw", after=trick))).result is not None


async def test_a_redirect_is_never_followed(scripted: Scripted, dial: Dial) -> None:
    await scripted.order("redirect")
    with pytest.raises(UpstreamProtocol):
        await dial(scripted.url, leg("modern")).request(call("echo_raw"))
    assert not [entry for entry in await scripted.requests() if "elsewhere" in entry["path"]]


async def test_an_error_tells_the_status_and_when_to_come_back(scripted: Scripted, dial: Dial) -> None:
    await scripted.order("status_503")

    with pytest.raises(UpstreamError) as raised:
        await dial(scripted.url, leg("modern")).request(call("echo_raw"))

    assert raised.value.details == {"upstream_status": 503, "retry_after": 1}


async def test_errors_name_neither_address_nor_body(scripted: Scripted, dial: Dial) -> None:
    for trick in ("status_500", "bad_json", "html", "unauthorized"):
        await scripted.order(trick)
        with pytest.raises((UpstreamError, UpstreamUnauthorized)) as caught:
            await dial(scripted.url, leg("modern")).request(call("echo_raw"))
        assert "127.0.0.1" not in caught.value.message
        assert "stack trace" not in caught.value.message


async def test_a_404_to_a_session_is_a_lost_session(scripted: Scripted, dial: Dial) -> None:
    await scripted.order("session_lost")
    with pytest.raises(SessionLost):
        await dial(scripted.url, leg("legacy")).request(call("echo_raw"))


async def test_an_answer_that_goes_deeper_than_the_stack_is_passed_or_refused(dial: Dial) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000

    async def answer(asked: web.Request) -> web.Response:
        return web.Response(body=b'{"jsonrpc":"2.0","id":1,"result":' + deep + b"}", content_type="application/json")

    async with serving(answer) as url:
        with pytest.raises(UpstreamProtocol):
            await dial(url, leg("modern")).request(call("x"))


async def test_a_compressed_answer_is_refused_unread(dial: Dial) -> None:
    async def answer(asked: web.Request) -> web.Response:
        return web.Response(body=b"\x1f\x8b", headers={"content-encoding": "gzip"}, content_type="application/json")

    async with serving(answer) as url:
        with pytest.raises(UpstreamProtocol):
            await dial(url, leg("modern")).request(call("x"))


async def test_a_header_with_a_line_break_is_never_sent(scripted: Scripted, dial: Dial) -> None:
    connection = dial(scripted.url, leg("modern"), headers={"x-key": "literal:a\r\nx-evil: 1"})
    with pytest.raises(UpstreamError) as caught:
        await connection.request(call("echo_raw"))
    assert not caught.value.sent
    assert not await scripted.requests("tools/call")
