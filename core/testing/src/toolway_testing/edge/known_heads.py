"""Of a request whose head came before on its connection, applications see what they would have seen without that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from toolway.edge.edge import Edge
from toolway.edge.settings import EdgeSettings
from toolway.hookspecs.serving import FIELDS, KNOWN, WHOLE, ServerRunner
from toolway.plugin import outbox
from toolway_testing.edge.node import RunnerContract
from toolway_testing.polling import eventually

Seen = dict[str, Any]
OF_ONE = {WHOLE, KNOWN, "client", "server", "asgi"}
"""What is not the same for every request."""

CHECKS = HealthCheck.function_scoped_fixture, HealthCheck.differing_executors  # each example has servers of its own

LENGTHS = ("Content-Length: %d", "content-length:%d", "CONTENT-LENGTH: \t%d", "Content-Length: 000%d")


class Served:
    """What the application saw, and whether the head of each request was known."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.known: list[bool] = []
        self.is_stream = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.known.append(KNOWN in scope)
        kept = {name: each for name, each in scope.items() if name not in OF_ONE}
        self.seen.append({**kept, "headers": [*scope["headers"]], FIELDS: {**scope[FIELDS]}, "body": body})
        scope["headers"].clear()
        headers = [] if self.is_stream else [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served(runner: ServerRunner, **bounds: int) -> AsyncIterator[tuple[Served, int]]:
    """An application behind the door, and its port."""
    app, configured = Served(), EdgeSettings.model_validate({"limits": bounds})
    edge, limits = Edge(app, configured, bind="127.0.0.1:1"), configured.limits
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: runner.connection(edge, limits, lambda _: None), "127.0.0.1", 0)
    async with server:
        yield app, server.sockets[0].getsockname()[1]


async def sent(port: int, requests: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The beginnings of the answers to requests, each in pieces, one after the other on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    try:
        for pieces in requests:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            head = await reader.readuntil(b"\r\n\r\n")
            answers.append(head[:12])
            if not head.startswith(b"HTTP/1.1 200"):
                break  # a refusal ends the connection
            await reader.readexactly(2)
    finally:
        writer.close()
        await writer.wait_closed()
    return answers


def post(body: bytes, line: str = LENGTHS[0], path: str = "/mcp", *more: str) -> bytes:
    """A request; `more` are header fields before the length and behind it."""
    fields = ["Host: localhost", *more[:1], line % len(body), *more[1:]]
    return "\r\n".join([f"POST {path} HTTP/1.1", *fields, "", ""]).encode() + body


BODIES = (b"", b"x", b"y" * 9, b"z" * 10, b"\r\n\r\n", b"POST /mcp HTTP/1.1\r\n\r\n", b"w" * 70_000)
MORE = ((), ("X-A: 1",), ("X-A: 1", "X-B: 2"), ("X-A: 1", "X-A: 2"), ("Accept: */*", "X-A: 3"))


@st.composite
def requests(draw: st.DrawFn) -> list[Sequence[bytes]]:
    """Some that follow each other, each in one or two pieces: few different heads, so that they come again."""
    heads = [
        (draw(st.sampled_from(LENGTHS)), draw(st.sampled_from(["/mcp", "/a%20b?c=d"])), *draw(st.sampled_from(MORE)))
        for _ in range(2)
    ]
    made: list[Sequence[bytes]] = []
    for kind in draw(st.lists(st.sampled_from(["length"] * 6 + ["chunked", "none", "blank before"]), min_size=4)):
        body = draw(st.sampled_from(BODIES))
        whole = b"GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n"
        if kind == "chunked":
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            whole = whole.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunk)
        elif kind != "none":
            whole = (b"\r\n" if kind == "blank before" else b"") + post(body, *draw(st.sampled_from(heads)))
        cut = draw(st.sampled_from([0, 0, 0, 20, len(whole) - 4, len(whole) - 1]))
        made.append([whole[:cut], whole[cut:]] if cut else [whole])
    return made


