"""The gateway's own providers, as one plugin that is always there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from toolway.hookspecs.auth import Authenticator, Authorizer
from toolway.hookspecs.caching import KeyValueStore, PubSub
from toolway.hookspecs.routing import Balancer, PolicyAdjuster, UpstreamKind
from toolway.hookspecs.secrets import SecretScheme, UpstreamAuth
from toolway.hookspecs.system import MigrationSource
from toolway.plugin import Kernel, Plugin, Settings, hookimpl

if TYPE_CHECKING:
    from toolway.kernel import GatewayKernel


class BuiltinPlugin(Plugin[Settings]):
    """Registers through the same hooks as any plugin; heavy imports wait until a hook is called."""

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The kernel's tables."""
        from sqlmodel import SQLModel

        import toolway.catalog.models  # noqa: F401 - registers the tables

        return [MigrationSource("toolway", "toolway:migrations", SQLModel.metadata)]

    @hookimpl
    def toolway_secret_schemes(self, kernel: Kernel) -> Iterable[SecretScheme]:
        """`env:`, `file:`, `literal:` and stored credentials."""
        from toolway.builtin.secrets import EnvironmentScheme, FileScheme, LiteralScheme, SealedScheme

        return [EnvironmentScheme(), FileScheme(kernel.clock), LiteralScheme(), SealedScheme(kernel.seal)]

    @hookimpl
    def toolway_keyvalue_stores(self, kernel: Kernel) -> Iterable[KeyValueStore]:
        """`memory` and `database`."""
        from toolway.builtin.keyvalue_database import DatabaseKeyValue
        from toolway.builtin.keyvalue_memory import MemoryKeyValue

        own = cast("GatewayKernel", kernel)
        return [MemoryKeyValue(kernel.clock), DatabaseKeyValue(own.store, kernel.clock)]

    @hookimpl
    def toolway_pubsubs(self, kernel: Kernel) -> Iterable[PubSub]:
        """`memory` and `database`."""
        from toolway.builtin.pubsub_database import DatabasePubSub
        from toolway.builtin.pubsub_memory import MemoryPubSub

        own = cast("GatewayKernel", kernel)
        return [MemoryPubSub(), DatabasePubSub(own.store, kernel.clock)]

    @hookimpl
    def toolway_authenticators(self, kernel: Kernel) -> Iterable[Authenticator]:
        """The local admin token."""
        from toolway.builtin.admin_token import AdminTokenAuthenticator

        return [AdminTokenAuthenticator(kernel.database, kernel.clock)]

    @hookimpl
    def toolway_authorizers(self, kernel: Kernel) -> Iterable[Authorizer]:
        """The one that decides while no plugin does."""
        from toolway.builtin.authorizer import BuiltinAuthorizer

        return [BuiltinAuthorizer()]

    @hookimpl
    def toolway_upstream_kinds(self, kernel: Kernel) -> Iterable[UpstreamKind]:
        """`http` and `stdio`."""
        from toolway.upstream.http import HttpKind
        from toolway.upstream.stdio import StdioKind

        return [HttpKind(cast("GatewayKernel", kernel).outgoing, kernel.secrets), StdioKind(kernel.secrets)]

    @hookimpl
    def toolway_upstream_auths(self, kernel: Kernel) -> Iterable[UpstreamAuth]:
        """`header`, `bearer`, `basic` and `client-credentials`."""
        from toolway.builtin import upstream_auth as auths

        simple = (auths.HeaderProvider, auths.BearerProvider, auths.BasicProvider)
        outgoing = cast("GatewayKernel", kernel).outgoing
        credentials = auths.ClientCredentialsProvider(outgoing, kernel.secrets, kernel.clock)
        return [*(provider(kernel.secrets) for provider in simple), credentials]

    @hookimpl
    def toolway_balancers(self, kernel: Kernel) -> Iterable[Balancer]:
        """Round robin."""
        from toolway.builtin.balancer import RoundRobin

        return [RoundRobin()]

    @hookimpl
    def toolway_policies(self, kernel: Kernel) -> Iterable[PolicyAdjuster]:
        """What the upstream's settings say."""
        from toolway.builtin.policy import FixedPolicy

        return [FixedPolicy()]
