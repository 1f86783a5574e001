"""What counts and reads; there is nothing of it while nothing exports the numbers."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import CallWatcher, RequestWatcher
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class MetersPlugin(Plugin[Settings]):
    """Counts on three levels, and reads how things are."""

    @hookimpl
    def toolway_request_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        """HTTP requests."""
        from toolway.bundled.meters.meters import Requests

        return [Requests(kernel.metrics)] if kernel.metrics.is_read else []

    @hookimpl
    def toolway_call_watchers(self, kernel: Kernel) -> Iterable[CallWatcher]:
        """Calls and their attempts."""
        from toolway.bundled.meters.meters import Calls

        return [Calls(kernel.metrics)] if kernel.metrics.is_read else []

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """How processes and upstreams are."""
        from toolway.bundled.meters.state import State

        return [State(kernel)] if kernel.metrics.is_read else []
