"""The plugin class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from toolway.hookspecs.api import Operation
from toolway.hookspecs.attempts import AttemptWatcher, Balancer
from toolway.hookspecs.system import Service
from toolway.hookspecs.telemetry import Diagnostic
from toolway.plugin import Kernel, Plugin, hookimpl
from toolway_balancer.settings import BalancerSettings

if TYPE_CHECKING:
    from toolway_balancer.parts import Parts


class BalancerPlugin(Plugin[BalancerSettings]):
    """Registers everything; the parts are made when the first hook is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_balancers(self, kernel: Kernel) -> Iterable[Balancer]:
        """`balancer`."""
        return [self._made(kernel).balancer]

    @hookimpl
    def toolway_attempt_watchers(self, kernel: Kernel) -> Iterable[AttemptWatcher]:
        """Counts calls in flight, also where there was nothing to choose."""
        return [self._made(kernel).balancer]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/endpoints`."""
        return self._made(kernel).operations.operations()

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Health checks; reads how endpoints are for whoever watches."""
        parts = self._made(kernel)
        return [parts.checks, parts.meters]

    @hookimpl
    def toolway_diagnostics(self, kernel: Kernel) -> Iterable[Diagnostic]:
        """Endpoints."""
        return [self._made(kernel).operations]

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_balancer.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
