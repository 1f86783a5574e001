"""What the gateway sees of it: the scheme, the service that logs in at the start, the check for `/ready`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from toolway.hookspecs.secrets import Secret
from toolway.plugin import Kernel, SecretUnavailable
from toolway_vault.failures import VaultFailure
from toolway_vault.settings import VaultSettings
from toolway_vault.vault import Vault, opened

log = logging.getLogger(__name__)

CHECKED_SECONDS = 2.0
"""How long the answer to a check is used: load balancers ask often."""


class ServedVault:
    """The provider of four hooks; Vault is opened when one of them first needs it."""

    name = "vault"
    scheme = "vault"
    critical = False

    def __init__(self, settings: VaultSettings, kernel: Kernel) -> None:
        self._settings = settings
        self._kernel = kernel
        self._vault: Vault | None = None
        self._opening = asyncio.Lock()
        self._checked: tuple[float, str] = (0.0, "")

    async def resolve(self, reference: str) -> Secret:
        """See `SecretScheme`."""
        return await (await self._opened()).secret(reference)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Log in, so that a gateway that cannot does not start. Raises SecretUnavailable."""
        vault = await self._opened()
        try:
            await vault.begin()
        except VaultFailure as failure:
            if not self._settings.start_degraded:
                raise SecretUnavailable(
                    f"plugin 'vault': {self._settings.address} cannot be used: {failure}; correct that, or set "
                    "plugins.vault.start_degraded = true to start all the same"
                ) from None
            log.warning("vault: starting without it: %s", failure)
        yield

    async def check(self) -> str:
        """See `HealthCheck`."""
        now = self._kernel.clock.monotonic()
        until, state = self._checked
        if now >= until:
            state = await (await self._opened()).state()
            self._checked = now + CHECKED_SECONDS, state
        return state

    def redact(self, text: str, key: str | None = None) -> str:
        """See `Redactor`: the tokens of the login, and fields that are part of a value."""
        return self._vault.unsaid.redact(text) if self._vault is not None else text

    async def _opened(self) -> Vault:
        async with self._opening:
            if self._vault is None:
                self._vault = await opened(self._settings, self._kernel)
            return self._vault
