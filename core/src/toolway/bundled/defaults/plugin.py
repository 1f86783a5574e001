"""The providers that act while no other plugin does."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.attempts import Balancer, PolicyAdjuster
from toolway.hookspecs.auth import Authenticator, Authorizer
from toolway.hookspecs.secrets import SecretScheme
from toolway.hookspecs.system import MigrationSource
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class DefaultsPlugin(Plugin[Settings]):
    """Heavy imports wait until a hook is called."""

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The table of local admin tokens."""
        from toolway.bundled.defaults.admin_token import AdminTokenRow

        return [MigrationSource("defaults", "toolway.bundled.defaults:migrations", AdminTokenRow.metadata)]

    @hookimpl
    def toolway_secret_schemes(self, kernel: Kernel) -> Iterable[SecretScheme]:
        """`env:`, `file:` and `literal:`."""
        from toolway.bundled.defaults.references import EnvironmentScheme, FileScheme, LiteralScheme

        return [EnvironmentScheme(), FileScheme(kernel.clock), LiteralScheme()]

    @hookimpl
    def toolway_authenticators(self, kernel: Kernel) -> Iterable[Authenticator]:
        """The local admin token."""
        from toolway.bundled.defaults.admin_token import AdminTokenAuthenticator

        return [AdminTokenAuthenticator(kernel.database, kernel.clock)]

    @hookimpl
    def toolway_authorizers(self, kernel: Kernel) -> Iterable[Authorizer]:
        """The one that decides while no plugin does."""
        from toolway.bundled.defaults.authorizer import BuiltinAuthorizer

        return [BuiltinAuthorizer()]

    @hookimpl
    def toolway_balancers(self, kernel: Kernel) -> Iterable[Balancer]:
        """Round robin."""
        from toolway.bundled.defaults.balancer import RoundRobin

        return [RoundRobin()]

    @hookimpl
    def toolway_policies(self, kernel: Kernel) -> Iterable[PolicyAdjuster]:
        """What the upstream's settings say."""
        from toolway.bundled.defaults.policy import FixedPolicy

        return [FixedPolicy()]
