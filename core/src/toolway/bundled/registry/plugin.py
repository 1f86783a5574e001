"""The registry on the hooks that every plugin has."""

from __future__ import annotations

from collections.abc import Iterable

from toolway.hookspecs.routing import CatalogSource
from toolway.hookspecs.secrets import SecretScheme
from toolway.hookspecs.system import Entity, MigrationSource
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class RegistryPlugin(Plugin[Settings]):
    """Heavy imports wait until a hook is called."""

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The tables of upstreams and servers."""
        from toolway.bundled.registry.models import UpstreamRow

        return [MigrationSource("registry", "toolway.bundled.registry:migrations", UpstreamRow.metadata)]

    @hookimpl
    def toolway_secret_schemes(self, kernel: Kernel) -> Iterable[SecretScheme]:
        """Stored credentials."""
        from toolway.bundled.registry.credentials import SealedScheme

        return [SealedScheme(kernel)]

    @hookimpl
    def toolway_entities(self, kernel: Kernel) -> Iterable[Entity]:
        """Upstreams and servers."""
        from toolway.bundled.registry.entities import ServerEntity, UpstreamEntity

        return [UpstreamEntity(kernel), ServerEntity(kernel)]

    @hookimpl
    def toolway_catalog_sources(self, kernel: Kernel) -> Iterable[CatalogSource]:
        """What is declared by API."""
        from toolway.bundled.registry.entities import ServerEntity, UpstreamEntity
        from toolway.bundled.registry.source import Registered

        return [Registered(UpstreamEntity(kernel), ServerEntity(kernel))]
