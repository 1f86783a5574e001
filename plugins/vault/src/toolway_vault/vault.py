"""One Vault with what is known of it: shared by a gateway and the one that takes its place at a reload."""

from __future__ import annotations

import asyncio
import fnmatch
import logging

from toolway.hookspecs.secrets import Secret
from toolway.plugin import Clock, Kernel, SecretUnavailable
from toolway_vault.connection import Connection
from toolway_vault.failures import VaultFailure
from toolway_vault.logins import LoggingIn
from toolway_vault.readings import Reader
from toolway_vault.references import parsed
from toolway_vault.sayings import Unsaid
from toolway_vault.settings import VaultSettings
from toolway_vault.tokens import Tokens
from toolway_vault.watched import Watched

log = logging.getLogger(__name__)

HANDOVER_SECONDS = 1.0
"""After so long the gateway asks again for a value; that costs no request."""
IDLE_SECONDS = 3600.0
"""A path that nobody has asked for so long is forgotten, and its lease revoked."""
MOST_PATHS = 10_000
CLOSE_SECONDS = 2.0


class Vault:
    """Resolves references; `opened` makes it."""

    def __init__(self, settings: VaultSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._connection = Connection(settings)
        self.unsaid = Unsaid()
        self.tokens = Tokens(self._connection, LoggingIn(self._connection, settings.login, self.unsaid), clock)
        self._reader = Reader(self.tokens, settings.mounts, clock)
        self._watched: dict[str, Watched] = {}
        self._tidied = clock.monotonic()
        self._tidying: set[asyncio.Task[None]] = set()
        self.tokens.replaced = self._outdated

    async def secret(self, text: str) -> Secret:
        """The secret of the reference after `vault:`. Raises SecretUnavailable."""
        reference = parsed(text)
        if not any(fnmatch.fnmatchcase(reference.path, pattern) for pattern in self._settings.paths):
            raise SecretUnavailable(f"vault:{reference.path} is not of plugins.vault.paths; add a pattern for it there")
        watched = self._watch(reference.path)
        try:
            reading = await watched.current()
        except VaultFailure as failure:
            raise SecretUnavailable(f"vault:{text} is not available: {failure}") from None
        self.unsaid.add(*reference.values(reading.data))
        now, until = self._clock.monotonic(), watched.good_until(reading)
        soon = min(HANDOVER_SECONDS, max(0.0, until - now) / 4)
        return Secret(reference.value(reading.data), reading.version, refresh_at=now + soon, expires_at=until)

    async def begin(self) -> None:
        """Log in. Raises VaultFailure."""
        await self.tokens.current()

    async def state(self) -> str:
        """What is wrong, empty when nothing is."""
        try:
            path = "sys/health?standbyok=true&perfstandbyok=true"
            await self._connection.request("get", path, inside=False)
            await self.tokens.current()
        except VaultFailure as failure:
            return f"{failure}{self._known()}"
        return ""

    async def close(self) -> None:
        """Stop, and revoke what is the gateway's own."""
        for task in self._tidying:
            task.cancel()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                for each in self._watched.values():
                    await each.close()
                await self.tokens.close()
        except TimeoutError:
            log.info("vault: the token could not be revoked in time")
        finally:
            self._connection.close()

    def _watch(self, path: str) -> Watched:
        watched = self._watched.get(path)
        if watched is None:
            self._tidy()
            settings = self._settings
            watched = Watched(path, self._reader, self._clock, settings.poll, settings.stale_for)
            self._watched[path] = watched
        return watched

    def _tidy(self) -> None:
        """Forget what is idle, and of too many the ones that were not used for longest."""
        now = self._clock.monotonic()
        by_use = sorted(self._watched.values(), key=lambda each: each.used)
        excess = max(0, len(by_use) - MOST_PATHS + 1)
        for number, each in enumerate(by_use):
            if number < excess or now - each.used > IDLE_SECONDS:
                del self._watched[each.path]
                task = asyncio.create_task(each.close(revoke=True))
                self._tidying.add(task)
                task.add_done_callback(self._tidying.discard)

    def _outdated(self) -> None:
        for each in self._watched.values():
            each.outdated()

    def _known(self) -> str:
        ends = [each.good_until(each.known) for each in self._watched.values() if each.known is not None]
        left = max(ends, default=0.0) - self._clock.monotonic()
        if left <= 0:
            return ""
        return f"; known values ({len(ends)} paths) are used for {left:.0f} s at most"


async def opened(settings: VaultSettings, kernel: Kernel) -> Vault:
    """The Vault of these settings: the same one before and after a reload that did not change them."""

    async def make() -> Vault:
        return Vault(settings, kernel.clock)

    vault = await kernel.keep("vault", settings.model_dump_json(), make, Vault.close)
    vault.tokens.resolve = kernel.secrets.get
    return vault
