"""Whole documents of public APIs become tools that work, against servers generated from the same documents."""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import whole
from calling import called, tools_of
from generated_api import GeneratedApi
from jsonschema_rs import meta
from petshop import PETSTORE

from toolway_rest.library import made
from toolway_rest.settings import RestUpstream
from toolway_testing.gateway import StartGateway

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", whole.DOCUMENTS)
def test_every_operation_becomes_a_tool_with_schemas_that_can_be_used(name: str) -> None:
    book = whole.book_of(name)
    entries: list[dict[str, Any]] = [json.loads(item.raw) for item in book.items]

    assert len({entry["name"] for entry in entries}) == len(entries) == whole.DOCUMENTS[name][1]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", entry["name"]) for entry in entries)
    for operation in book.operations.values():
        for schema in filter(None, (operation.input_schema, operation.output_schema)):
            assert len(schema) <= 16_384 + 32
            assert meta.is_valid({"$schema": DIALECT, **json.loads(schema)})


async def test_the_petstore_works(gateway: StartGateway) -> None:
    assert await faults(gateway, {"petstore": PETSTORE}) == {"petstore": []}


@pytest.mark.timeout(180)
async def test_every_kind_of_operation_works(gateway: StartGateway) -> None:
    documents = {name: whole.path_of(name) for name in whole.DOCUMENTS}

    assert await faults(gateway, documents) == {name: [] for name in documents}


async def faults(gateway: StartGateway, documents: dict[str, Path]) -> dict[str, list[str]]:
    """What was wrong with calling the sample of each document, as its server and the client see it."""
    apis = {name: GeneratedApi(whole.loaded(path)) for name, path in documents.items()}
    async with AsyncExitStack() as running:
        for api in apis.values():
            await running.enter_async_context(api.server)
        upstreams = [upstream(name, path, apis[name].url) for name, path in documents.items()]
        gate = await gateway(enable=["rest"], upstreams=upstreams, servers=[{"name": "default", "access": "public"}])
        tools = await tools_of(gate)
        answers = {tool["name"]: await called(gate, tool) for tool in tools}
    assert {name.partition("__")[0] for name in answers} == set(documents)
    assert sum(sum(api.calls.values()) for api in apis.values()) >= 0.95 * len(tools)
    told = {name: [each for each in answers.values() if each.startswith(f"{name}__")] for name in documents}
    return {name: whole.faults_of(name, [*apis[name].faults, *told[name]]) for name in documents}


def upstream(name: str, path: Path, url: str) -> dict[str, Any]:
    """The sample of a document, with schemas that are whole."""
    where = {"kind": "rest", "endpoints": [url], "allow_private": True, "document": str(path)}
    return {"name": name, **where, "include": whole.sample(path), "slashes": ["path"], "max_schema": 65_536}


@pytest.fixture
def large() -> tuple[RestUpstream, bytes]:
    settings = whole.settings_of("graph", max_document=33_554_432)
    return settings, Path(settings.document).read_bytes()


async def test_reading_a_large_document_lets_others_go_on(large: tuple[RestUpstream, bytes]) -> None:
    settings, data = large
    delays: list[float] = []
    reading = asyncio.create_task(asyncio.to_thread(made, settings, data))
    while not reading.done():
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        delays.append(time.perf_counter() - begun)

    assert len((await reading).items) == 1000
    assert len(data) > 20_000_000 and len(delays) > 20
    assert sorted(delays)[-len(delays) // 100] < 0.5
