"""What watchers of requests and calls get to see; what they do wrong is logged and changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.serving import WHOLE, HeaderList, Whole
from toolway.hookspecs.telemetry import SERVED, CallWatcher, RequestWatcher, Served

log = logging.getLogger(__name__)


class Watched:
    """The gateway's ASGI application, with each request shown to the watchers."""

    def __init__(self, app: ASGIApp, watchers: Sequence[RequestWatcher]) -> None:
        self._app = app
        self._begin = [each.begin for each in watchers]
        self._done = [each.done for each in reversed(watchers)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request, started, whole = Served(scope, []), monotonic(), scope.get(WHOLE)
        told = SERVED.set(request)
        if whole is not None:
            scope[WHOLE] = Watching(whole, request)
        tell(self._begin, request)
        try:
            await self._app(scope, receive, _noting(request, send))
        except BaseException as error:
            request.error = error
            raise
        finally:
            SERVED.reset(told)
            scope[WHOLE] = whole
            request.seconds = monotonic() - started
            tell(self._done, request)


class WatchedApi(Watched):
    """What is not for MCP, with each request shown to those who watch nothing else."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; one that is watched already stays the same."""
        if (request := SERVED.get()) is None:
            return await super().__call__(scope, receive, send)
        tell(self._begin, request)
        try:
            await self._app(scope, receive, send)
        finally:
            tell(self._done, request)


class Watching(msgspec.Struct):
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


def tell(watchers: Sequence[Callable[..., None]], *what: object) -> None:
    """Call each watcher; whatever one raises is its own affair."""
    for watcher in watchers:
        try:
            watcher(*what)
        except Exception:
            log.exception("a watcher failed")


class CallWatchers:
    """All of them as one."""

    def __init__(self, watchers: Sequence[CallWatcher]) -> None:
        self._begin = [each.begin for each in watchers]
        self._done = [each.done for each in reversed(watchers)]

    def begin(self, call: Call) -> float:
        """It begins; when that is, in monotonic seconds."""
        tell(self._begin, call)
        return monotonic()

    def done(self, call: Call, reply: Reply | None, began: float) -> None:
        """It ended."""
        if (served := SERVED.get()) is not None and call.target is not None:
            served.upstream, served.item = call.target.upstream, call.target.name
        tell(self._done, call, reply, monotonic() - began)
