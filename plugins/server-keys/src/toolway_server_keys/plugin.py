"""Settings and the plugin class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from toolway.hookspecs.api import Operation
from toolway.hookspecs.auth import Authenticator
from toolway.hookspecs.system import ChangeRecorder, MigrationSource, Service, SnapshotPart
from toolway.plugin import Kernel, Plugin, Seconds, Settings, hookimpl
from toolway_server_keys.durations import DAY, Duration, Grace

if TYPE_CHECKING:
    from toolway_server_keys.parts import Parts


class ServerKeysSettings(Settings):
    """How long keys and what was replaced live."""

    default_ttl: Duration = Field(90 * DAY, description="Lifetime of keys that ask for none.")
    max_ttl: Duration = Field(365 * DAY, description="Longest lifetime.")
    default_grace: Grace = Field(
        DAY, description="How long a replaced secret is accepted when a rotation does not say."
    )
    retention: Duration = Field(30 * DAY, description="How long keys stay listed after their end.")
    record_interval: Seconds = Field(60.0, gt=0, description="Between writing down last uses, in seconds.")

    @model_validator(mode="after")
    def _default_is_possible(self) -> ServerKeysSettings:
        if self.default_ttl > self.max_ttl:
            raise ValueError("default_ttl is longer than max_ttl; make it shorter")
        return self


class ServerKeysPlugin(Plugin[ServerKeysSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The table of keys."""
        from toolway_server_keys.models import Table

        return [MigrationSource("server-keys", "toolway_server_keys:migrations", Table.metadata)]

    @hookimpl
    def toolway_authenticators(self, kernel: Kernel) -> Iterable[Authenticator]:
        """Credentials that begin with `twk_`."""
        return [self._made(kernel).authenticator]

    @hookimpl
    def toolway_snapshot_parts(self, kernel: Kernel) -> Iterable[SnapshotPart]:
        """Hear of changes and revocations."""
        parts = self._made(kernel)
        return [parts.known, parts.ended]

    @hookimpl
    def toolway_change_recorders(self, kernel: Kernel) -> Iterable[ChangeRecorder]:
        """Hears of deleted servers."""
        return [self._made(kernel).deleted]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """`/api/v1/server-keys`."""
        return self._made(kernel).operations.operations()

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Last uses, and removing what is over."""
        return [self._made(kernel).upkeep]

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_server_keys.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
