"""Asks a gateway for the state of its circuit breakers."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import fronts
import running
from callers import Callers
from stage import Replica, Stage

from toolway_testing.polling import eventually


async def seconds_until_it_is_well(scene: Stage, replica: Replica, clients: Callers, tool: str) -> float:
    """How long it takes until it is not ejected any more, and good answers have closed its circuit."""
    begun = perf_counter()

    async def is_well() -> bool:
        await asyncio.gather(*[clients.call(tool) for _ in range(4)])
        (one,) = [each for each in await _breakers(scene, clients) if each["endpoint"] == replica.url]
        return bool(one["state"] == "closed" and not one["ejected_for"])

    await eventually(is_well, timeout=60)
    return perf_counter() - begun


async def _breakers(scene: Stage, clients: Callers) -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {fronts.admin_token(running.Gateway(scene.url, scene.log))}"}
    async with clients.http.get(f"{scene.url}/api/v1/breakers/many", headers=headers) as response:
        found: list[dict[str, Any]] = (await response.json())["endpoints"]
        return found
