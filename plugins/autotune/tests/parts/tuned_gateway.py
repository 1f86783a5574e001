"""A gateway with the plugin, before an upstream whose latency changes."""

from __future__ import annotations

from typing import Any

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

QUICK = {"interval": 0.1, "min_samples": 20, "min_timeout": 0.05, "base_backoff": 0.01}
SERVERS = [{"name": "open", "include": ["slow/*"], "access": "public"}]


async def started(
    gateway: StartGateway, url: str, mode: str = "apply", where: dict[str, str] | None = None, **settings: Any
) -> RunningGateway:
    """With these settings of the plugin, and `where` of the gateway."""
    urls = [f"{each}/mcp" for each in url.split()]
    upstream = {"name": "slow", "kind": "http", "endpoints": urls, "allow_private": True}
    gate = await gateway(
        enable=["autotune"],
        plugins={"autotune": {**QUICK, "mode": mode, **settings}},
        upstreams=[upstream],
        servers=SERVERS,
        **(where or {}),
    )
    await eventually(lambda: gate.gateway.plane.view("open").listed("tool"))
    return gate


async def behave(gate: RunningGateway, url: str, **behaviour: Any) -> None:
    async with gate.http.put(f"{url}/_behave", json=behaviour) as answer:
        assert answer.status == 200


async def seen(gate: RunningGateway, url: str) -> Any:
    async with gate.http.get(f"{url}/_seen") as answer:
        return await answer.json()


async def value(gate: RunningGateway, name: str, tool: str = "") -> Any:
    shown = (await gate.api("GET", "/autotune/slow")).content
    return next((each for each in shown["values"] if (each["value"], each["tool"]) == (name, tool)), None)
