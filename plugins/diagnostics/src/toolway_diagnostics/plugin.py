"""Settings and the plugin class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from toolway.hookspecs.api import Operation
from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import CallWatcher, MetricReader
from toolway.plugin import Kernel, Plugin, Seconds, Settings, hookimpl

if TYPE_CHECKING:
    from toolway_diagnostics.parts import Parts


class DiagnosticsSettings(Settings):
    """What is kept for a report."""

    slow: Seconds = Field(1.0, description="A call is slow that takes longer, in seconds.")
    metrics: bool = Field(True, description="Count requests and calls for the report, also if nothing exports them.")


class DiagnosticsPlugin(Plugin[DiagnosticsSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_metric_readers(self, kernel: Kernel) -> Iterable[MetricReader]:
        """A snapshot of the metrics for the report."""
        return [self._made(kernel).snapshot] if self.settings.metrics else []

    @hookimpl
    def toolway_call_watchers(self, kernel: Kernel) -> Iterable[CallWatcher]:
        """Slow calls."""
        return [self._made(kernel).slow_calls]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/diagnostics`."""
        return self._made(kernel).operations.operations()

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Keeps the last lines of the log, and measures the event loop."""
        return [self._made(kernel).watch]

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_diagnostics.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
