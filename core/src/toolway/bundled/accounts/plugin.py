"""Users, service accounts and teams; local passwords; sessions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from toolway.hookspecs.api import Operation
from toolway.hookspecs.auth import Authenticator, PasswordVerifier
from toolway.hookspecs.system import Entity, MigrationSource, Service, SnapshotPart
from toolway.plugin import Kernel, Plugin, Settings, hookimpl

if TYPE_CHECKING:
    from toolway.bundled.accounts.passwords import Passwords
    from toolway.bundled.accounts.sessions import Sessions


class AccountsPlugin(Plugin[Settings]):
    """Heavy imports wait until a hook is called; `session_idle` and `session_lifetime` are in seconds."""

    def __init__(self, settings: Settings, session_idle: float = 1800.0, session_lifetime: float = 43_200.0) -> None:
        super().__init__(settings)
        self._durations = session_idle, session_lifetime
        self._sessions: Sessions | None = None
        self._passwords: Passwords | None = None

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
        """`accounts`, and the ear for revoked sessions."""
        from toolway.bundled.accounts.part import AccountsPart
        from toolway.bundled.accounts.sessions import RevokedSessions

        return [AccountsPart(), RevokedSessions(self._all_sessions(kernel))]

    @hookimpl
    def toolway_authenticators(self, kernel: Kernel) -> Iterable[Authenticator]:
        """Sessions."""
        from toolway.bundled.accounts.sessions import SessionAuthenticator

        return [SessionAuthenticator(kernel, self._all_sessions(kernel))]

    @hookimpl
    def toolway_password_verifiers(self, kernel: Kernel) -> Iterable[PasswordVerifier]:
        """Local passwords."""
        from toolway.bundled.accounts.passwords import LocalVerifier

        return [LocalVerifier(kernel.database, self._all_passwords())]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """Sessions, passwords and memberships."""
        from toolway.bundled.accounts.memberships import Memberships
        from toolway.bundled.accounts.signing_in import SigningIn

        signing_in = SigningIn(kernel, self._all_sessions(kernel), self._all_passwords())
        return [*signing_in.operations(), *Memberships(kernel).operations()]

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Bookkeeping of sessions."""
        from toolway.bundled.accounts.bookkeeping import Bookkeeping

        return [Bookkeeping(self._all_sessions(kernel), kernel.keyvalue)]

    def _all_sessions(self, kernel: Kernel) -> Sessions:
        """One for all hooks."""
        if self._sessions is None:
            from toolway.bundled.accounts.sessions import Sessions

            self._sessions = Sessions(kernel.database, kernel.clock, *self._durations)
        return self._sessions

    def _all_passwords(self) -> Passwords:
        """One for all hooks."""
        if self._passwords is None:
            from toolway.bundled.accounts.passwords import Passwords

            self._passwords = Passwords()
        return self._passwords
