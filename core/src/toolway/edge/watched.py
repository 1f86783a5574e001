"""Shows HTTP requests, from their heads to the ends of their answers."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from starlette.types import ASGIApp, Receive, Scope, Send

from toolway.edge.edge import Exchange
from toolway.hookspecs.serving import FIELDS, WHOLE
from toolway.hookspecs.telemetry import SERVED, RequestWatcher, Served


class Watched:
    """An ASGI application behind the edge, with each request shown to a watcher."""

    def __init__(self, app: ASGIApp, watcher: RequestWatcher, now: Callable[[], float]) -> None:
        self._app, self._watcher, self._now = app, watcher, now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange: Exchange = scope[WHOLE]
        started, request = monotonic(), Served(scope, [], began=self._now(), fields=scope[FIELDS])
        exchange.served, told = request, SERVED.set(request)
        self._watcher.begin(request)
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            request.error = error
            raise
        finally:
            SERVED.reset(told)
            exchange.served = None
            request.seconds = monotonic() - started
            self._watcher.done(request)


class WatchedApi(Watched):
    """What is not for MCP, with each request shown to those who watch nothing else."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; one that is watched already stays the same."""
        if (request := SERVED.get()) is None:
            return await super().__call__(scope, receive, send)
        self._watcher.begin(request)
        try:
            await self._app(scope, receive, send)
        finally:
            self._watcher.done(request)
