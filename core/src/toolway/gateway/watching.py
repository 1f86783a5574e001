"""Tells watchers of requests and calls; what they do wrong is logged and changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from time import monotonic
from typing import Any

from msgspec import DecodeError, Raw

from toolway.hookspecs.routing import Call, Reply
from toolway.hookspecs.telemetry import SERVED, CallWatcher, RequestWatcher, Served
from toolway.mcp.messages import says_error

log = logging.getLogger(__name__)

Methods = tuple[Callable[..., None], ...]


class Watchers:
    """All watchers as one.

    What ended in one turn of the event loop is told at the beginning of the next one, to one watcher after the other:
    code that was just used costs a fraction of what it costs between other code.
    """

    name = "all"

    def __init__(self, requests: Sequence[RequestWatcher], calls: Sequence[CallWatcher] = ()) -> None:
        self.sees_requests, self.sees_calls = bool(requests), bool(calls)
        self._begin, done = methods(requests, RequestWatcher)
        self._begin_call, done_call = methods(calls, CallWatcher)
        self._done, self._done_call = done[::-1], done_call[::-1]
        self._requests: list[tuple[Served]] = []
        self._calls: list[tuple[Call, Reply | None, float]] = []

    def begin(self, request: Served) -> None:
        """It begins."""
        for begin in self._begin:
            try:
                begin(request)
            except Exception:
                log.exception("a watcher failed")

    def done(self, request: Served) -> None:
        """It is over."""
        if not (self._requests or self._calls):
            asyncio.get_running_loop().call_soon(self._tell, context=Context())
        self._requests.append((request,))

    def begin_call(self, call: Call) -> float:
        """It begins; when that is, in monotonic seconds."""
        for begin in self._begin_call:
            try:
                begin(call)
            except Exception:
                log.exception("a watcher failed")
        call.attempts = []
        return monotonic()

    def done_call(self, call: Call, reply: Reply | None, began: float) -> None:
        """It ended."""
        served, target = SERVED.get(), call.target
        if served is not None and target is not None:
            served.upstream, served.item = target.upstream, target.name
        if not (self._requests or self._calls):
            asyncio.get_running_loop().call_soon(self._tell, context=Context())
        call.served, call.ended = served, monotonic()
        self._calls.append((call, reply, call.ended - began))

    def _tell(self) -> None:
        calls, requests, self._calls, self._requests = self._calls, self._requests, [], []
        for call, reply, _ in calls:
            call.outcome = _outcome(call.method, reply)
        _tell_each(self._done_call, calls)
        for call, _, _ in calls:
            call.attempts = call.served = None  # they lead back to it, and only a collector would free them
        _tell_each(self._done, requests)


def methods(watchers: Sequence[Any], protocol: Any) -> tuple[Methods, Methods]:
    """What is told of beginnings and of ends; the methods of the protocol itself do nothing, and are left out."""
    begins = tuple(each.begin for each in watchers if _function(each.begin) is not protocol.begin)
    return begins, tuple(each.done for each in watchers if _function(each.done) is not protocol.done)


def _function(method: Callable[..., None]) -> object:
    return getattr(method, "__func__", method)


def _tell_each(watchers: Methods, ended: Iterable[tuple[Any, ...]]) -> None:
    for watcher in watchers:
        for what in ended:
            try:
                watcher(*what)
            except Exception:
                told = SERVED.set(getattr(what[0], "served", what[0]))  # its credentials must not be logged
                log.exception("a watcher failed")
                SERVED.reset(told)


def _outcome(method: str, reply: Reply | None) -> str:
    """See `telemetry.OUTCOMES`."""
    if reply is None or reply.fault is not None:
        return "cancelled" if reply is None else "error"
    try:
        return "tool_error" if method == "tools/call" and says_error(reply.result or Raw(b"{}")) else "ok"
    except DecodeError:
        return "error"
