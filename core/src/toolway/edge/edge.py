"""The outermost ASGI application: refuses what is malformed, foreign or too much, and knows what is in flight."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from toolway.edge.exchange import Exchange
from toolway.edge.framing import Headers, check_head
from toolway.edge.names import CORS, PREFLIGHT, Names
from toolway.edge.problem import Refusal
from toolway.edge.proxies import Proxies
from toolway.edge.settings import EdgeSettings


class Edge:
    """Wraps the gateway for any ASGI server. Assign `app` to swap it; requests in flight stay with the old one.

    `bind` is the configured `host:port`, `public_url` what clients are told: both name the gateway.
    Set `draining` before a stop: /ready is 503, no connection is used for another request.
    """

    def __init__(self, app: ASGIApp, settings: EdgeSettings, *, bind: str, public_url: str = "") -> None:
        self.app = app
        self.settings = settings
        self.draining = False
        self.proxies = Proxies(settings.trusted_proxies)
        self.in_flight: set[Exchange] = set()
        self._names = Names(settings, bind, public_url)

    @property
    def drain_delay(self) -> float:
        """Seconds between "not ready" and the end of accepting, for load balancers to notice; loopback has none."""
        if self.settings.drain_delay is not None:
            return self.settings.drain_delay
        return 0.0 if self._names.are_loopback else 5.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI for HTTP: exactly one well-formed answer, whatever comes from either side."""
        exchange = Exchange(scope, receive, send, self.settings.limits)
        self.in_flight.add(exchange)
        try:
            with exchange.life:
                await self._pass_on(exchange)
            if exchange.life.cancel_called:
                await exchange.end()
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets a clean answer
            await exchange.fail(error)
        finally:
            self.in_flight.discard(exchange)

    async def _pass_on(self, exchange: Exchange) -> None:
        scope = exchange.scope
        headers = check_head(scope, self.settings.limits)
        self.proxies.apply(scope, headers)
        self._check_names(exchange, headers)
        if self.draining and scope["path"] == "/ready":
            raise Refusal(503, "draining", "The gateway is stopping.", retry_after=1)
        if scope["method"] == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers:
            return await exchange.answer(204, PREFLIGHT)
        exchange.count(int(headers.get(b"content-length", b"0")))
        self._strip_root_path(scope)
        await self.app(scope, exchange.receive, exchange.send)
        if exchange.refusal is not None:
            raise exchange.refusal
        if not (exchange.started or exchange.gone):
            raise RuntimeError(f"the application did not answer {scope['method']} {scope['path']}")

    def _check_names(self, exchange: Exchange, headers: Headers) -> None:
        scope, host, origin = exchange.scope, headers[b"host"], headers.get(b"origin")
        if not self._names.allows_host(host, (scope.get("server") or (None,))[0]):
            raise Refusal(421, "wrong_host", "This host is not served here; the operator can add it to allowed_hosts.")
        if origin is None:
            return
        if not self._names.allows_origin(origin, scope["scheme"], host):
            raise Refusal(403, "wrong_origin", "This origin may not call; the operator can add it to allowed_origins.")
        exchange.cors = [(b"access-control-allow-origin", origin), *CORS]

    def _strip_root_path(self, scope: Scope) -> None:
        """The gateway decides on a path without the prefix, whether or not the proxy has removed it."""
        root = self.settings.root_path
        scope["root_path"] = root
        if scope["path"].startswith(root + "/"):
            scope["path"] = scope["path"].removeprefix(root)
            scope["raw_path"] = (scope.get("raw_path") or b"").removeprefix(root.encode())

    def end_streams(self) -> None:
        """End every unsolicited event stream (GET) with a clean last chunk."""
        for exchange in self.in_flight:
            if exchange.is_stream and exchange.scope["method"] == "GET":
                exchange.life.cancel()

    def end_all(self) -> None:
        """End everything in flight: streams with a clean last chunk, unanswered requests with 503."""
        for exchange in self.in_flight:
            exchange.life.cancel()
