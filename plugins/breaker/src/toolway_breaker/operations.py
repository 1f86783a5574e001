"""The API of breakers: their state, and opening, closing and resetting them by hand on every node."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import msgspec

from toolway.hookspecs.api import Incoming, Operation, Page, PageQuery, listing
from toolway.hookspecs.auth import Resource
from toolway.hookspecs.catalog import UpstreamView
from toolway.plugin import InvalidInput, Kernel, NotFound, ToolwayError
from toolway_breaker.breakers import Breakers
from toolway_breaker.schemas import BreakerReport, OneEndpoint, report

log = logging.getLogger(__name__)

READ, WRITE = "breakers:read", "breakers:write"
PATH = "/api/v1/breakers"
CHANNEL = "breaker"

Verb = Literal["open", "close", "reset"]


class Order(msgspec.Struct):
    """What was done by hand on one node, and is to be done on the others."""

    node: str
    verb: Verb
    upstream: str
    endpoints: list[str]


class BreakerOperations:
    """Who sees an upstream, and has the permission, sees its breakers. As a service it follows the other nodes."""

    name = "breaker"

    def __init__(self, kernel: Kernel, breakers: Breakers) -> None:
        self._kernel = kernel
        self._breakers = breakers

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        one = f"{PATH}/{{name}}"
        body, answer = OneEndpoint, BreakerReport
        return [
            Operation("GET", PATH, READ, self.list, query=PageQuery, answer=Page[BreakerReport], filters=True),
            Operation("GET", one, READ, self.get, answer=answer, filters=True),
            Operation("POST", f"{one}/open", WRITE, self.open, body, answer=answer, filters=True),
            Operation("POST", f"{one}/close", WRITE, self.close, body, answer=answer, filters=True),
            Operation("POST", f"{one}/reset", WRITE, self.reset, body, answer=answer, filters=True),
        ]

    async def list(self, incoming: Incoming) -> Page[BreakerReport]:
        """List the breakers of every upstream, as this node sees them."""
        names = {name: name for name in self._kernel.catalog.snapshot.upstreams}
        return listing(incoming, READ, names, self._report, self._resource)

    async def get(self, incoming: Incoming) -> BreakerReport:
        """Show the breakers of an upstream, as this node sees them."""
        incoming.demand(READ, self._resource(incoming.name))
        return self._report(incoming.name)

    async def open(self, incoming: Incoming) -> BreakerReport:
        """Open circuits of an upstream until somebody closes them: its calls are refused."""
        return await self._do("open", incoming)

    async def close(self, incoming: Incoming) -> BreakerReport:
        """Close circuits of an upstream, and end ejections."""
        return await self._do("close", incoming)

    async def reset(self, incoming: Incoming) -> BreakerReport:
        """Forget what is known of endpoints of an upstream."""
        return await self._do("reset", incoming)

    async def collect(self) -> Sequence[BreakerReport]:
        """See `Diagnostic`."""
        return [self._report(name) for name in self._kernel.catalog.snapshot.upstreams]

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`: does what was done on other nodes."""
        async with self._kernel.pubsub.subscribe(CHANNEL, self._heard):
            yield

    async def _heard(self, payload: bytes) -> None:
        order = msgspec.json.decode(payload, type=Order)
        if order.node != self._kernel.node:
            self._apply(order)

    def _apply(self, order: Order) -> None:
        log.info("upstream %s: %s by hand: %s", order.upstream, order.verb, ", ".join(order.endpoints))
        getattr(self._breakers, order.verb)(order.upstream, order.endpoints)

    async def _do(self, verb: Verb, incoming: Incoming) -> BreakerReport:
        incoming.demand(WRITE, self._resource(incoming.name))
        body: OneEndpoint = incoming.body
        present = [each.id for each in self._view(incoming.name).upstream.endpoints]
        if body.endpoint and body.endpoint not in present:
            raise InvalidInput(f"upstream {incoming.name!r} has no endpoint {body.endpoint!r}; it has {present}")
        order = Order(self._kernel.node, verb, incoming.name, [body.endpoint] if body.endpoint else present)
        self._apply(order)
        try:
            await self._kernel.pubsub.publish(CHANNEL, msgspec.json.encode(order))
        except ToolwayError as error:
            log.warning("upstream %s: other nodes were not told of '%s': %s", order.upstream, verb, error)
        return self._report(incoming.name)

    def _report(self, name: str) -> BreakerReport:
        self._breakers.forget_gone()
        return report(self._view(name).upstream, self._breakers, self._kernel.clock.monotonic())

    def _view(self, name: str) -> UpstreamView:
        view = self._kernel.catalog.snapshot.upstreams.get(name)
        if view is None:
            raise NotFound(f"breakers has no {name!r}")
        return view

    def _resource(self, name: str) -> Resource:
        """Decisions are about the upstream, with its owner and visibility."""
        return self._kernel.describe("upstreams:read", name)
