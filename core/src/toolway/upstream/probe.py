"""Finds out which eras an endpoint speaks: it is greeted in each of them (MCP 2026-07-28, versioning)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from toolway.errors import UpstreamError, UpstreamUnauthorized, UpstreamUnreachable
from toolway.hookspecs.routing import ClientProfile, Era, Leg
from toolway.mcp.versions import LEGACY, MODERN


class Greeting(msgspec.Struct, frozen=True):
    """The version that was agreed on, or why there was none."""

    version: str | None = None
    why: str = ""


class Greeter(Protocol):
    """A connection that can introduce itself."""

    async def greet(self) -> str:
        """The version that the upstream speaks; raises UpstreamError."""

    async def close(self) -> None:
        """End the conversation."""


async def greeted(connect: Callable[[Leg], Greeter], leg: Leg, era: Era, seconds: float) -> Greeting:
    """Introduce the gateway in one era on a connection of its own, which is closed again.

    Raises:
        UpstreamUnreachable, UpstreamUnauthorized: then no other era can do better.
    """
    client = ClientProfile(MODERN[0] if era == "modern" else LEGACY[0], {}, leg.client.info)
    connection = connect(Leg(era, leg.key, client, leg.peer, leg.authorize))
    try:
        async with asyncio.timeout(seconds):
            return Greeting(await connection.greet())
    except (UpstreamUnreachable, UpstreamUnauthorized):
        raise
    except UpstreamError as error:
        return Greeting(why=error.message)
    except TimeoutError:
        return Greeting(why=f"no answer within {seconds:g} s")
    finally:
        await connection.close()
