"""The plugin class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from toolway.hookspecs.api import Operation
from toolway.hookspecs.routing import RequestMiddleware
from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import Diagnostic
from toolway.plugin import Kernel, Plugin, hookimpl
from toolway_rate_limit.settings import RateLimitSettings

if TYPE_CHECKING:
    from toolway_rate_limit.parts import Parts


class RateLimitPlugin(Plugin[RateLimitSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_request_middleware(self, kernel: Kernel) -> Iterable[RequestMiddleware]:
        """Admits calls."""
        return [self._made(kernel).limiter]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/rate-limits`."""
        return self._made(kernel).operations.operations()

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Watches the event loop, and the other nodes."""
        return self._made(kernel).services

    @hookimpl
    def toolway_diagnostics(self, kernel: Kernel) -> Iterable[Diagnostic]:
        """Limits and load."""
        return [self._made(kernel).operations]

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_rate_limit.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
