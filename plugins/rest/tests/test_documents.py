"""Public documents become working tools: every request is checked against the document by a server made of it."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import yaml
from calling import called, tools_of
from generated_api import GeneratedApi

from toolway_testing.gateway import StartGateway

DOCUMENTS = Path(__file__).parent / "parts/documents"


OPERATIONS = {"petstore.yaml": 7, "github.json": 33, "digitalocean.json": 58, "kubernetes.json": 24, "stripe.json": 41}


async def test_every_tool_of_public_documents_works(gateway: StartGateway) -> None:
    apis = {name: GeneratedApi(yaml.safe_load((DOCUMENTS / name).read_text())) for name in OPERATIONS}
    async with AsyncExitStack() as running:
        for api in apis.values():
            await running.enter_async_context(api.server)
        public = {"name": "default", "access": "public"}
        upstreams = [upstream(name, api.url) for name, api in apis.items()]
        gate = await gateway(enable=["rest"], upstreams=upstreams, servers=[public])
        tools = await tools_of(gate)

        answers = [await called(gate, tool) for tool in tools]

    made = Counter(tool["name"].partition("__")[0] for tool in tools)
    assert made == {Path(name).stem: count for name, count in OPERATIONS.items()}
    assert [fault for api in apis.values() for fault in api.faults] == []
    assert {count for api in apis.values() for count in api.calls.values()} == {1}
    assert [fault for fault in answers if fault] == []


def upstream(document: str, url: str) -> dict[str, Any]:
    kind = {"name": Path(document).stem, "kind": "rest", "endpoints": [url], "allow_private": True}
    return {**kind, "document": str(DOCUMENTS / document), "slashes": ["path"]}
