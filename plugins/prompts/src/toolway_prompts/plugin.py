"""Settings and hooks of the plugin `prompts`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from toolway.hookspecs.api import Operation
from toolway.hookspecs.routing import CatalogSource, UpstreamKind
from toolway.hookspecs.system import Entity, MigrationSource
from toolway.plugin import Kernel, Plugin, Settings, hookimpl

if TYPE_CHECKING:
    from toolway_prompts.parts import Parts


class PromptsSettings(Settings):
    """The table `[plugins.prompts]`."""

    workers: int = Field(2, ge=1, le=64, description="Processes that render, on each node.")
    cpu_seconds: float = Field(0.05, gt=0, le=10, description="Processor time for one rendering, in seconds.")
    seconds: float = Field(5.0, gt=0, le=60, description="Time for one rendering by the clock, in seconds.")
    memory_mib: int = Field(
        32, ge=8, le=1024, description="Memory for one rendering, in MiB, beyond the process's own."
    )
    output_kib: int = Field(1024, ge=1, le=16 * 1024, description="The most text that a prompt may make, in KiB.")


class PromptsPlugin(Plugin[PromptsSettings]):
    """Registers everything; the parts are made when the first hook with a kernel is called."""

    _parts: Parts | None = None

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The table of collections."""
        from toolway_prompts.models import CollectionRow

        return [MigrationSource("prompts", "toolway_prompts:migrations", CollectionRow.metadata)]

    @hookimpl
    def toolway_upstream_kinds(self, kernel: Kernel) -> Iterable[UpstreamKind]:
        """`prompts`."""
        return [self._made(kernel).kind]

    @hookimpl
    def toolway_entities(self, kernel: Kernel) -> Iterable[Entity]:
        """`prompt-collections`."""
        return [self._made(kernel).entity]

    @hookimpl
    def toolway_catalog_sources(self, kernel: Kernel) -> Iterable[CatalogSource]:
        """An upstream for each collection of the database."""
        return [self._made(kernel).entity]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """The tester and validator."""
        return self._made(kernel).operations.operations()

    def _made(self, kernel: Kernel) -> Parts:
        from toolway_prompts.parts import Parts

        if self._parts is None or self._parts.kernel is not kernel:
            self._parts = Parts.of(kernel, self.settings)
        return self._parts
