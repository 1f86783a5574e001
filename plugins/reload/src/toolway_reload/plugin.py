"""The plugin class; its settings are in `settings`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from toolway.hookspecs.api import Operation
from toolway.hookspecs.system import HealthCheck, Service
from toolway.hookspecs.telemetry import Diagnostic
from toolway.plugin import Kernel, Plugin, hookimpl
from toolway_reload.settings import ReloadSettings

if TYPE_CHECKING:
    from toolway_reload.operations import Reloads


class ReloadPlugin(Plugin[ReloadSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _made: tuple[Kernel, Reloads] | None = None

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/reload`."""
        return self._reloads(kernel).operations()

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Takes part in reloads."""
        return [self._reloads(kernel)]

    @hookimpl
    def toolway_health_checks(self, kernel: Kernel) -> Iterable[HealthCheck]:
        """Tells of a reload that was refused."""
        return [self._reloads(kernel)]

    @hookimpl
    def toolway_diagnostics(self, kernel: Kernel) -> Iterable[Diagnostic]:
        """How the last ones ended."""
        return [self._reloads(kernel)]

    def _reloads(self, kernel: Kernel) -> Reloads:
        from toolway_reload.operations import Reloads

        if self._made is None or self._made[0] is not kernel:
            self._made = kernel, Reloads(kernel, self.settings)
        return self._made[1]
