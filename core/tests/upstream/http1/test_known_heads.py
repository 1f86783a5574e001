"""Heads that came before from an upstream: its answers are what they would have been without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hostile_parts import CHUNKED, SIZED, Connect, Hostile
from hypothesis import HealthCheck, given, settings, strategies as st
from upstream_parts import PATIENCE, until

from toolway.bundled.upstreams.pool import Pool
from toolway.errors import UpstreamError

STATUSES = ("200 OK", "204 No Content", "401 Unauthorized", "503 Busy")
LENGTHS = ("Content-Length: %d", "content-length:%d", "CONTENT-LENGTH: \t%d", "Content-Length: 000%d")
MORE = ("Content-Type: application/json", "content-type: Text/Plain; a=b", "X-A: 1\r\nx-a: 2", "Content-Encoding: gzip")
BODIES = (b"", b"{}", b"y" * 9, b"z" * 10, b"\r\n\r\n", SIZED, b"w" * 20_000)


def sized(body: bytes, status: str = STATUSES[0], line: str = LENGTHS[0], more: str = MORE[0]) -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}\r\n{line % len(body)}\r\nDate: today\r\n\r\n".encode() + body


@st.composite
def answers(draw: st.DrawFn) -> list[Sequence[bytes]]:
    """Some that follow each other, each in one or two pieces: few different heads, so that they come again."""
    heads = [tuple(draw(st.sampled_from(each)) for each in (STATUSES, LENGTHS, MORE)) for _ in range(2)]
    made: list[Sequence[bytes]] = []
    kinds = ["length"] * 6 + ["chunked", "interim before", "surplus", "too long", "closing"]
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=4)):
        whole = CHUNKED if kind == "chunked" else sized(draw(st.sampled_from(BODIES)), *draw(st.sampled_from(heads)))
        if kind == "interim before":
            whole = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + whole
        elif kind == "surplus":
            whole += draw(st.sampled_from([b"x", SIZED]))
        elif kind == "too long":
            whole = whole.replace(b"\r\nDate", b"0000000000\r\nDate")
        elif kind == "closing":
            whole = whole.replace(b"Date: today", b"Connection: close")
        cut = draw(st.sampled_from([0, 0, 0, 20, len(whole) - 19, len(whole) - 4, len(whole) - 1]))
        made.append([whole[:cut], whole[cut:]] if cut else [whole])
    return made


async def seen(lean: Pool) -> tuple[Any, ...]:
    """What is to be seen of the answer to a request."""
    answer = await lean.request("POST", {}, b"{}", PATIENCE)
    head = answer.status, answer.content_type, answer.encoding, answer.fields
    try:
        return *head, await answer.read(1 << 20)
    except UpstreamError as error:
        return *head, str(error)
    finally:
        answer.close()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(answers())
async def test_an_answer_does_not_depend_on_what_came_before(
    server: Hostile, pool_to: Connect, every: list[Sequence[bytes]]
) -> None:
    together = pool_to(server.url)
    for steps in every:
        server.answers(*steps, *(["close"] if b"0000000000\r\n" in b"".join(steps) else []))
        assert await seen(together) == await seen(pool_to(server.url))


async def test_a_head_that_comes_again_is_known_whatever_the_length_of_its_body(
    server: Hostile, pool_to: Connect
) -> None:
    lean = pool_to(server.url)
    for body in (b"first", b"", b"other", b"z" * 999):
        server.answers(sized(body))
        status, kind, _, fields, read = await seen(lean)
        assert (status, kind, read) == (200, "application/json", body)
        assert fields[b"content-length"] == b"%d" % len(body)

    assert lean.heads.find(sized(b"x")) is not None
    assert server.connections == 1


@pytest.mark.parametrize("surplus", [b"x", SIZED])
async def test_what_follows_a_known_head_and_its_body_ends_the_connection(
    surplus: bytes, server: Hostile, pool_to: Connect
) -> None:
    lean = pool_to(server.url)
    for _ in range(2):
        server.answers(SIZED)
        await seen(lean)
    server.answers(SIZED + surplus)
    assert (await seen(lean))[0] == 200
    await until(lambda: server.left == 1)
    server.answers(SIZED, surplus)
    assert (await seen(lean))[0] == 200
    await until(lambda: server.left == 2)


async def test_a_known_answer_within_another_one_stays_a_part_of_it(server: Hostile, pool_to: Connect) -> None:
    lean = pool_to(server.url)
    assert (await seen(lean))[0] == (await seen(lean))[0] == 200
    server.answers(sized(b"x" * 3 + SIZED)[: -len(SIZED)], SIZED)
    assert (await seen(lean))[-1] == b"x" * 3 + SIZED


async def test_an_interim_answer_has_no_body(server: Hostile, pool_to: Connect) -> None:
    lean = pool_to(server.url)
    assert (await seen(lean))[0] == (await seen(lean))[0] == 200
    server.answers(b"HTTP/1.1 104 Odd\r\nContent-Length: 100\r\n\r\nabc", SIZED)
    with pytest.raises(UpstreamError, match=r"bad HTTP/1\.1"):
        await seen(lean)
    await until(lambda: server.left == 1)


async def test_an_answer_that_nobody_waits_for_is_none_however_well_its_head_is_known(
    server: Hostile, pool_to: Connect
) -> None:
    lean = pool_to(server.url)
    assert (await seen(lean))[0] == (await seen(lean))[0] == 200
    (connection,) = lean._connections
    connection.data_received(SIZED)
    assert not lean._connections
    await until(lambda: server.left == 1)


@pytest.mark.parametrize("closing", ["HTTP/1.0 200 OK", "HTTP/1.1 200 OK\r\nConnection: close"])
async def test_the_head_of_an_answer_that_ends_its_connection_is_not_learned(
    closing: str, server: Hostile, pool_to: Connect
) -> None:
    lean = pool_to(server.url)
    answer = SIZED.replace(b"HTTP/1.1 200 OK", closing.encode())
    server.answers(answer)
    for _ in range(3):
        assert (await seen(lean))[0] == 200
    assert lean.heads.find(answer) is None
    await until(lambda: server.left == 3)
