"""The parts of the data plane that every front needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from toolway.hookspecs.routing import Call, Reply
from toolway.mcp.messages import encode_error, encode_result

if TYPE_CHECKING:
    from toolway.catalog.catalog import Catalog
    from toolway.catalog.snapshot import ServerView
    from toolway.gateway.access import Access
    from toolway.gateway.dispatch import Dispatch
    from toolway.gateway.exchange import Exchange
    from toolway.gateway.legs import Legs
    from toolway.gateway.lists import Lists
    from toolway.gateway.parked import Parking
    from toolway.gateway.relay import Relay
    from toolway.gateway.sessions import Sessions
    from toolway.gateway.subscriptions import Hub
    from toolway.plugin import Clock
    from toolway.plugin.kernel import Seal

RPC_STATUS = {-32700: 400, -32600: 400, -32601: 404, -32602: 400, -32020: 400, -32021: 400, -32022: 400}
"""HTTP status of a modern error reply (MCP 2026-07-28, transports); 200 for all others."""


class DataPlane(msgspec.Struct, frozen=True, eq=False):
    """Wired once per gateway by `app.build_gateway`."""

    node: str
    clock: Clock
    seal: Seal
    catalog: Catalog
    access: Access
    lists: Lists
    legs: Legs
    parking: Parking
    dispatch: Dispatch
    sessions: Sessions
    relay: Relay
    hub: Hub
    server_info: dict[str, Any]
    tasks: set[asyncio.Task[None]]
    closers: set[Callable[[], None]]

    def end_streams(self) -> None:
        """The gateway stops: streams that would stay open end properly."""
        for end in list(self.closers):
            end()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that may outlive its HTTP request; drained when the gateway stops."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def answer_call(self, call: Call, exchange: Exchange, view: ServerView, done: Callable[[], None]) -> None:
        """Run a call and put its reply on whatever stream the exchange has by then."""
        try:
            reply = await self.dispatch.call(call, exchange, view)
            message, status = encode_reply(exchange.request_id, reply)
            exchange.finish(message, status)
        finally:
            done()


def encode_reply(request_id: int | str, reply: Reply) -> tuple[bytes, int]:
    """The JSON-RPC response and the status that the modern era gives it."""
    if reply.fault is not None:
        return encode_error(request_id, reply.fault), RPC_STATUS.get(reply.fault.code, 200)
    return encode_result(request_id, reply.result or Raw(b"{}")), 200


def nothing() -> None:
    """For exchanges that nobody keeps track of."""
