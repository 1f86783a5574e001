"""Every test runs on both event loops, alone and among other requests; those of the contract with both transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import uvloop
from hostile_parts import Connect, Hostile, TestCertificate
from yarl import URL

from toolway.bundled.upstreams.aio import AiohttpTransport
from toolway.bundled.upstreams.pool import Pool
from toolway.plugin.http import ClientTls, EgressGuard, OutgoingHttp
from toolway_testing.crowd import MANY, crowd


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The gateway runs on uvloop, where there is one."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(params=[0, MANY], ids=["alone", "crowded"], autouse=True)
async def others(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """How many requests are in flight beside those of the test."""
    async with crowd(request.param):
        yield


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Hostile]:
    """A server that answers well until it is told otherwise."""
    async with Hostile().serving() as server:
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TestCertificate:
    """For `localhost` only."""
    return TestCertificate(tmp_path_factory.mktemp("tls"))


@pytest_asyncio.fixture
async def pool_to() -> AsyncIterator[Connect]:
    """Makes pools; all are closed afterwards."""
    pools = []

    def make(url: str, guard: EgressGuard | None = None, tls: ClientTls | None = None) -> Pool:
        pools.append(Pool("upstream 'up'", URL(url), guard or EgressGuard(allow_private=True), tls or ClientTls()))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


@pytest_asyncio.fixture(params=["lean", "aiohttp"])
async def connect(request: pytest.FixtureRequest, pool_to: Connect) -> AsyncIterator[Connect]:
    """Makes transports of one of the two kinds."""
    outgoing = OutgoingHttp()

    def make(url: str, *, allow_private: bool = True, tls: ClientTls | None = None) -> Any:
        tls, guard = tls or ClientTls(), outgoing.guard(allow_private=allow_private)
        if request.param == "lean":
            return pool_to(url, guard, tls)

        def session() -> aiohttp.ClientSession:
            return outgoing.session("up", allow_private=allow_private, tls=tls)

        return AiohttpTransport("upstream 'up'", URL(url), session, guard)

    yield make
    await outgoing.close()
