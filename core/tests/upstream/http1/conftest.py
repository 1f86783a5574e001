"""Every test runs on both event loops, and those of the contract with both transports."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from hostile_parts import Connect, Hostile, TestCertificate
from yarl import URL

from toolway.bundled.upstreams.aio import AiohttpTransport
from toolway.bundled.upstreams.pool import Pool
from toolway.plugin.http import ClientTls, EgressGuard, OutgoingHttp, tls_context


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The gateway runs on uvloop, where there is one."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


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

    def make(url: str, guard: EgressGuard | None = None, tls: ssl.SSLContext | None = None) -> Pool:
        pools.append(Pool("upstream 'up'", URL(url), guard or EgressGuard(allow_private=True), tls))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


@pytest_asyncio.fixture(params=["lean", "aiohttp"])
async def connect(request: pytest.FixtureRequest, pool_to: Connect) -> AsyncIterator[Connect]:
    """Makes transports of one of the two kinds."""
    outgoing = OutgoingHttp()

    def make(url: str, *, allow_private: bool = True, tls: ClientTls | None = None) -> Any:
        tls = tls or ClientTls()
        if request.param == "lean":
            context = tls_context(tls) if url.startswith("https:") else None
            return pool_to(url, outgoing.guard(allow_private=allow_private), context)
        session = outgoing.session("up", allow_private=allow_private, tls=tls)
        return AiohttpTransport("upstream 'up'", URL(url), session)

    yield make
    await outgoing.close()
