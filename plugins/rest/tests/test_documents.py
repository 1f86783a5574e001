"""Public documents become working tools: every request is checked against the document by a server made of it."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import yaml
from generated_api import GeneratedApi
from jsonschema_rs import Draft202012Validator

from examples import example
from toolway_testing.gateway import RunningGateway, StartGateway
from toolway_testing.polling import eventually

DOCUMENTS = Path(__file__).parent / "parts/documents"


def resolver(schema: dict[str, Any]) -> Any:
    def resolve(value: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in value:
            value = schema["$defs"][value["$ref"].removeprefix("#/$defs/")]
        return value

    return resolve


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


async def tools_of(gate: RunningGateway) -> list[dict[str, Any]]:
    def all_up() -> bool:
        return all(view.status == "up" for view in gate.gateway.kernel.catalog.snapshot.upstreams.values())

    await eventually(all_up)
    tools: list[dict[str, Any]] = []
    page: dict[str, Any] = {"nextCursor": None}
    while "nextCursor" in page:
        cursor = page["nextCursor"]
        page = (await gate.mcp("tools/list", {"cursor": cursor} if cursor else {})).content["result"]
        tools += page["tools"]
    return tools


async def called(gate: RunningGateway, tool: dict[str, Any]) -> str:
    """What was wrong with calling a tool as its schema says; empty when nothing was."""
    schema = tool["inputSchema"]
    arguments = example(schema, resolver(schema), "request")
    assert not [fault.message for fault in Draft202012Validator(schema).iter_errors(arguments)]
    answer = (await gate.call(tool["name"], arguments)).content
    result = answer.get("result", {})
    if "result" not in answer or result.get("isError"):
        return f"{tool['name']}: {json.dumps(answer)[:1500]}"
    if "outputSchema" in tool:
        faults = Draft202012Validator(tool["outputSchema"]).iter_errors(result["structuredContent"])
        return "".join(f"{tool['name']}: {fault.message[:200]}" for fault in faults)
    return ""
