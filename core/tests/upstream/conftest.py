"""Real upstreams as child processes, and connections to them that are closed afterwards."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from toolway.bundled.upstreams.http import HttpKind
from toolway.bundled.upstreams.stdio import StdioKind
from toolway.hookspecs.routing import Connection, Leg
from toolway.plugin.http import OutgoingHttp

sys.path[:0] = [str(Path(__file__).parent)]

from upstream_parts import Dial, Literals, Scripted, child, http_upstream, stdio_upstream  # noqa: E402


@pytest_asyncio.fixture
async def http() -> AsyncIterator[HttpKind]:
    """The kind `http` with a real guarded client."""
    outgoing = OutgoingHttp()
    yield HttpKind(outgoing, Literals())
    await outgoing.close()


@pytest_asyncio.fixture
async def dial(http: HttpKind) -> AsyncIterator[Dial]:
    """Connects to a URL; everything is closed afterwards."""
    async with contextlib.AsyncExitStack() as stack:

        def connect(url: str, leg: Leg, **settings: Any) -> Connection:
            upstream = http_upstream(http, url, **settings)
            connection = http.connect(upstream, upstream.endpoints[0], leg)
            stack.push_async_callback(connection.close)
            return connection

        yield connect


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Dial]:
    """Connects to a program; it is stopped afterwards."""
    kind = StdioKind(Literals())
    async with contextlib.AsyncExitStack() as stack:

        def connect(leg: Leg, *command: str, **settings: Any) -> Connection:
            upstream = stdio_upstream(kind, *command, **settings)
            connection = kind.connect(upstream, upstream.endpoints[0], leg)
            stack.push_async_callback(connection.close)
            return connection

        yield connect


@pytest.fixture(scope="session")
def everything() -> Iterator[str]:
    """The SDK's fixture server, both eras."""
    with child("everything.py", "--page-size", "5") as url:
        yield url


@pytest.fixture(scope="session")
def everything_sse() -> Iterator[str]:
    """The fixture server on the HTTP+SSE transport."""
    with child("everything.py", "--sse") as url:
        yield url


@pytest.fixture(scope="session")
def raw_url() -> Iterator[str]:
    with child("raw_upstream.py") as url:
        yield url


@pytest_asyncio.fixture
async def scripted(raw_url: str) -> AsyncIterator[Scripted]:
    """The raw upstream, behaving well until it is ordered otherwise."""
    upstream = Scripted(raw_url)
    await upstream.reset()
    yield upstream
    await upstream.reset()
