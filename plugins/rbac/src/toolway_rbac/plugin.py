"""Settings and hooks of the plugin `rbac`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from toolway.hookspecs.api import Operation
from toolway.hookspecs.auth import Authorizer
from toolway.hookspecs.system import Entity, MigrationSource, Service, SnapshotPart
from toolway.plugin import Kernel, Plugin, Settings, hookimpl


class RbacSettings(Settings):
    """The table `[plugins.rbac]`."""

    baseline: tuple[Literal["viewer", "caller", "developer"], ...] = Field(
        ("caller",), description="The built-in roles that everybody with a credential has; [] for none."
    )


class RbacPlugin(Plugin[RbacSettings]):
    """Heavy imports wait until a hook is called."""

    @hookimpl
    def toolway_migrations(self) -> Iterable[MigrationSource]:
        """The tables of roles and bindings."""
        from toolway_rbac.models import RoleRow

        return [MigrationSource("rbac", "toolway_rbac:migrations", RoleRow.metadata)]

    @hookimpl
    def toolway_snapshot_parts(self, kernel: Kernel) -> Iterable[SnapshotPart]:
        """The compiled policy."""
        from toolway_rbac.part import PolicyPart

        return [PolicyPart(self.settings.baseline)]

    @hookimpl
    def toolway_authorizers(self, kernel: Kernel) -> Iterable[Authorizer]:
        """Decides by the policy in force."""
        from toolway_rbac.authorizer import RbacAuthorizer
        from toolway_rbac.part import PART

        return [RbacAuthorizer(lambda: kernel.parts[PART], kernel.clock.now, kernel.describe)]

    @hookimpl
    def toolway_entities(self, kernel: Kernel) -> Iterable[Entity]:
        """`roles` and `bindings`."""
        from toolway_rbac.entities import BindingEntity, RoleEntity

        return [RoleEntity(kernel), BindingEntity(kernel)]

    @hookimpl
    def toolway_routes(self, kernel: Kernel) -> Iterable[Operation]:
        """Why something is allowed or not."""
        from toolway_rbac.operations import Explainer

        return Explainer(kernel).operations()

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Open streams hear when a binding ends."""
        from toolway_rbac.upkeep import Endings

        return [Endings(kernel)]
