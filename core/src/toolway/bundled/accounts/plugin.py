"""Users, service accounts and teams."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.system import Entity, MigrationSource, SnapshotPart
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class AccountsPlugin(Plugin[Settings]):
    """Heavy imports wait until a hook is called."""

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The tables of accounts."""
        from toolway.bundled.accounts.models import AccountRow

        return [MigrationSource("accounts", "toolway.bundled.accounts:migrations", AccountRow.metadata)]

    @hookimpl
    def toolway_entities(self, kernel: Kernel) -> Iterable[Entity]:
        """`users`, `service-accounts` and `teams`."""
        from toolway.bundled.accounts.entities import ServiceAccountEntity, TeamEntity, UserEntity

        return [UserEntity(), ServiceAccountEntity(), TeamEntity()]

    @hookimpl
    def toolway_snapshot_parts(self, kernel: Kernel) -> Iterable[SnapshotPart]:
        """`accounts`."""
        from toolway.bundled.accounts.part import AccountsPart

        return [AccountsPart()]
