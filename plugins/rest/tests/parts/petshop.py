"""Gateways in front of the pet store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recorder import Recorder

from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

PETSTORE = Path(__file__).parent / "documents/petstore.yaml"
PUBLIC = {"name": "default", "access": "public"}


def petstore(pets: Recorder, **changes: Any) -> dict[str, Any]:
    where = {"endpoints": [f"{pets.url}/v1"], "document": str(PETSTORE), "allow_private": True}
    return {"name": "pets", "kind": "rest", **where, **changes}


async def started(gateway: StartGateway, *upstreams: dict[str, Any], **settings: Any) -> RunningGateway:
    gate = await gateway(enable=["rest"], upstreams=upstreams, servers=[PUBLIC], **settings)

    def all_up() -> bool:
        return all(view.status == "up" for view in gate.gateway.kernel.catalog.snapshot.upstreams.values())

    await eventually(all_up)
    return gate


async def result(gate: RunningGateway, tool: str, /, **arguments: Any) -> dict[str, Any]:
    answer = (await gate.call(tool, arguments)).content
    assert "result" in answer, answer
    found: dict[str, Any] = answer["result"]
    return found
