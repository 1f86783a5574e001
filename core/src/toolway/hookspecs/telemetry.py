"""What can be told about the gateway: watchers of requests and calls, instruments, logs; and what must not be told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
from msgspec import Raw

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.markers import hookspec
from toolway.hookspecs.routing import Call
from toolway.hookspecs.structs import Mutable

if TYPE_CHECKING:
    from toolway.hookspecs.serving import HeaderList
    from toolway.plugin import Kernel

OTHER = "__other__"
"""In place of a label that is not one of the closed set, or is one too many."""
LABELS = 1_000
"""Most values of a label whose set is made of names that operators gave."""


class Served(msgspec.Struct, eq=False, dict=True, metaclass=Mutable):
    """One HTTP request from its head to the end of its answer.

    The gateway sets what it learns on the way: `route` is the path's template, `method` and `meta` (`params._meta`)
    are MCP's, `server` is the virtual server. `status` is 0 when nothing was answered. It `began` at that time, in
    seconds since 1970; `fields` are its headers, repeated ones joined. `identified` is when its principal was known,
    in nanoseconds since 1970. `told` is what it did that is no administrative change, such as signing in: actor, action
    and object. `calls` are those of it that ended, None once its own end was told; `outcome` is that of the last one
    that did not go well, or `error` if nothing could be answered because of an `error`. A watcher sets `request_id`,
    which upstreams get as `X-Request-ID`, and of a trace `trace_id` and `span_id` (hexadecimal), whether it
    `is_sampled`, and whether it `is_followed` from elsewhere or carries something; `headers` go out with the answer if
    they are there before it begins.
    """

    scope: Mapping[str, Any]
    headers: HeaderList
    fields: dict[bytes, bytes] = {}
    began: float = 0.0
    route: str = ""
    server: str = ""
    principal: Principal | None = None
    method: str = ""
    meta: bytes | Raw = b""
    upstream: str = ""
    item: str = ""
    status: int = 0
    seconds: float = 0.0
    error: BaseException | None = None
    told: tuple[str, str, str] | None = None
    identified: int = 0
    request_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    is_sampled: bool = False
    is_followed: bool = False
    calls: list[Call] | None = []
    outcome: str = "ok"


SERVED: ContextVar[Served | None] = ContextVar("toolway_served", default=None)
"""The request that is being served, also in the background work that it began; None if nobody watches it."""


class RequestWatcher(Protocol):
    """Sees every HTTP request, in memory and at once. Subclasses leave out what they do not want to hear of."""

    name: str

    def begin(self, request: Served) -> None:
        """Its head is read; nothing else is known yet."""
        return

    def done(self, requests: Iterator[Served]) -> None:
        """Their answers are over, or the clients gone; told after the ends of their calls, and not within a request.

        Those of the last 50 ms, up to about 128: what is told together costs a fraction. After an exception, for which
        the last one that was taken is to blame, `done` is called again for those that are left.
        """
        return


class CallWatcher(Protocol):
    """Sees every call, in memory and at once. Subclasses leave out what they do not want to hear of."""

    name: str

    def begin(self, call: Call) -> None:
        """It is about to be routed; it has no target yet."""
        return

    def done(self, calls: Iterator[Call]) -> None:
        """They ended; those whose name was known have a target. There are no results, and nobody to ask.

        Told as the ends of requests are: what was `SERVED` within the call is `call.served`.
        """
        return


OUTCOMES = ("ok", "tool_error", "error", "cancelled")
"""How calls end; `tool_error` is what a tool says of itself (MCP, tools, `isError`)."""


class Counter(Protocol):
    """A number that only grows; labels in their order."""

    def add(self, amount: float, *labels: str) -> None:
        """Add to it."""


class Gauge(Protocol):
    """A number that goes up and down; labels in their order."""

    def set(self, value: float, *labels: str) -> None:
        """It is this now."""


class Histogram(Protocol):
    """How often values were below each bound, and their sum; labels in their order."""

    def observe(self, values: Sequence[float], *labels: str) -> None:
        """Count them."""


Read = Callable[[], float | Mapping[tuple[str, ...], float]]
"""Reads a gauge: its value, or its values by labels."""
Closed = Sequence[str] | None
"""The values that a label can have; None for names of configured objects, of which there are `LABELS` at most."""
By = Mapping[str, Closed]
"""Labels in their order."""


class Metrics(Protocol):
    """Makes instruments; to be used in the event loop only. Totals are of all workers and survive a worker's end.

    Names are those of Prometheus: `toolway_<what>_<unit>`, with `_total` for counters. Asking twice for a name gives
    the same instrument. `is_read` says whether anything exports them: only then is it worth to count each request.
    Totals are those `since` that time, in nanoseconds since 1970, which is the same in all workers.
    """

    is_read: bool
    since: int

    def counter(self, name: str, about: str, labels: Mapping[str, Closed]) -> Counter:
        """A counter."""

    def gauge(self, name: str, about: str, labels: Mapping[str, Closed]) -> Gauge:
        """A gauge, whose total is the sum over all workers."""

    def histogram(self, name: str, about: str, bounds: Sequence[float], labels: Mapping[str, Closed]) -> Histogram:
        """A histogram with these upper bounds."""

    def sampled(self, name: str, about: str, read: Read, labels: By | None = None, *, largest: bool = False) -> None:
        """A gauge that is read once a second; its total is the sum over all workers, or the largest.

        With `labels` all its series are read at once, by their labels: those that are not there any more are gone.
        """

    def late(self, count: Callable[[], None]) -> None:
        """Call `count` once, within 50 ms and before totals are read: what is alike costs less together."""


class Family(msgspec.Struct, frozen=True):
    """An instrument with its totals; `series` has values by labels: for a histogram counts per bound, +Inf, and sum."""

    name: str
    about: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    series: Mapping[tuple[str, ...], Sequence[float]]
    bounds: tuple[float, ...] = ()


class MetricReader(Protocol):
    """Exports the instruments."""

    name: str

    def attach(self, collect: Callable[[], Sequence[Family]]) -> None:
        """`collect` gives the totals of all workers, from any of them."""


class Redactor(Protocol):
    """Removes what must not be told."""

    name: str

    def redact(self, text: str, key: str | None = None) -> str:
        """The text without secrets; `key` is the name of the field that it is the value of, where it has one."""


class Diagnostic(Protocol):
    """Tells how something is, for whoever looks for a fault: what `toolway diagnose` writes under its name."""

    name: str

    async def collect(self) -> Any:
        """How it is now, as JSON; waited for 2 s, and at most 1 MiB is told. The caller removes secrets."""


@hookspec
def toolway_request_watchers(kernel: Kernel) -> Iterable[RequestWatcher]:
    """Offer to learn from HTTP requests.

    Called: once, when the gateway is built.
    Used: for every request that the edge lets through, in the order of `plugins.enable`; in reverse at its end.
    On error: it is logged; the request goes on.
    Since: 1.0
    """


@hookspec
def toolway_api_watchers(kernel: Kernel) -> Iterable[RequestWatcher]:
    """Offer to learn from requests that are not for MCP; those that are for MCP cost nothing then.

    Called: once, when the gateway is built.
    Used: for each of them, after the watchers of all requests, in the order of `plugins.enable`; in reverse at its end.
    On error: it is logged; the request goes on.
    Since: 1.0
    """


@hookspec
def toolway_call_watchers(kernel: Kernel) -> Iterable[CallWatcher]:
    """Offer to learn from calls.

    Called: once, when the gateway is built.
    Used: for every call, in the order of `plugins.enable`; in reverse at its end.
    On error: it is logged; the call goes on.
    Since: 1.0
    """


@hookspec
def toolway_metric_readers(kernel: Kernel) -> Iterable[MetricReader]:
    """Offer to export what `kernel.metrics` counts.

    Called: once, when the gateway is built, before the watchers are asked for.
    Used: whenever it wants to.
    On error: while starting, the gateway does not start.
    Since: 1.0
    """


@hookspec
def toolway_redactors(kernel: Kernel) -> Iterable[Redactor]:
    """Offer to remove secrets from what is told: logs, errors, spans, audit, diagnostics, exports.

    Called: once, when the gateway is built.
    Used: for every text that leaves, after the gateway itself removed each resolved secret.
    On error: the whole text is replaced.
    Since: 1.0
    """


@hookspec
def toolway_log_handlers(kernel: Kernel) -> Iterable[logging.Handler]:
    """Offer handlers for the root logger, in place of plain lines on the standard error.

    Called: once, when the gateway is built.
    Used: for every line, which is redacted after the handler's formatter made it.
    On error: as `logging` does: it is printed, the request goes on.
    Since: 1.0
    """


@hookspec
def toolway_diagnostics(kernel: Kernel) -> Iterable[Diagnostic]:
    """Offer to tell how something is: breakers, limits, whatever helps to find out what is wrong.

    Called: once, when the gateway is built.
    Used: when somebody asks for diagnostics, all at once; what is told is redacted.
    On error: the report says so in place of what is told; everything else is in it.
    Since: 1.0
    """
