"""The server that stands for an API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from recorder import Recorder


@pytest_asyncio.fixture
async def pets() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    async with recorder.server:
        yield recorder
