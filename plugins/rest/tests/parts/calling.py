"""Calls tools as their schemas say, and tells what was wrong with that."""

from __future__ import annotations

import json
from typing import Any

from jsonschema_rs import Draft202012Validator

from examples import Resolve, example
from toolway_testing.gateway import RunningGateway
from toolway_testing.polling import eventually


def resolver(schema: dict[str, Any]) -> Resolve:
    def resolve(value: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in value:
            value = schema["$defs"][value["$ref"].removeprefix("#/$defs/")]
        return value

    return resolve


async def tools_of(gate: RunningGateway) -> list[dict[str, Any]]:
    def all_up() -> bool:
        return all(view.status == "up" for view in gate.gateway.kernel.catalog.snapshot.upstreams.values())

    await eventually(all_up, timeout=40)
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
    if unfit := [fault.message for fault in Draft202012Validator(schema).iter_errors(arguments)]:
        return f"{tool['name']}: no fitting example is made: {unfit[0][:300]}"
    answer = (await gate.call(tool["name"], arguments)).content
    result = answer.get("result", {})
    if "result" not in answer or result.get("isError"):
        return f"{tool['name']}: {json.dumps(answer)[:1500]}"
    if "outputSchema" in tool:
        faults = Draft202012Validator(tool["outputSchema"]).iter_errors(result["structuredContent"])
        return "".join(f"{tool['name']}: {fault.message[:200]}" for fault in faults)
    return ""
