"""The registry on the hooks that every plugin has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from toolway.hookspecs.routing import CatalogSource
from toolway.hookspecs.secrets import SecretScheme
from toolway.hookspecs.system import Entity, MigrationSource
from toolway.plugin import Kernel, Plugin, Settings, hookimpl

if TYPE_CHECKING:
    from toolway.bundled.registry.entities import ServerEntity, UpstreamEntity


class RegistryPlugin(Plugin[Settings]):
    """Heavy imports wait until a hook is called."""

    _entities: tuple[UpstreamEntity, ServerEntity] | None = None

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
        return self._made(kernel)

    @hookimpl
    def toolway_catalog_sources(self, kernel: Kernel) -> Iterable[CatalogSource]:
        """What is declared by API."""
        from toolway.bundled.registry.source import Registered

        return [Registered(*self._made(kernel))]

    def _made(self, kernel: Kernel) -> tuple[UpstreamEntity, ServerEntity]:
        """The collections: what validates the bodies of upstreams takes a moment to make."""
        from toolway.bundled.registry.entities import ServerEntity, UpstreamEntity

        if self._entities is None or self._entities[0].kernel is not kernel:
            self._entities = UpstreamEntity(kernel), ServerEntity(kernel)
        return self._entities
