"""Shows HTTP requests, from their heads to the ends of their answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolway.hookspecs.serving import WHOLE, HeaderList, Whole
from toolway.hookspecs.telemetry import SERVED, RequestWatcher, Served


class Watched:
    """An ASGI application, with each request shown to a watcher."""

    def __init__(self, app: ASGIApp, watcher: RequestWatcher, now: Callable[[], float]) -> None:
        self._app, self._watcher, self._now = app, watcher, now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request, started, whole = Served(scope, []), monotonic(), scope.get(WHOLE)
        request.began, request.fields = self._now(), dict(scope["headers"])
        told = SERVED.set(request)
        if whole is not None:
            scope[WHOLE] = _Whole(whole, request)
        self._watcher.begin(request)
        try:
            await self._app(scope, receive, _noting(request, send))
        except BaseException as error:
            request.error = error
            raise
        finally:
            SERVED.reset(told)
            scope[WHOLE] = whole
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


class _Whole(msgspec.Struct):
    """The short way of an answer, noted."""

    inner: Whole
    request: Served

    def take(self) -> bytes | None:
        """See `Whole`."""
        return self.inner.take()

    def answer(self, status: int, headers: HeaderList, body: bytes) -> bool:
        """See `Whole`."""
        if own := self.request.headers:
            headers = [*headers, *own]
        if not self.inner.answer(status, headers, body):
            return False
        self.request.status = status
        return True


def _noting(request: Served, send: Send) -> Callable[[Message], Awaitable[None]]:
    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            request.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *request.headers]}
        await send(message)

    return noted
