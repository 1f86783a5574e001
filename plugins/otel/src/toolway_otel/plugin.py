"""The plugin class; its settings are in `settings`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from toolway.hookspecs.attempts import AttemptWatcher
from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import CallWatcher, MetricReader, RequestWatcher
from toolway.plugin import Kernel, Plugin, hookimpl
from toolway_otel.settings import OtelSettings

if TYPE_CHECKING:
    from toolway_otel.telemetry import Telemetry


class OtelPlugin(Plugin[OtelSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _made: tuple[Kernel, Telemetry] | None = None

    @hookimpl
    def toolway_metric_readers(self, kernel: Kernel) -> Iterable[MetricReader]:
        """Exports metrics."""
        return [self._telemetry(kernel)] if self.settings.metrics else []

    @hookimpl
    def toolway_request_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        """The trace of each request."""
        from toolway_otel.watchers import Requests

        telemetry = self._telemetry(kernel)
        return [Requests(self.settings, telemetry.keep)] if self.settings.traces else []

    @hookimpl
    def toolway_call_watchers(self, kernel: Kernel) -> Iterable[CallWatcher]:
        """The span of each call."""
        from toolway_otel.watchers import Calls

        telemetry = self._telemetry(kernel)
        return [Calls(self.settings, telemetry.keep)] if self.settings.traces else []

    @hookimpl
    def toolway_attempt_watchers(self, kernel: Kernel) -> Iterable[AttemptWatcher]:
        """The span of each attempt."""
        from toolway_otel.watchers import Attempts

        return [Attempts(always=self.settings.propagate == "always")] if self.settings.traces else []

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Sends what was kept."""
        return [self._telemetry(kernel)]

    def _telemetry(self, kernel: Kernel) -> Telemetry:
        from toolway_otel.telemetry import Telemetry

        if self._made is None or self._made[0] is not kernel:
            self._made = kernel, Telemetry(kernel, self.settings)
        return self._made[1]
