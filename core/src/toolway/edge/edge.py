"""The outermost ASGI application: refuses what is malformed, foreign or too much, and knows what is in flight."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from toolway.edge.exchange import Exchange
from toolway.edge.framing import Watched, check_head
from toolway.edge.names import Names, cors_headers, preflight_headers
from toolway.edge.problem import Refusal
from toolway.edge.proxies import Proxies
from toolway.edge.settings import EdgeSettings


class Edge:
    """Wraps the gateway for any ASGI server. Assign `app` to swap it; requests in flight stay with the old one.

    `bind` is the configured `host:port`, `public_url` what clients are told: both name the gateway.
    `draining` is for health checks: the node is about to stop.
    """

    def __init__(self, app: ASGIApp, settings: EdgeSettings, *, bind: str, public_url: str = "") -> None:
        self.app = app
        self.settings = settings
        self.draining = False
        self.proxies = Proxies(settings.trusted_proxies)
        self._names = Names(settings, bind, public_url)
        self._limits = settings.limits
        self._root_path = settings.root_path
        self._in_flight: dict[asyncio.Task[Any], Exchange] = {}

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        """The requests in flight, streams included."""
        return set(self._in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: exactly one well-formed answer, whatever comes from either side."""
        if scope["type"] != "http":
            return await self._other(scope, receive, send)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("the edge must run in an asyncio task")
        exchange = Exchange(scope, receive, send, self._limits)
        exchange.is_closing = self.draining
        self._in_flight[task] = exchange
        try:
            await self._run(exchange, task)
        finally:
            del self._in_flight[task]

    async def _run(self, exchange: Exchange, task: asyncio.Task[Any]) -> None:
        try:
            await self._answer(exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except asyncio.CancelledError:
            if not exchange.ending:
                raise
            task.uncancel()
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets a clean answer
            await exchange.fail(error)
        if exchange.ending:
            await exchange.end()

    async def _answer(self, exchange: Exchange) -> None:
        scope = exchange.scope
        seen = check_head(scope, self._limits)
        self.proxies.apply(scope, seen)
        self._check_names(exchange, seen)
        if self.draining and scope["path"] == "/ready":
            raise Refusal(503, "draining", "The gateway is stopping.", headers=[(b"retry-after", b"1")])
        if b"access-control-request-method" in seen and b"origin" in seen and scope["method"] == "OPTIONS":
            headers = preflight_headers(seen.get(b"access-control-request-headers", b""))
            return await exchange.answer(204, b"", headers)
        exchange.expect_body(seen)
        self._strip_root_path(scope)
        await self.app(scope, exchange.receive, exchange.send)
        if exchange.refusal is not None:
            raise exchange.refusal
        if not (exchange.started or exchange.gone or exchange.ending):
            raise RuntimeError(f"the application did not answer {scope['method']} {scope['path']}")

    def _check_names(self, exchange: Exchange, seen: Watched) -> None:
        scope = exchange.scope
        server = scope.get("server")
        if not self._names.allows_host(seen[b"host"], server[0] if server else None):
            raise Refusal(421, "wrong_host", "This host is not served here; the operator can add it to allowed_hosts.")
        origin = seen.get(b"origin")
        if origin is None:
            return
        if not self._names.allows_origin(origin, scope["scheme"], seen[b"host"]):
            raise Refusal(403, "wrong_origin", "This origin may not call; the operator can add it to allowed_origins.")
        exchange.cors = cors_headers(origin)

    def _strip_root_path(self, scope: Scope) -> None:
        """The gateway decides on a path without the prefix, whether or not the proxy has removed it."""
        root = self._root_path
        if not root:
            return
        scope["root_path"] = root
        if scope["path"].startswith(root + "/"):
            scope["path"] = scope["path"][len(root) :]
            scope["raw_path"] = (scope.get("raw_path") or b"").removeprefix(root.encode())

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        await receive()
        await send({"type": "websocket.close", "code": 1008})

    def drain(self) -> None:
        """From now on /ready is 503 and every answer asks the client to come back on a new connection."""
        self.draining = True
        for exchange in self._in_flight.values():
            exchange.is_closing = True

    def end_streams(self) -> None:
        """End every unsolicited event stream (GET) with a clean last chunk."""
        self._end(streams_only=True)

    def end_all(self) -> None:
        """End everything in flight: streams with a clean last chunk, unanswered requests with 503."""
        self._end(streams_only=False)

    def _end(self, *, streams_only: bool) -> None:
        for task, exchange in self._in_flight.items():
            if not exchange.ending and (exchange.is_stream or not streams_only):
                exchange.ending = True
                task.cancel()
