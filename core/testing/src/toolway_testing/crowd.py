"""A gateway that has much to do: then what is sent waits for the end of the event loop's turn."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.plugin import outbox

MANY = 100


@asynccontextmanager
async def crowd(size: int = MANY) -> AsyncIterator[None]:
    """So many other requests are in flight in this event loop."""
    outbox().in_flight += size
    try:
        yield
    finally:
        outbox().in_flight -= size
