"""The plugin class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from toolway.hookspecs.api import Operation
from toolway.hookspecs.routing import RequestMiddleware
from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import Diagnostic
from toolway.plugin import Kernel, Plugin, hookimpl
from toolway_cache.settings import CacheSettings

if TYPE_CHECKING:
    from toolway_cache.parts import Parts


class CachePlugin(Plugin[CacheSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_request_middleware(self, kernel: Kernel) -> Iterable[RequestMiddleware]:
        """Answers calls."""
        return [self._made(kernel).cache]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/cache`."""
        return self._made(kernel).operations.operations()

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Keeps copies over reloads, and hears what to drop."""
        return self._made(kernel).services

    @hookimpl
    def toolway_diagnostics(self, kernel: Kernel) -> Iterable[Diagnostic]:
        """How often copies were of use."""
        return [self._made(kernel).operations]

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_cache.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
