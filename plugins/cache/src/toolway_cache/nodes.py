"""The other nodes: which there are, and how many copies each of them dropped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Iterator, Mapping

import msgspec

from toolway.plugin import Kernel

log = logging.getLogger(__name__)

CHANNEL = "cache-dropped"
PREFIX = "cache-node:"
KNOWN_SECONDS, AGAIN_SECONDS = 90.0, 30.0
"""So long a node counts as there after it said so, and how often each says it."""
ANSWER_SECONDS = 2.0
"""How long nodes are waited for."""


class Dropped(msgspec.Struct, frozen=True):
    """What a node says once it did what it was told: `ask` names the order, `by` the cache of that node."""

    ask: str
    by: str
    node: str
    removed: int


class Asked(msgspec.Struct, eq=False):
    """An order whose answers are collected; `nodes` has the names of those that are expected, by their caches."""

    nodes: Mapping[str, str]
    answers: dict[str, Dropped] = {}
    arrived: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


class Nodes:
    """`id` is the cache of this node: one of its own for each gateway that a process builds."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, self.id = kernel, secrets.token_hex(8)
        self._asked: dict[str, Asked] = {}

    async def announce(self) -> None:
        """Say again and again that this node is there; never returns."""
        while True:
            with self._store_may_fail():
                await self._kernel.keyvalue.set(PREFIX + self.id, self._kernel.node.encode(), KNOWN_SECONDS)
            await asyncio.sleep(AGAIN_SECONDS)

    async def leave(self) -> None:
        """This node is not there any more."""
        with self._store_may_fail():
            async with asyncio.timeout(1):
                await self._kernel.keyvalue.delete(PREFIX + self.id)

    async def ask(self) -> str:
        """Begin to collect answers; what the order is called. Raises what the store raises."""
        nodes: dict[str, str] = {}
        async with asyncio.timeout(ANSWER_SECONDS):
            async for key in self._kernel.keyvalue.scan(PREFIX):
                if (cache := key.removeprefix(PREFIX)) != self.id:
                    nodes[cache] = (await self._kernel.keyvalue.get(key) or b"").decode()
        ask = secrets.token_hex(8)
        self._asked[ask] = Asked({cache: node for cache, node in nodes.items() if node})
        return ask

    async def answers(self, ask: str) -> tuple[list[Dropped], list[str]]:
        """What the others said, and the names of those that did not in time."""
        asked = self._asked[ask]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while not asked.answers.keys() >= asked.nodes.keys():
                    await asked.arrived.wait()
                    asked.arrived.clear()
        except TimeoutError:
            log.warning("not every node said in time what it dropped; they drop it when they hear of it")
        finally:
            del self._asked[ask]
        silent = sorted(node for cache, node in asked.nodes.items() if cache not in asked.answers)
        return list(asked.answers.values()), silent

    async def tell(self, ask: str, removed: int) -> None:
        """Answer the node that asked."""
        payload = msgspec.json.encode(Dropped(ask, self.id, self._kernel.node, removed))
        with self._store_may_fail():
            await self._kernel.pubsub.publish(CHANNEL, payload)

    async def heard(self, payload: bytes) -> None:
        """A node answered somebody."""
        answer = msgspec.json.decode(payload, type=Dropped)
        if answer.by != self.id and (asked := self._asked.get(answer.ask)) is not None:
            asked.answers[answer.by] = answer
            asked.arrived.set()

    @contextlib.contextmanager
    def _store_may_fail(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a store may fail in any way; others are told again, or not counted
            log.warning("other nodes do not hear of the cache of this one: %s", str(error) or "the store is too slow")
