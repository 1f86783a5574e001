"""The plugin class; its settings are in `settings`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from toolway.hookspecs.secrets import SecretScheme
from toolway.hookspecs.system import HealthCheck, Service
from toolway.hookspecs.telemetry import Redactor
from toolway.plugin import Kernel, Plugin, hookimpl
from toolway_vault.settings import VaultSettings

if TYPE_CHECKING:
    from toolway_vault.serving import ServedVault


class VaultPlugin(Plugin[VaultSettings]):
    """Registers one object under four hooks; hvac is imported when the first one is called."""

    _made: tuple[Kernel, ServedVault] | None = None

    @hookimpl
    def toolway_secret_schemes(self, kernel: Kernel) -> Iterable[SecretScheme]:
        """`vault:`."""
        return [self._served(kernel)]

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        """Logs in at the start."""
        return [self._served(kernel)]

    @hookimpl
    def toolway_health_checks(self, kernel: Kernel) -> Iterable[HealthCheck]:
        """Tells `/ready` that Vault is down; the gateway stays ready."""
        return [self._served(kernel)]

    @hookimpl
    def toolway_redactors(self, kernel: Kernel) -> Iterable[Redactor]:
        """Keeps what came from Vault out of logs, besides what the gateway resolved."""
        return [self._served(kernel)]

    def _served(self, kernel: Kernel) -> ServedVault:
        from toolway_vault.serving import ServedVault

        if self._made is None or self._made[0] is not kernel:
            self._made = kernel, ServedVault(self.settings, kernel)
        return self._made[1]
