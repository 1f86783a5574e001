"""Two gateway processes on one database: both serve what is changed at one of them, and tell their clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from prompt_samples import prompt

from toolway_testing.polling import eventually
from toolway_testing.processes import FIELDS, META, ON_BOTH_DATABASES, Clients, two_processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PATH = "/prompt-collections"
CHANGED = "notifications/prompts/list_changed"


@pytest_asyncio.fixture(params=ON_BOTH_DATABASES)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Clients]:
    with two_processes(request, tmp_path, '[plugins]\nenable = ["prompts"]') as both:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)  # a new connection goes to any worker
        async with aiohttp.ClientSession(connector=connector) as http:
            yield Clients(both.urls, both.token, http)


async def asked(nodes: Clients, at: int, method: str, params: dict[str, Any]) -> Any:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
    headers = {**FIELDS, "authorization": f"Bearer {nodes.token}", "mcp-method": method}
    headers["mcp-name"] = params.get("name", "")
    async with nodes.http.post(f"{nodes.urls[at]}/mcp", json=message, headers=headers) as response:
        return await response.json(content_type=None)


async def versions(nodes: Clients) -> set[int | None]:
    """Those that many clients of both nodes are shown; None for those who see no such prompt."""
    answers = [await asked(nodes, number % 2, "prompts/list", {}) for number in range(8)]
    found = [{each["name"]: each for each in answer["result"]["prompts"]}.get("hello__greet") for answer in answers]
    return {each["_meta"]["toolway/version"] if each else None for each in found}


async def all_show(nodes: Clients, version: int | None) -> bool:
    return await versions(nodes) == {version}


async def listen(nodes: Clients, at: int, heard: list[str]) -> None:
    params = {"notifications": {"promptsListChanged": True}, "_meta": META}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    headers = {**FIELDS, "authorization": f"Bearer {nodes.token}", "mcp-method": "subscriptions/listen"}
    del headers["mcp-name"]
    async with nodes.http.post(f"{nodes.urls[at]}/mcp", json=message, headers=headers) as response:
        async for line in response.content:
            if line.startswith(b"data: {"):
                heard += [json.loads(line[6:]).get("method", "")]


async def test_a_new_version_and_a_deleted_prompt_are_seen_at_every_node(nodes: Clients) -> None:
    heard: list[list[str]] = [[], [], [], []]
    listening = [asyncio.create_task(listen(nodes, number % 2, each)) for number, each in enumerate(heard)]
    await eventually(lambda: all(heard))
    await nodes.api("POST", PATH, {"name": "hello", "prompts": [prompt()]})
    await eventually(lambda: all_show(nodes, 1))
    await eventually(lambda: all(each.count(CHANGED) for each in heard))

    both = [prompt(), prompt(text="Hi {{ who }}!", version=2)]
    await nodes.api("PUT", f"{PATH}/hello", {"name": "hello", "prompts": both}, at=1)
    await eventually(lambda: all_show(nodes, 2))
    for number in range(8):
        params = {"name": "hello__greet", "arguments": {"who": "Ann"}}
        answer = await asked(nodes, number % 2, "prompts/get", params)
        assert answer["result"]["messages"][0]["content"]["text"] == "Hi Ann!"
    await eventually(lambda: all(each.count(CHANGED) >= 2 for each in heard))

    await nodes.api("DELETE", f"{PATH}/hello")
    await eventually(lambda: all_show(nodes, None))
    await eventually(lambda: all(each.count(CHANGED) >= 3 for each in heard))
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
