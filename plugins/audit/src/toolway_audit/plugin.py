"""Settings and the plugin class: everything of it works together on one chain and one buffer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from toolway.hookspecs.api import Operation
from toolway.hookspecs.routing import RequestMiddleware
from toolway.hookspecs.system import ChangeRecorder, HealthCheck, MigrationSource, Service
from toolway.hookspecs.telemetry import CallWatcher, RequestWatcher
from toolway.plugin import Kernel, Plugin, Seconds, Settings, hookimpl

if TYPE_CHECKING:
    from toolway_audit.parts import Parts


class AuditSettings(Settings):
    """What is recorded besides administrative changes, and for how long."""

    calls: Literal["none", "failed", "all"] = Field(
        "none", description="Which calls are recorded: names and outcome, never arguments or results."
    )
    sign_ins: bool = Field(True, description="Whether signing in, failing to, and signing out are recorded.")
    refusals: Literal["none", "api", "all"] = Field(
        "api", description="Which requests answered with 401 or 403 are recorded: those of the API, or of MCP too."
    )
    on_full: Literal["block", "continue"] = Field(
        "continue",
        description="While the trail cannot be written and the buffer is full: refuse the calls that would be "
        "recorded, or let them go on and record how many are missing.",
    )
    buffer: int = Field(10_000, ge=100, le=1_000_000, description="Most records that wait to be written.")
    interval: Seconds = Field(0.5, gt=0, le=60, description="Between writing down what waits, in seconds.")
    retention_days: float = Field(0, ge=0, description="How long records are kept, in days; 0 is for ever.")


class AuditPlugin(Plugin[AuditSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The tables of records and marks."""
        from toolway_audit.models import Table

        return [MigrationSource("audit", "toolway_audit:migrations", Table.metadata)]

    @hookimpl
    def toolway_change_recorders(self, kernel: Kernel) -> Iterable[ChangeRecorder]:
        """Records administrative changes."""
        return [self._made(kernel).recorder]

    @hookimpl
    def toolway_api_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        """Records sign-ins and refusals; with it there is a request to take address and credential of a change from."""
        from toolway_audit.requests import Requests

        refusals = self.settings.refusals != "none"
        return [Requests(self._made(kernel).buffer, kernel.clock, sign_ins=self.settings.sign_ins, refusals=refusals)]

    @hookimpl
    def toolway_request_watchers(self, kernel: Kernel) -> Iterable[RequestWatcher]:
        """Records refusals at the endpoints of MCP."""
        from toolway_audit.requests import ServerRequests

        if self.settings.refusals != "all":
            return []
        return [ServerRequests(self._made(kernel).buffer, kernel.clock, sign_ins=False, refusals=True)]

    @hookimpl
    def toolway_call_watchers(self, kernel: Kernel) -> Iterable[CallWatcher]:
        """Records calls."""
        from toolway_audit.calls import Calls

        if self.settings.calls == "none":
            return []
        return [Calls(self._made(kernel).buffer, kernel.clock, only_failed=self.settings.calls == "failed")]

    @hookimpl
    def toolway_request_middleware(self, kernel: Kernel) -> Iterable[RequestMiddleware]:
        """Refuses calls that could not be recorded."""
        from toolway_audit.calls import Gate

        if self.settings.calls == "none" or self.settings.on_full == "continue":
            return []
        return [Gate(self._made(kernel).buffer, kernel.clock)]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/audit`."""
        return self._made(kernel).operations.operations()

    @hookimpl
    def toolway_health_checks(self, kernel: Kernel) -> Iterable[HealthCheck]:
        """Tells when the trail cannot be written."""
        return [self._made(kernel).writer]

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Writes what waits, and removes what is old."""
        parts = self._made(kernel)
        return [parts.writer, parts.retention] if self.settings.retention_days else [parts.writer]

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_audit.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
