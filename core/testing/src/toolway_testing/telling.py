"""The plugin `telling`, for tests only: keeps whatever watchers, metric readers, redactors and log handlers get."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from toolway.hookspecs.attempts import Attempt, AttemptWatcher
from toolway.hookspecs.routing import Call
from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import (
    CallWatcher,
    Family,
    MetricReader,
    Redactor,
    RequestWatcher,
    Served,
)
from toolway.plugin import Kernel, Plugin, Settings, hookimpl
from toolway_testing.distributions import distributed


def installed(directory: Path) -> Path:
    """Put a distribution into the directory, which goes onto `sys.path` or into `PYTHONPATH`."""
    return distributed(directory, "telling", f"{__name__}:TellingPlugin")


class Told:
    """What was told, in order; `is_broken` makes everything fail that could."""

    name = "telling"

    def __init__(self) -> None:
        self.events: list[str] = []
        self.requests: list[Served] = []
        self.calls: list[Call] = []
        self.attempts: list[Attempt] = []
        self.collect: Callable[[], Sequence[Family]] = tuple
        self.is_broken = False

    def attach(self, collect: Callable[[], Sequence[Family]]) -> None:
        """See `MetricReader`."""
        self.collect = collect

    def redact(self, text: str, key: str | None = None) -> str:
        """See `Redactor`: the word `hush` is a secret."""
        self._maybe_fail()
        return text.replace("hush", "[hushed]")

    def total(self, name: str, *labels: str) -> Sequence[float]:
        """The numbers of one series."""
        return {each.name: each.series for each in self.collect()}[name][labels]

    def _maybe_fail(self) -> None:
        if self.is_broken:
            raise RuntimeError("hush")


TOLD = Told()


class Requests(Told):
    """A watcher of requests."""

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        TOLD.events.append("request begins")
        request.request_id = "r-1"
        request.headers.append((b"x-request-id", b"r-1"))
        TOLD._maybe_fail()

    def done(self, requests: Iterator[Served]) -> None:
        """See `RequestWatcher`."""
        for request in requests:
            TOLD.events.append("request ends")
            TOLD.requests.append(request)
            TOLD._maybe_fail()


class ApiRequests(Told):
    """A watcher of requests that are not for MCP."""

    def begin(self, request: Served) -> None:
        """See `RequestWatcher`."""
        TOLD.events.append(f"API request {request.request_id} begins")
        TOLD._maybe_fail()

    def done(self, requests: Iterator[Served]) -> None:
        """See `RequestWatcher`."""
        for request in requests:
            TOLD.events.append(f"API request ends with {request.status}")
            TOLD._maybe_fail()


class Calls(Told):
    """A watcher of calls."""

    def begin(self, call: Call) -> None:
        """See `CallWatcher`."""
        TOLD.events.append("call begins")
        TOLD._maybe_fail()

    def done(self, calls: Iterator[Call]) -> None:
        """See `CallWatcher`."""
        for call in calls:
            served = call.served
            TOLD.events.append(f"call ends in {served.request_id if served else 'nothing'}")
            TOLD.calls.append(call)
            TOLD._maybe_fail()


class Attempts(Told):
    """A watcher of attempts."""

    def begin(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        TOLD.events.append("attempt begins")

    def done(self, attempt: Attempt) -> None:
        """See `AttemptWatcher`."""
        TOLD.events.append("attempt ends")
        TOLD.attempts.append(attempt)


class Ending:
    """A service that tells when it ends."""

    name = "telling"

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`."""
        yield
        TOLD.events.append("service ends")


class TellingPlugin(Plugin[Settings]):
    """Registers all of them; `TOLD` is made anew for each gateway."""

    @hookimpl
    def toolway_metric_readers(self, kernel: Kernel) -> Iterable[MetricReader]:
        """Makes `TOLD` anew."""
        TOLD.__init__()  # type: ignore[misc]
        return [TOLD]

    @hookimpl
    def toolway_redactors(self, kernel: Kernel) -> Iterable[Redactor]:
        """Hides one word."""
        return [TOLD]

    @hookimpl
    def toolway_request_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        """Keeps requests."""
        return [Requests()]

    @hookimpl
    def toolway_api_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        """Keeps requests that are not for MCP."""
        return [ApiRequests()]

    @hookimpl
    def toolway_call_watchers(self, kernel: Kernel) -> Iterable[CallWatcher]:
        """Keeps calls."""
        return [Calls()]

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Itself."""
        return [Ending()]

    @hookimpl
    def toolway_attempt_watchers(self, kernel: Kernel) -> Iterable[AttemptWatcher]:
        """Keeps attempts."""
        return [Attempts()]

    @hookimpl
    def toolway_log_handlers(self, kernel: Kernel) -> Iterable[logging.Handler]:
        """Writes as the gateway itself would, to a place of its own."""
        handler = logging.StreamHandler()
        handler.name = "telling"
        return [handler]
