"""Shows HTTP requests, from their heads to the ends of their answers; what watchers do wrong changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from operator import length_hint
from time import monotonic
from typing import Any, Generic, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from toolway.edge.edge import Exchange
from toolway.hookspecs.serving import FIELDS, WHOLE
from toolway.hookspecs.telemetry import SERVED, Served

log = logging.getLogger(__name__)

Methods = tuple[Callable[..., None], ...]
Late = Callable[[Callable[[], None]], None]
Ended = TypeVar("Ended")

TOGETHER = 128
"""So many are told together, unless there are fewer when counting is due."""


class Told(Generic[Ended]):
    """Watchers of one kind as one, and what ended of it since they were told."""

    def __init__(self, watchers: Sequence[Any], protocol: Any, late: Late, tell: Callable[[], None]) -> None:
        self.ended: list[Ended] = []
        self.is_wanted, (self._begin, self._done) = bool(watchers), methods(watchers, protocol)
        self._late, self._tell = late, tell

    def begin(self, what: Ended) -> None:
        """It begins."""
        for begin in self._begin:
            try:
                begin(what)
            except Exception:
                log.exception("a watcher failed")

    def done(self, what: Ended) -> None:
        """It is over."""
        ended = self.ended
        ended.append(what)
        if (count := len(ended)) == 1:
            self._late(self._tell)
        elif count == TOGETHER:
            asyncio.get_running_loop().call_soon(self._tell)

    def tell(self) -> Sequence[Ended]:
        """Each watcher of all that ended, backwards; of those that are left, when it failed with one."""
        ended, self.ended = self.ended, []
        for watcher in reversed(self._done) if ended else ():
            left = iter(ended)
            while count := length_hint(left):
                try:
                    watcher(left)
                    break
                except Exception:
                    untaken = length_hint(left)
                    failed: Any = ended[-untaken - 1] if untaken < count else next(left)
                    told = SERVED.set(getattr(failed, "served", failed))  # its credentials must not be logged
                    log.exception("a watcher failed")
                    SERVED.reset(told)
        return ended


class Watched:
    """An ASGI application behind the edge, with each request shown to watchers until the edge is done with it.

    One may be behind another: a request that is watched already stays the same.
    """

    def __init__(self, app: ASGIApp, watchers: Told[Served], now: Callable[[], float]) -> None:
        self._app, self._begin, self._over, self._now = app, watchers.begin, watchers.done, now

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """What answers one request."""
        exchange: Exchange = scope[WHOLE]
        if (request := exchange.served) is None:
            exchange.served = request = Served(scope, [], scope[FIELDS], self._now())
            exchange.shown = monotonic()
            SERVED.set(request)
        exchange.over = (self._over, *exchange.over)
        self._begin(request)
        return self._app(scope, receive, send)


def methods(watchers: Sequence[Any], protocol: Any) -> tuple[Methods, Methods]:
    """What is told of beginnings and of ends; the methods of the protocol itself do nothing, and are left out."""
    begins = tuple(each.begin for each in watchers if getattr(type(each), "begin", None) is not protocol.begin)
    return begins, tuple(each.done for each in watchers if getattr(type(each), "done", None) is not protocol.done)
