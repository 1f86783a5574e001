"""Copies in the key-value store: other nodes find them, nobody can read them, and news end them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from behind import Scripted, started
from cached import Answering, call, read

from toolway.plugin import StoreUnavailable
from toolway_cache.cache import Cache
from toolway_cache.settings import CacheSettings
from toolway_cache.shared import SharedCopies
from toolway_testing.gateway import StartGateway
from toolway_testing.polling import eventually

SECRET = "a secret of alice"


class Node:
    """A node of its own on the same store, and the upstream as it sees it."""

    def __init__(self, kernel: Any) -> None:
        settings = CacheSettings(store_wait=5.0)
        self.shared = SharedCopies(kernel, settings)
        self.cache = Cache(kernel, settings, self.shared)
        self.upstream = Answering()
        self.upstream.result = {"text": SECRET}

    async def asks(self, who: str = "user:alice") -> Any:
        return read(await self.cache(call(who=who), self.upstream))


async def test_copies_are_found_by_other_nodes_until_something_changes(
    gateway: StartGateway, upstream: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = (await started(gateway, upstream)).gateway.kernel

    async def texts() -> list[bytes]:
        return [await kernel.keyvalue.get(key) or b"" async for key in kernel.keyvalue.scan("cache:")]

    one, two, three, four = (Node(kernel) for _ in range(4))
    await one.asks()
    await eventually(lambda: has(texts, 2))

    assert (await two.asks(), two.upstream.calls) == ({"number": 1, "text": SECRET}, 0)
    assert (await two.asks("user:bob"), two.upstream.calls) == ({"number": 1, "text": SECRET}, 1)
    assert not any(SECRET.encode() in text or b"number" in text for text in await texts())

    three.shared.changed(["up"])
    assert (await three.asks(), three.upstream.calls) == ({"number": 1, "text": SECRET}, 1)
    await three.shared.forget()
    assert (await four.asks(), four.upstream.calls) == ({"number": 1, "text": SECRET}, 1)

    async def fails(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(kernel.keyvalue, "get", fails)
    five = Node(kernel)
    await asyncio.gather(five.asks(), five.asks())
    assert five.upstream.calls == 1


async def test_nodes_that_want_the_same_wait_for_the_one_that_asks_and_not_for_one_that_is_gone(
    gateway: StartGateway, upstream: Scripted
) -> None:
    kernel = (await started(gateway, upstream)).gateway.kernel
    one, two, three = (Node(kernel) for _ in range(3))
    one.upstream.go = asyncio.Event()
    tasks = [asyncio.create_task(node.asks()) for node in (one, one, two, two)]
    await eventually(lambda: one.upstream.calls)

    one.upstream.go.set()

    assert {answer["number"] for answer in await asyncio.gather(*tasks)} == {1}
    assert (one.upstream.calls, two.upstream.calls) == (1, 0)
    one.shared.changed(["up"])
    await one.shared.forget()
    for node in (one, two):
        node.cache.kept.drop("up")
    one.upstream.go = asyncio.Event()
    given_up = asyncio.create_task(one.asks())
    await eventually(lambda: one.upstream.calls == 2)
    waits = asyncio.create_task(two.asks())
    given_up.cancel()
    assert (await waits)["number"] == 1 and two.upstream.calls == 1
    assert (await three.asks())["number"] == 1 and three.upstream.calls == 0


async def has(texts: Any, most: int) -> bool:
    return len(await texts()) >= most
