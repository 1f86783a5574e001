"""Every test runs on both event loops; those of a runner alone and among other requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
import uvloop

from toolway_testing.crowd import MANY, crowd


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(params=[0, MANY], ids=["alone", "crowded"])
async def others(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """How many requests are in flight beside those of the test."""
    async with crowd(request.param):
        yield
