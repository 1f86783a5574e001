"""Settings and the plugin class."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from toolway.hookspecs.api import Operation
from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import RequestWatcher
from toolway.plugin import Kernel, Plugin, Settings, hookimpl
from toolway_json_logging.levels import Level

if TYPE_CHECKING:
    from toolway_json_logging.parts import Parts


class JsonLoggingSettings(Settings):
    """What is written, and how."""

    format: Literal["auto", "json", "text"] = Field(
        "auto", description="`auto` is text when the output is a terminal, JSON lines otherwise."
    )
    output: Literal["stderr", "stdout"] = Field("stderr", description="Where lines are written to.")
    access: Literal["all", "failed", "none"] = Field(
        "all", description="Which requests get a line when they are over; streams get one when they begin, too."
    )
    access_share: float = Field(
        1.0, ge=0, le=1, description="The share of requests without a failure that get a line, at random."
    )
    access_quiet: list[str] = Field(
        ["/health", "/ready", "/metrics"], description="Paths that get a line only when they fail."
    )
    levels: dict[str, Level] = Field({}, description="Levels of loggers by name; `root` is above all of them.")
    trust_request_id: bool = Field(
        True, description="Whether a request keeps the `X-Request-ID` that it comes with; if not, it gets a new one."
    )
    queue: int = Field(10_000, ge=100, le=1_000_000, description="Most lines that wait to be written.")


class JsonLoggingPlugin(Plugin[JsonLoggingSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_log_handlers(self, kernel: Kernel) -> Iterable[logging.Handler]:
        """Writes the lines."""
        return [self._made(kernel).handler]

    @hookimpl
    def toolway_request_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        """Gives requests an id, and tells of them."""
        parts = self._made(kernel)
        return [parts.correlation] if parts.access is None else [parts.correlation, parts.access]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/loggers`."""
        return self._made(kernel).operations.operations()

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Follows levels, notices streams, counts drops."""
        return [self._made(kernel).tending]

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_json_logging.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