class KnownHeadsContract(RunnerContract):
    """Inherit it beside a fixture `runner`."""

    @settings(max_examples=40, suppress_health_check=CHECKS, deadline=None)
    @given(requests())
    async def test_what_is_seen_does_not_depend_on_what_came_before(
        self, runner: ServerRunner, every: list[Sequence[bytes]]
    ) -> None:
        async with served(runner) as (together, port), served(runner) as (alone, another):
            answers = await sent(port, every)
            expected = [(await sent(another, [each]))[0] for each in every[: len(answers)]]

        assert answers == expected
        assert together.seen == alone.seen
        assert not any(alone.known)

    async def test_a_head_that_comes_again_is_known_whatever_the_length_of_its_body(self, runner: ServerRunner) -> None:
        bodies = [b"x" * 9, b"y" * 12, b"", b"z" * 999]
        async with served(runner) as (app, port):
            await sent(port, [[post(b"first")], [post(b"other")], *([post(body)] for body in bodies)])

        assert not app.known[0]
        assert all(app.known[2:])
        assert [each["body"] for each in app.seen[2:]] == bodies
        assert [dict(each["headers"])[b"content-length"] for each in app.seen[2:]] == [
            b"%d" % len(body) for body in bodies
        ]

    async def test_a_known_message_within_another_one_stays_a_part_of_it(self, runner: ServerRunner) -> None:
        known = post(b"abc")
        head = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Part: "
        body = post(b"x" * (2 * len(known)))[: -2 * len(known)]
        async with served(runner) as (app, port):
            answers = await sent(port, [[known], [known], [known], [body, known, known], [head, known]])

        assert answers == [b"HTTP/1.1 200"] * 4 + [b"HTTP/1.1 400"]  # two hosts and two lengths in one head
        assert [each["body"] for each in app.seen[3:]] == [known + known]

    async def test_who_expects_to_be_told_to_go_on_is_told_each_time(self, runner: ServerRunner) -> None:
        told = []
        async with served(runner) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(3):
                writer.write(post(b"abc", LENGTHS[0], "/mcp", "Expect: 100-continue"))
                raw = b""
                while not raw.endswith(b"ok"):
                    raw += await reader.read(1024)
                told.append(raw.count(b"100 Continue"))
            writer.close()
            await writer.wait_closed()

        assert told in ([0, 0, 0], [1, 1, 1])  # the body is there already, so either is right

    async def test_no_request_counts_as_in_flight_when_it_is_over(self, runner: ServerRunner) -> None:
        before = outbox().in_flight
        async with served(runner) as (app, port):
            app.is_stream = True
            await sent(port, [[post(b"abc")]])
            app.is_stream = False
            await sent(port, [[post(b"abc")]] * 3)
            await eventually(lambda: outbox().in_flight == before)

    async def test_the_answer_to_a_known_head_may_be_a_stream(self, runner: ServerRunner) -> None:
        async with served(runner) as (app, port):
            app.is_stream = True
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(4):
                writer.write(post(b"x"))
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"transfer-encoding: chunked" in head.lower()
                assert await reader.readuntil(b"0\r\n\r\n") == b"2\r\nok\r\n0\r\n\r\n"
            writer.close()
            await writer.wait_closed()

        assert app.known[2:] == [True, True]

    async def test_the_body_of_a_known_head_is_not_longer_than_others_may_be(self, runner: ServerRunner) -> None:
        async with served(runner, body=1_000) as (app, port):
            answers = await sent(port, [[post(b"x" * size)] for size in (1, 1_000, 1_000, 1_001)])

        assert answers == [b"HTTP/1.1 200"] * 3 + [b"HTTP/1.1 413"]
        assert app.known[2:] == [True]

    @pytest.mark.parametrize(
        ("data", "answer"),
        [
            (post(b"abc") + b"d", b"HTTP/1.1 200"),  # the rest is a bad request, after the answer
            (post(b"abc").replace(b": 3", b": 3 4"), b"HTTP/1.1 400"),
            (post(b"abc").replace(b": 3", b": +3"), b"HTTP/1.1 400"),
            (post(b"abc").replace(b": 3", b": 3\r\nContent-Length: 3"), b"HTTP/1.1 400"),
            (post(b"abc").replace(b": 3", b": 3\r\nTransfer-Encoding: chunked"), b"HTTP/1.1 400"),
            (post(b"abc").replace(b"\r\n\r\n", b"\r\nX: \x00\r\n\r\n"), b"HTTP/1.1 400"),
            (post(b"abc").replace(b": 3", b": 99999999"), b"HTTP/1.1 413"),
        ],
    )
    async def test_what_is_nearly_the_same_is_judged_as_ever(
        self, runner: ServerRunner, data: bytes, answer: bytes
    ) -> None:
        async with served(runner) as (app, port):
            answers = await sent(port, [[post(b"one")], [post(b"two")], [post(b"three")], [data]])

        assert answers == [b"HTTP/1.1 200"] * 3 + [answer]
        assert app.known[2:] == [True, *([False] if answer.endswith(b"200") else [])]
