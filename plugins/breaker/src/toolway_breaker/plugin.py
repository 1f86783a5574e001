"""The plugin class; its settings are in `limits`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from toolway.hookspecs.api import Operation
from toolway.hookspecs.attempts import AttemptWatcher, EndpointFilter
from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import Diagnostic
from toolway.plugin import Kernel, Plugin, hookimpl
from toolway_breaker.limits import BreakerSettings

if TYPE_CHECKING:
    from toolway_breaker.breakers import Breakers
    from toolway_breaker.meters import Meters
    from toolway_breaker.operations import BreakerOperations


class BreakerPlugin(Plugin[BreakerSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _made: tuple[Kernel, Breakers, BreakerOperations, Meters] | None = None

    @hookimpl
    def toolway_endpoint_filters(self, kernel: Kernel) -> Iterable[EndpointFilter]:
        """Leaves out open circuits, and endpoints that are ejected."""
        return [self._parts(kernel)[0]]

    @hookimpl
    def toolway_attempt_watchers(self, kernel: Kernel) -> Iterable[AttemptWatcher]:
        """Learns from attempts."""
        return [self._parts(kernel)[0]]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/breakers`."""
        return self._parts(kernel)[1].operations()

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Hears what is done by hand on other nodes; reads how circuits are for whoever watches."""
        return self._parts(kernel)[1:]

    @hookimpl
    def toolway_diagnostics(self, kernel: Kernel) -> Iterable[Diagnostic]:
        """Circuits and ejected endpoints."""
        return [self._parts(kernel)[1]]

    def _parts(self, kernel: Kernel) -> tuple[Breakers, BreakerOperations, Meters]:
        from toolway_breaker.breakers import Breakers
        from toolway_breaker.meters import Meters
        from toolway_breaker.operations import BreakerOperations

        if self._made is None or self._made[0] is not kernel:
            breakers = Breakers(self.settings, kernel.clock, lambda: kernel.catalog.snapshot)
            meters = Meters(kernel.metrics, breakers, kernel.clock)
            self._made = kernel, breakers, BreakerOperations(kernel, breakers), meters
        return self._made[1:]
