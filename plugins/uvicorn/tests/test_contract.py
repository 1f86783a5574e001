"""The runner keeps the contract of all server runners."""

from __future__ import annotations

import pytest

from toolway_testing import edge
from toolway_testing.edge.known_heads import post, sent, served
from toolway_uvicorn.connection import UvicornRunner


@pytest.fixture
def runner() -> UvicornRunner:
    return UvicornRunner()


class TestFraming(edge.FramingContract):
    pass


class TestKnownHeads(edge.KnownHeadsContract):
    async def test_a_head_is_learned_from_the_second_request_on(self, runner: UvicornRunner) -> None:
        async with served(runner, body=1_000) as (app, port):
            await sent(port, [[post(b"x" * size)] for size in (1, 1_000, 1_000, 999, 1_001)])

        assert app.known == [False, False, True, True]

    async def test_a_zero_byte_in_a_head_is_refused_before_its_end(self, runner: UvicornRunner) -> None:
        known = post(b"abc")
        async with served(runner) as (app, port):
            answers = await sent(port, [[known], [known], [known], [known.replace(b"\r\n\r\n", b"\r\n\x00\r\n")]])

        assert answers == [b"HTTP/1.1 200"] * 3 + [b"HTTP/1.1 400"]
        assert app.known == [False, False, True]


class TestLimits(edge.LimitsContract):
    pass


class TestFailures(edge.FailuresContract):
    pass


class TestDrain(edge.DrainContract):
    pass


class TestTls(edge.TlsContract):
    pass


class TestNames(edge.NamesContract):
    pass


class TestProxies(edge.ProxiesContract):
    pass
